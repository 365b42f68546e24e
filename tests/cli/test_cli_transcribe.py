"""`percepts transcribe`, `stream` and `replay` as users meet them; the fake engine hears letters in tones."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from synth import write_film

from percepts.cli.stream import _LiveScreen
from percepts.speech.fake import RATE, spell
from percepts.speech.streaming.events import Event
from percepts.timeline.subtitles import read_segments
from percepts.types import Segment

SOUND = np.concatenate([spell("ask not what ", 0.5, 3.0), spell("your country ", 0.5, 3.0)])
SAID = ["ASK NOT WHAT", "YOUR COUNTRY"]
FAKE = ("-m", "fake-ctc", "--vad", "energy")


@pytest.fixture
def talks(tmp_path):
    folder = tmp_path / "talks"
    folder.mkdir()
    soundfile.write(folder / "talk.wav", SOUND, RATE)
    return folder


def test_one_file_is_written_to_stdout(percepts, talks):
    done = percepts("transcribe", "talks/talk.wav", *FAKE)
    assert (done.returncode, done.stdout.splitlines()) == (0, SAID), done.stderr
    assert "talks/talk.wav: 2 segments, 6.0 s of audio" in done.stderr
    done = percepts("transcribe", "talks/talk.wav", *FAKE, "-f", "srt", "--max-line-width", "8", "--highlight-words")
    assert "<u>NOT</u>" in done.stdout and "WHAT" in done.stdout.splitlines(), done.stderr


def test_a_folder_is_a_job_and_a_bad_file_costs_no_other(percepts, talks, tmp_path):
    (talks / "broken.wav").write_bytes(b"RIFF")
    soundfile.write(talks / "silence.wav", np.zeros(RATE), RATE)
    write_film(talks / "film.mkv", sound=np.repeat(SOUND, 3)[None], sound_codec="pcm_s16le")
    write_film(talks / "mute.mp4")
    done = percepts("transcribe", "talks", "-o", "out", "-f", "srt,json,txt", "--word-timestamps", *FAKE)
    assert done.returncode == 3, done.stderr
    assert "3 files transcribed, 1 skipped, 1 failed: 4 new segments" in done.stdout
    assert "broken.wav" in done.stdout and "Traceback" not in done.stderr
    for name in ("talk", "film"):
        assert [s.text for s in read_segments((tmp_path / f"out/srt/{name}.srt").read_text(), "srt")] == SAID
        assert (tmp_path / f"out/txt/{name}.txt").read_text().splitlines() == SAID
        (first, _) = read_segments((tmp_path / f"out/json/{name}.json").read_text(), "json")
        assert [word.text.strip() for word in first.words] == SAID[0].split()
    assert {path.name for path in (tmp_path / "out/txt").iterdir()} == {"talk.txt", "film.txt", "silence.txt"}
    assert (tmp_path / "out/srt/silence.srt").read_text() == ""  # listened to, and nobody spoke
    again = percepts("transcribe", "talks", "-o", "out", "--word-timestamps", *FAKE)
    assert "0 files transcribed, 5 already done" in again.stdout
    assert percepts("verify", "out").returncode == 0
    wrong = percepts("transcribe", "talks", "-o", "other", "--task", "translate", *FAKE)  # before it is a job
    assert (
        wrong.returncode == 2 and "does not support translation" in wrong.stderr and not (tmp_path / "other").exists()
    )
    other = percepts("transcribe", "talks", "-o", "out", "--no-vad", "-m", "fake-ctc")
    assert other.returncode == 2 and "vad" in other.stderr


def test_no_speech_is_an_empty_transcript_and_all_is_well(percepts, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    done = percepts("transcribe", "silence.wav", *FAKE, "-f", "json")
    assert done.returncode == 0 and json.loads(done.stdout)["segments"] == []
    assert "no speech found" in done.stderr


def test_what_cannot_be_done_is_said_in_one_line(percepts, talks, tmp_path):
    write_film(tmp_path / "mute.mp4")
    (tmp_path / "noise.wav").write_bytes(b"\0" * 500)
    for code, said, words in (
        (1, "no audio stream", ("mute.mp4", *FAKE)),
        (1, "noise.wav", ("noise.wav", *FAKE)),
        (2, "no such file", ("gone.wav", *FAKE)),
        (2, "whisper (transformers)", ("talks/talk.wav", "-m", "effnet-lite0")),
        (2, "give -o DIR", ("talks/talk.wav", "mute.mp4", *FAKE)),
        (2, "give -o DIR", ("talks", *FAKE)),
        (2, "expected one of txt", ("talks/talk.wav", *FAKE, "-f", "docx")),
        (2, "needs --diarize", ("talks/talk.wav", *FAKE, "--speakers", "2")),
        (2, "does not support translation", ("talks/talk.wav", *FAKE, "--task", "translate")),
        (2, "expected temperatures", ("talks/talk.wav", *FAKE, "--temperature", "warm")),
    ):
        done = percepts("transcribe", *words)
        assert done.returncode == code and said in done.stderr, f"{words}: {done.stderr}"
        assert "Traceback" not in done.stderr


def words(stdout: str) -> list[str]:
    events = [json.loads(line) for line in stdout.splitlines()]
    return [word["text"].strip() for event in events if event["type"] == "committed" for word in event["words"]]


def test_a_stream_prints_its_events_and_a_replay_their_lateness(percepts, talks):
    done = percepts("stream", "talks/talk.wav", *FAKE)
    assert done.returncode == 0 and words(done.stdout) == " ".join(SAID).split(), done.stderr
    replayed = percepts("replay", "talks/talk.wav", *FAKE, "--clock", "still")
    assert replayed.stdout == done.stdout
    assert "latency, computation unaware: mean" in replayed.stderr and "5 words" in replayed.stderr


def test_on_a_terminal_words_that_may_change_are_drawn_over_and_the_others_stay(capsys):
    screen = _LiveScreen(columns=16)
    for kind, text in (
        ("partial", "and so mike"),
        ("committed", "and so"),
        ("partial", "my fellow americans"),
        ("committed", "my fellow"),
        ("partial", "amer\x1b[2J"),
        ("committed", "americans"),
        ("partial", ""),
    ):
        screen.show(Event(kind, tuple(Segment(0, 1, f" {word}") for word in text.split()), 0, 0))
    written = capsys.readouterr().out
    rows = [re.sub(r"\x1b\[[02]m", "", row.rpartition("\r\x1b[K")[2]) for row in written.split("\n")]
    assert rows == ["and so my", "fellow", "americans"]
    assert "\x1b[2J" not in written
    assert all(len(re.sub(r"\x1b\[[0-9]?[mK]|\r", "", drawn)) <= 15 for drawn in re.split(r"\r\x1b\[K|\n", written))


def piped(*arguments, folder):
    return subprocess.Popen(
        [sys.executable, "-m", "percepts.cli", "stream", "-", *arguments],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUTF8": "1"},
    )


def test_a_pipe_of_wav_or_raw_samples_is_heard(talks):
    raw = (SOUND * 32767).astype("<i2").tobytes()
    for data in ((talks / "talk.wav").read_bytes(), raw):
        with piped(*FAKE, folder=talks) as process:
            out, err = process.communicate(data)
        assert words(out.decode()) == " ".join(SAID).split(), err
    with piped(*FAKE, folder=talks) as process:
        _, err = process.communicate(b"fLaC" + bytes(99))
    assert process.returncode == 1 and b"FLAC" in err


def test_interrupting_a_stream_commits_what_was_heard(talks):
    with piped("-m", "fake-ctc", "--no-vad", folder=talks) as process:
        process.stdin.write((SOUND * 32767).astype("<i2")[: 2 * RATE].tobytes())
        process.stdin.flush()
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, err = process.stdout.read(), process.stderr.read()
    assert process.returncode == 0, err
    assert words((first + rest).decode())[:2] == ["ASK", "NOT"]


def test_a_real_recording_by_the_engine_that_needs_no_hub(percepts, shared):
    pytest.importorskip("pocketsphinx")
    done = percepts("transcribe", shared / "speech" / "jfk.flac", "--no-vad", "-f", "json", "--word-timestamps")
    assert done.returncode == 0, done.stderr
    assert "four words in ten wrong" in done.stderr
    found = {w.text.strip(): w for s in read_segments(done.stdout, "json") for w in s.words}
    assert "my" in found and "fellow" in found and 1 < found["fellow"].start < 2
