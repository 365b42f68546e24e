"""How long a source may be: small files that promise days are refused at once, and long ones that are real are not."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from percepts.cli import app
from percepts.errors import MediaTooLarge
from percepts.jobs.run import embed
from percepts.media import limit_seconds, stream_audio, stream_frames
from percepts.media.limits import FREE_SECONDS, MAX_SECONDS, SecondsLimit, iterate_within_limit, resolve_max_seconds
from percepts.support.prefetch import prefetch


def still(path: Path, gap: float, count: int = 40, format: str = "matroska", **options: str) -> Path:
    """A video of `count` pictures, one every `gap` seconds."""
    with av.open(str(path), "w", format, options) as file:
        stream = file.add_stream("mpeg4", rate=1)
        stream.width, stream.height, stream.time_base = 64, 48, Fraction(1, 1000)
        stream.codec_context.time_base = Fraction(1, 1)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number * 5, np.uint8), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 1)
            for packet in stream.encode(frame):
                packet.pts = packet.dts = round(number * gap * 1000)
                packet.time_base = Fraction(1, 1000)
                file.mux(packet)
        for packet in stream.encode(None):
            file.mux(packet)
    return path


def slow(path: Path, rate: int = 1, seconds: int = 200_000) -> Path:
    soundfile.write(path, np.zeros(rate * seconds, np.int16), rate, "PCM_16")
    return path


def test_a_video_of_packets_an_hour_apart_is_refused_at_once(tmp_path: Path) -> None:
    path = still(tmp_path / "leap.mkv", 3500)
    assert path.stat().st_size < 30_000
    began = time.perf_counter()
    with pytest.raises(MediaTooLarge, match=r"leap\.mkv: lasts 13\d,\d{3} s .*--max-seconds N"):
        next(stream_frames(path, fps=1.0))
    assert time.perf_counter() - began < 2


def test_where_no_header_tells_it_is_refused_at_the_first_frame_beyond(tmp_path: Path) -> None:
    path = still(tmp_path / "leap.mkv", 3500, live="1")
    frames: list[float] = []
    with pytest.raises(MediaTooLarge, match=r"an hour, and a second for every 4 of its"):
        frames.extend(clip.start for clip in stream_frames(path, fps=0.01))
    assert FREE_SECONDS < frames[-1] < 30_000


@pytest.mark.parametrize("seconds", [200_000, 20_000])
def test_a_recording_of_one_sample_a_second_is_refused_at_once(tmp_path: Path, seconds: int) -> None:
    path = slow(tmp_path / "rate1.wav", 1, seconds)
    with pytest.raises(MediaTooLarge, match=rf"lasts {seconds:,} s"):
        next(stream_audio(path))
    with pytest.raises(MediaTooLarge, match="bytes in memory"):
        next(stream_audio(path.read_bytes()))


def test_one_option_lets_them_through(tmp_path: Path) -> None:
    sound, film = slow(tmp_path / "rate1.wav", 1, 20_000), still(tmp_path / "leap.mkv", 3500)
    with limit_seconds(200_000):
        assert sum(clip.length for clip in stream_audio(sound, block=1000.0)) == 20_000
        assert len(list(stream_frames(film, fps=0.001))) >= 136
        assert next(prefetch(stream_frames(film, fps=0.001))).start == 0  # in a thread, too
    assert resolve_max_seconds() is None


def test_ten_hours_of_speech_and_two_days_of_video_are_allowed(tmp_path: Path) -> None:
    ten_hours = tmp_path / "talk.opus"
    ten_hours.write_bytes(bytes(10 * 3600 * 60))  # Opus while nobody speaks
    SecondsLimit.of(ten_hours).check(36_000)
    film = tmp_path / "camera.mp4"
    with film.open("wb") as file:
        file.truncate(48 * 3600 * 5_000)
    SecondsLimit.of(film).check(MAX_SECONDS + 60)
    with pytest.raises(MediaTooLarge, match="48 hours"):
        SecondsLimit.of(film).check(60 * 3600)


def test_a_picture_shown_for_an_hour_is_allowed(tmp_path: Path) -> None:
    assert len(list(stream_frames(still(tmp_path / "still.mkv", 3500, 2), fps=0.01))) >= 35


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_a_limit_is_a_number_above_zero(seconds: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_seconds above 0"), limit_seconds(seconds):
        pass
    with pytest.raises(ValueError, match="max_seconds above 0"):
        embed(tmp_path, tmp_path / "out", models=["fake-audio"], max_seconds=seconds)
    assert not (tmp_path / "out").exists()


def test_a_limit_is_the_iterators_own() -> None:
    seen: list[float | None] = []

    def source() -> Iterator[None]:
        for _ in range(2):
            seen.append(resolve_max_seconds())
            yield

    for _ in iterate_within_limit(source(), 7.0):
        assert resolve_max_seconds() is None
    assert seen == [7.0, 7.0]


@pytest.mark.parametrize("workers", [0, 1])
def test_in_a_job_it_is_one_entry_and_the_others_go_on(tmp_path: Path, workers: int) -> None:
    inputs = tmp_path / "in"
    inputs.mkdir()
    slow(inputs / "rate1.wav")
    still(inputs / "leap.mkv", 3500)
    soundfile.write(inputs / "good.wav", np.zeros(8000, np.float32), 8000)
    began = time.perf_counter()
    report = embed(inputs, tmp_path / "out", models=["fake-audio", "fake-image"], workers=workers)
    assert time.perf_counter() - began < 30
    assert (report.done, report.failed, report.rows) == (1, 2, 1)
    assert {entry.error for entry in report.failures} == {"MediaTooLarge"}
    again = embed(
        inputs / "leap.mkv", tmp_path / "out2", models=["fake-image"], fps=0.001, max_seconds=200_000, workers=workers
    )
    assert again.done == 1
    assert resolve_max_seconds() is None


def test_commands_of_one_file_and_of_jobs_have_the_option(tmp_path: Path) -> None:
    path = slow(tmp_path / "rate1.wav", 100, 100)
    run = CliRunner().invoke
    found = run(app, ["embed", str(path), "-o", str(tmp_path / "a"), "-m", "fake-audio", "--max-seconds", "5"])
    assert found.exit_code == 3
    assert "MediaTooLarge: lasts 100 s" in found.output
    found = run(app, ["embed", str(path), "-o", str(tmp_path / "b"), "-m", "fake-audio"])
    assert found.exit_code == 0
    found = run(app, ["tokens", str(path), "-m", "fake-audio", "-o", str(tmp_path / "x.npz"), "--max-seconds", "5"])
    assert isinstance(found.exception, MediaTooLarge)


def test_a_video_that_claims_a_million_frames_a_second_costs_what_is_asked_of_it(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", "mp4") as file:
        stream = file.add_stream("mpeg4", rate=50_000)
        stream.width, stream.height = 64, 48
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number, np.uint8), "rgb24")
            frame.pts = number
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    assert len(list(stream_frames(buffer.getvalue(), fps=1.0))) == 1
