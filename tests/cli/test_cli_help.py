"""Help answers at once, for it imports nothing heavy; what is typed wrongly ends with 2 and says what to do."""

import subprocess
import sys

import pytest

COMMANDS = (
    "embed", "classify", "zero-shot", "similarity", "caption", "ask", "search", "transcribe", "stream", "replay",
    "diarize", "align", "models", "tokens", "verify", "merge", "doctor", "demo", "eval", "openl3",
    "train",
)  # fmt: skip
HEAVY = {
    "numpy",
    "torch",
    "transformers",
    "onnxruntime",
    "openvino",
    "pyarrow",
    "lancedb",
    "av",
    "PIL",
    "soundfile",
    "rich",
}


@pytest.mark.parametrize("arguments", [(), *((command,) for command in COMMANDS)])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\nfrom percepts.cli import main\n"
        f"try:\n    main([*{arguments!r}, '--help'])\n"
        f"except SystemExit as end:\n    print('HEAVY', sorted({HEAVY!r} & set(sys.modules)), end.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY [] 0"
    assert "Usage: percepts" in done.stdout and "--help" in done.stdout


def test_every_command_is_listed_with_a_whole_sentence(percepts):
    done = percepts("--help")
    listed = done.stdout.partition("Commands:")[2].strip().splitlines()
    assert [line.split()[0] for line in listed] == list(COMMANDS)
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)


def test_the_version_is_the_installed_one(percepts):
    from importlib.metadata import version

    assert percepts("--version").stdout == f"percepts {version('percepts')}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("embed", "-o", "vectors"), "expected at least one file or folder"),
        (("embed", "photos"), "--output"),
        (("embed", "photos", "-o", "vectors", "--fps", "0"), "--fps"),
        (("embed", "photos", "-o", "vectors", "--format", "pickle"), "parquet"),
        (("search", "vectors"), "give one of: words, --image FILE, --audio FILE"),
        (("search", "vectors", "red", "--image", "red.png"), "give one of: words, --image FILE, --audio FILE"),
        (("diarize", "a.wav", "-f", "doc"), "expected one of rttm"),
        (("diarize", "a.wav", "b.wav"), "give -o DIR"),
        (("diarize", "a.wav", "--min-speakers", "3", "--max-speakers", "2"), "at least 3"),
        (("diarize", "a.wav", "--voice", "Ann"), "NAME=FILE"),
        (("diarize", "a.wav"), "a.wav"),
        (("diarize", "a.wav", "-m", "x"), "only --backend pyannote"),
        (("diarize", "a.wav", "--backend", "pyannote", "--voice", "Ann=b.wav"), "no voices by name"),
        (("align", "a.wav"), "--text and --text-file"),
        (("align", "a.wav", "--text", "x", "-f", "doc"), "expected one of words"),
        (("align", "a.wav", "--text", "x"), "a.wav"),
        (("eval", "der", "a.rttm", "b.rttm"), "a.rttm"),
        (("eval", "wer", "a.txt", "b.txt"), "a.txt"),
        (("eval", "latency", "a.jsonl"), "a.jsonl"),
        (("serach", "vectors"), "search"),
        (("models", "melstat"), "Did you mean melstats"),
    ],
)
def test_what_is_typed_wrongly_ends_with_2_and_says_what_to_do(percepts, arguments, said):
    done = percepts(*arguments)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
