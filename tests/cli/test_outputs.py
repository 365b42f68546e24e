"""Every file that a user asks for: never over an input, and over another file only where the user says so.

No weights can be had in these tests, so a refusal that names the output came before any model was loaded.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import soundfile
import typer
from PIL import Image

import percepts
from percepts.cli import app, main
from percepts.errors import WeightsError

FOREIGN = b"years of work"


@dataclass(frozen=True)
class Case:
    """A command with one output file.

    argv   the words of the command for an input and an output
    name   of the output file
    make   writes an input that the command accepts before it needs a model
    """

    argv: Callable[[Path, Path], list[Any]]
    name: str
    make: Callable[[Path], None]


def picture(path: Path) -> None:
    Image.new("RGB", (48, 32), "red").save(path, "PNG")


def sound(path: Path) -> None:
    soundfile.write(path, np.zeros(48_000), 48_000, format="WAV")


def film(path: Path) -> None:
    path.write_bytes((Path(percepts.__file__).parent / "data" / "demo" / "film.mp4").read_bytes())


def table(path: Path) -> None:
    path.write_text("source,label,text\na.png,red,red\nb.png,blue,blue\nc.png,red,red\nd.png,blue,blue\n")


def nothing(path: Path) -> None:
    path.write_bytes(b"no weights")


def openl3(modality: str) -> Callable[[Path, Path], list[Any]]:
    return lambda source, out: ["openl3", modality, source, "-o", out.parent]


def train(name: str, *options: str) -> Callable[[Path, Path], list[Any]]:
    return lambda source, out: ["train", name, source, "-o", out.parent, *options]


def head(source: Path, out: Path) -> list[Any]:
    return ["train", "head", source.parent, "--labels", source, "-o", out.parent]


ADAPTER = train("adapter", "--encoder", "melstats", "--lm", "none/none", "--prompt", "<audio>")
AST = train("ast", "--base", "none/none")
CASES = {
    "similarity": Case(lambda a, out: ["similarity", a, "-t", "red", "-o", out], "map.png", picture),
    "similarity --to": Case(
        lambda a, out: ["similarity", "other.png", "--against", a, "-m", "effnet-lite0", "-o", out], "map.png", picture
    ),
    "similarity --texts": Case(
        lambda a, out: ["similarity", "other.png", "--texts", a, "-o", out], "map.png", lambda p: p.write_text("red")
    ),
    "tokens": Case(lambda a, out: ["tokens", a, "-m", "effnet-lite0", "-o", out], "t.npz", picture),
    "tokens to safetensors": Case(
        lambda a, out: ["tokens", a, "-m", "effnet-lite0", "-o", out], "t.safetensors", picture
    ),
    "openl3 audio": Case(openl3("audio"), "in.npz", sound),
    "openl3 image": Case(openl3("image"), "in.npz", picture),
    "openl3 convert": Case(lambda a, out: ["openl3", "convert", a, "-o", out.parent], "in.safetensors", nothing),
    "openl3 export": Case(lambda a, out: ["openl3", "export", "audio", "--file", a, "-o", out], "net.onnx", nothing),
    **{f"train head {n}": Case(head, n, table) for n in ("config.json", "head.safetensors", "confusion.png")},
    **{f"train adapter {n}": Case(ADAPTER, n, table) for n in ("adapter.json", "adapter.safetensors", "curve.png")},
    **{f"train ast {n}": Case(AST, n, table) for n in ("config.json", "model.safetensors", "curve.png")},
}
"""Every command that writes a file or a folder of files, by its name and what follows."""
JOBS = {"embed", "classify", "zero-shot", "caption", "ask", "transcribe", "diarize", "stream", "replay"}
"""Commands whose output is a job directory, or that share the options of those: tests/jobs looks after these."""
ELSEWHERE = {"demo", "openl3 video"}
"""Commands with tests of their own below."""
READ = {
    "search": {"arguments", "image", "audio", "old_sound", "under", "old_folder"},
    "similarity": {"inputs", "texts", "against", "old_to"},
    "zero-shot": {"texts"},
    "align": {"file", "text_file"},
    "models": set(),
    "tokens": {"source"},
    "verify": {"directory"},
    "merge": {"directory"},
    "eval der": {"reference", "hypothesis"},
    "eval wer": {"reference", "hypothesis"},
    "eval latency": {"events", "reference"},
    "openl3 audio": {"inputs", "weights"},
    "openl3 image": {"inputs", "weights"},
    "openl3 video": {"inputs", "weights"},
    "openl3 convert": {"files"},
    "openl3 export": {"file", "weights"},
    "openl3 verify": {"data", "weights"},
    "train head": {"directory", "labels"},
    "train adapter": {"table"},
    "train ast": {"table"},
    "ask": {"source", "words"},
}
"""Paths that are only read (`merge` and `verify` write inside the job directory that they are given)."""


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    (place := tmp_path / "place").mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("PERCEPTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PERCEPTS_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    for name in ("PERCEPTS_OPENL3_WEIGHTS", "PERCEPTS_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    return place


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str]:
    """Exit code and what was said on stderr; a traceback fails the test."""
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in argv])
    return int(end.value.code or 0), " ".join(capsys.readouterr().err.split())


def made(case: Case, place: Path) -> tuple[Path, Path]:
    """An input, and where the output goes; nothing is there yet."""
    picture(place / "other.png")
    source = place / "in.h5"  # the ending is that of weights; of media and tables it says nothing
    case.make(source)
    return source, place / "out" / case.name


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("by", ["its name", "a hard link", "a symbolic link"])
def test_an_input_is_never_overwritten(
    name: str, by: str, no_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    source, out = made(case, no_weights)
    out.parent.mkdir()
    if by == "its name":
        source = source.rename(out)
    else:
        (os.link if by == "a hard link" else os.symlink)(source, out)
    before = tree(no_weights)
    for options in (["--overwrite"], []):
        if not options and name.startswith("openl3 ") and name.split()[1] in ("audio", "image"):
            continue  # what is there is skipped, as openl3 does
        code, said = run(capsys, *case.argv(source, out), *options)
        assert code == 2 and str(out) in said, said
        assert not options or "never overwritten" in said
        assert tree(no_weights) == before


@pytest.mark.parametrize("name", CASES)
def test_a_file_of_the_users_is_kept_unless_he_says_so(
    name: str, no_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    source, out = made(case, no_weights)
    out.parent.mkdir()
    out.write_bytes(FOREIGN)
    before = tree(no_weights)
    code, said = run(capsys, *case.argv(source, out))
    if name.startswith("openl3 ") and name.split()[1] in ("audio", "image"):
        assert "exists and overwriting not enabled" in said or code == 1  # skipped, as openl3 does
    else:
        assert code == 2 and f"{out} exists already" in said and "--overwrite" in said, said
    assert tree(no_weights) == before
    code, said = run(capsys, *case.argv(source, out), "--overwrite")
    assert code and "exists already" not in said and tree(no_weights) == before, said


HOSTILE = {
    "folder": lambda out: out.mkdir(),
    "link": lambda out: out.symlink_to(out.parent.parent / "mine"),
    "link to nothing": lambda out: out.symlink_to(out.parent / "absent"),
    "loop": lambda out: out.symlink_to(out),
    "socket": lambda out: os.mknod(out, 0o140644),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_file_is_refused_by_name(
    name: str, kind: str, no_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    source, out = made(case, no_weights)
    (no_weights / "mine").write_bytes(FOREIGN)
    out.parent.mkdir()
    HOSTILE[kind](out)
    before = tree(no_weights)
    code, said = run(capsys, *case.argv(source, out), "--overwrite")
    assert code in (1, 2) and str(out) in said and tree(no_weights) == before, said
    assert os.path.lexists(out) and not (out.parent / "absent").exists()


@pytest.mark.parametrize("name", CASES)
def test_a_file_where_a_folder_is_needed_is_refused_by_name(
    name: str, no_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    source, out = made(case, no_weights)
    out.parent.write_bytes(FOREIGN)
    code, said = run(capsys, *case.argv(source, out), "--overwrite")
    assert code == 2 and str(out.parent) in said and "folder" in said, said
    assert out.parent.read_bytes() == FOREIGN


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
@pytest.mark.parametrize("name", CASES)
def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(
    name: str, no_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    source, out = made(case, no_weights)
    out.parent.mkdir(0o555)
    code, said = run(capsys, *case.argv(source, out))
    assert code == 1 and str(out.parent) in said and "read-only" in said, said


@pytest.mark.parametrize("name", CASES)
def test_a_new_file_goes_on_to_the_model_and_leaves_nothing_when_that_fails(
    name: str, no_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    source, out = made(case, no_weights)
    before = tree(no_weights)
    code, said = run(capsys, *case.argv(source, out))
    assert code and str(out) not in said, said
    assert tree(no_weights) == before


def commands() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every command by its words, and the function behind it."""

    def of(group: typer.Typer, words: tuple[str, ...]) -> Iterator[tuple[str, Callable[..., Any]]]:
        for one in group.registered_commands:
            assert one.callback is not None
            yield " ".join((*words, one.name or one.callback.__name__.replace("_", "-"))), one.callback
        for under in group.registered_groups:
            assert under.typer_instance is not None
            yield from of(under.typer_instance, (*words, str(under.name)))

    return of(app, ())


def path_options(function: Callable[..., Any]) -> set[str]:
    """The parameters of a command that name a file or a folder: by type, or by what `--help` calls them."""
    found = set()
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        held = get_args(parameter.annotation)
        shown = " ".join(str(getattr(info, "metavar", "") or "") for info in held[1:])
        words = {"FILE", "FILES", "DIR", "CSV", "FOLDER", "PATH", "HTML"}
        if "Path" in str(held[:1]) or words & set(shown.replace("|", " ").replace("=", " ").split()):
            found.add(parameter.name)
    return found


@pytest.mark.parametrize(
    ("command", "function"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_no_command_has_an_output_that_is_not_in_the_table(command: str, function: Callable[..., Any]) -> None:
    tested = {name for name in (*CASES, *ELSEWHERE) if name == command or name.startswith(f"{command} ")}
    options = path_options(function) - READ.get(command, set())
    if command in JOBS:
        assert options <= {"inputs", "output", "source", "reference", "labels", "voice", "voices"}, options
    elif tested:
        assert options and options <= {"output", "output_dir"}, options
        assert "overwrite" in inspect.signature(function).parameters
    else:
        assert not options, f"{command} takes paths that no test knows: put {options} into CASES or READ"


# The demo, films, and pipes


def test_a_film_that_would_be_overwritten_by_its_own_vectors_is_refused(
    no_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film(no_weights / "a.mp4")
    film(no_weights / "a_image.npz")
    before = tree(no_weights)
    code, said = run(capsys, "openl3", "video", "a.mp4", "a_image.npz", "--overwrite")
    assert code == 2 and "a_image.npz is one of the inputs" in said and tree(no_weights) == before


@pytest.mark.parametrize(
    "theirs",
    ["media/coffee.png", "media/recording.flac", "vectors/mine.txt", "contact-sheet.html", "excerpt-of-film.wav",
     "percepts-files.json"],
)  # fmt: skip
def test_the_demo_keeps_what_is_in_its_folder(
    theirs: str, no_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (no_weights / "d" / theirs).parent.mkdir(parents=True)
    (no_weights / "d" / theirs).write_bytes(FOREIGN)
    (no_weights / "d" / "notes.txt").write_bytes(FOREIGN)
    before = tree(no_weights)
    code, said = run(capsys, "demo", "-o", "d")
    assert code == 2 and "exists already" in said and tree(no_weights) == before, said


def test_two_files_that_would_become_one_are_refused(no_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.h5", "a.h5.gz"):
        (no_weights / name).write_bytes(b"no weights")
    code, said = run(capsys, "openl3", "convert", "a.h5", "a.h5.gz")
    assert code == 2 and "a.safetensors: two results" in said


def test_two_recordings_with_one_npz_are_told(no_weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder in ("a", "b"):
        (no_weights / folder).mkdir()
        sound(no_weights / folder / "dog.wav")
    with pytest.raises(WeightsError), caplog.at_level("WARNING"):
        percepts.openl3.process_audio_file(["a/dog.wav", "b/dog.wav"], "out", input_repr="mel256")
    told = "a/dog.wav and b/dog.wav are both written to out/dog.npz: the latter is skipped"
    assert caplog.text.count(told) == 1


def shell(*words: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "percepts.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, **options)


def test_pipes_and_standard_output_are_written_to_as_they_are(no_weights: Path) -> None:
    picture(no_weights / "in.png")
    done = shell("similarity", "in.png", "-m", "fake-image", "-o", "/dev/stdout")
    assert done.returncode == 0 and done.stdout.startswith(b"\x89PNG") and b"IEND" in done.stdout
    os.mkfifo(no_weights / "pipe.npz")
    reader = subprocess.Popen(["cat", "pipe.npz"], stdout=subprocess.PIPE)
    done = shell("tokens", "in.png", "-m", "fake-image", "-o", "pipe.npz")
    assert done.returncode == 0, done.stderr
    assert reader.communicate()[0].startswith(b"PK")
    with open(no_weights / "in.png", "ab") as file:
        done = subprocess.run(
            [sys.executable, "-m", "percepts.cli", "similarity", "in.png", "-m", "fake-image", "-o", "/dev/stdout"],
            stdout=file, stderr=subprocess.PIPE,
        )  # fmt: skip
    assert done.returncode == 2 and b"never overwritten" in done.stderr


@pytest.mark.parametrize(("words", "name"), [(("similarity", "in.png"), "map.png"), (("tokens", "in.png"), "t.npz")])
def test_overwrite_replaces_a_file_whole_and_a_killed_command_leaves_the_old_one(
    words: tuple[str, ...], name: str, no_weights: Path
) -> None:
    picture(no_weights / "in.png")
    (no_weights / name).write_bytes(FOREIGN)
    argv = (*words, "-m", "fake-image", "-o", name)
    assert shell(*argv).returncode == 2 and (no_weights / name).read_bytes() == FOREIGN
    code = (
        "import os, signal, sys, percepts.support.files as f\n"
        "f.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from percepts.cli import main\nmain(sys.argv[1:])\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, *argv, "--overwrite"], capture_output=True)
    assert killed.returncode == -9 and (no_weights / name).read_bytes() == FOREIGN
    done = shell(*argv, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert (no_weights / name).read_bytes()[:2] in (b"PK", b"\x89P")
