"""Films to frames: at every k / fps the frame that a player would show, whatever the codec and the way there."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import synth
from zoo import FILMS, Zoo

from percepts.errors import DecodeError, TruncatedMedia
from percepts.media import limit_seconds, open_audio, stream_frames
from percepts.media import video as video_module
from percepts.media.container import Track, find_origin
from percepts.types import Clip

RATES = [1, 2.5, 3, 7, 10, 24, 30, 0.4]


def numbers(path: Path | bytes, fps: float, **options: Any) -> list[int]:
    """The numbers drawn in the frames that come, after a look at everything else they promise."""
    clips = list(stream_frames(path, fps=fps, **options))
    first = round(clips[0].start * fps)
    assert [clip.start for clip in clips] == [(first + k) / fps for k in range(len(clips))]
    assert all(clip.kind == "video" and clip.rate == fps and clip.data.shape[0] == 1 for clip in clips)
    return [synth.number_of(clip.data[0]) for clip in clips]


def expected(times: list[Fraction], end: Fraction, fps: float) -> list[int]:
    """What the definition says: at each k / fps the last frame at or before it."""
    count = math.ceil(end * Fraction(fps))
    instants = [k / Fraction(fps) for k in range(count)]
    return [max([0, *(i for i, time in enumerate(times) if time <= instant)]) for instant in instants if instant < end]


def decoded_by_hand(path: Path) -> tuple[list[tuple[Fraction, int]], Fraction]:
    """Time and number of every frame, and the end, with nothing of ours but the beginning of the clock."""
    with av.open(str(path)) as container:
        origin = find_origin(container)
        frames = list(container.decode(video=0))
        base = container.streams.video[0].time_base
        rate = container.streams.video[0].average_rate
        times = [f.pts * base - origin for f in frames]
        end = times[-1] + (frames[-1].duration * base or 1 / rate)
        return [(t, synth.number_of(f.to_ndarray(format="rgb24"))) for t, f in zip(times, frames, strict=True)], end


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("x.mp4", "libx264", "yuv420p"),
        ("x.mkv", "libx264", "yuv420p"),
        ("x.mkv", "libx265", "yuv420p"),
        ("x.webm", "libvpx", "yuv420p"),
        ("x.webm", "libvpx-vp9", "yuv420p"),
        ("x.mp4", "libsvtav1", "yuv420p"),
        ("x.avi", "mpeg4", "yuv420p"),
        ("x.avi", "libx264", "yuv420p"),
        ("x.mov", "mjpeg", "yuvj420p"),
        ("x.ts", "libx264", "yuv420p"),
        ("x.flv", "flv", "yuv420p"),
        ("x.m2v", "mpeg2video", "yuv420p"),
        ("x.wmv", "wmv2", "yuv420p"),
    ],
)
def test_steady_films_at_any_rate(films: dict[Any, Path], name: str, codec: str, pixels: str, fps: float) -> None:
    key = (name, codec)
    if key not in films:
        quiet = {"x265-params": "log-level=none", "svtav1-params": ""} if codec == "libx265" else {}
        path = films["folder"] / f"{codec} {name}"
        films[key] = synth.write_film(path, 50, rate=25, codec=codec, pixels=pixels, codec_options=quiet)
    assert numbers(films[key], fps) == expected([Fraction(i, 25) for i in range(50)], Fraction(2), fps)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Path]:
    return {"folder": tmp_path_factory.mktemp("films")}


@pytest.mark.parametrize("fps", [*RATES, 60, 1000])
@pytest.mark.parametrize("name", ["x.mkv", "x.mp4"])
def test_unsteady_films_go_by_presentation_time(tmp_path: Path, name: str, fps: float) -> None:
    times = [0, 40, 700, 1500, 1533, 1566, 2000, 2001, 2900]
    path = synth.write_film(tmp_path / name, len(times), times=times)
    (frames, end) = decoded_by_hand(path)
    assert [(round(time * 1000), number) for time, number in frames] == list(zip(times, range(9), strict=True))
    assert numbers(path, fps) == expected([Fraction(t, 1000) for t in times], end, fps)


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(30), Fraction(60)])
@pytest.mark.parametrize("name", ["x.mkv", "x.mp4", "x.ts"])
def test_a_film_at_its_own_rate_gives_each_frame_once(tmp_path: Path, name: str, rate: Fraction) -> None:
    """Time stamps in milliseconds lie on either side of k / fps: a frame must not be lost or doubled for that."""
    path = synth.write_film(tmp_path / name, 100, rate=rate)  # type: ignore[arg-type]
    assert numbers(path, float(rate)) == list(range(100))


@pytest.mark.parametrize("name", [name for name in FILMS if "film." in name and "turned" not in name])
@pytest.mark.parametrize("fps", [1, 7])
def test_every_container_agrees_with_decoding_by_hand(zoo: Zoo, name: str, fps: float) -> None:
    frames, end = decoded_by_hand(zoo.folder / name)
    assert numbers(zoo.folder / name, fps) == expected([time for time, _ in frames], end, fps)


LONG: list[tuple[str, str, dict[str, str]]] = [
    ("x.mp4", "libx264", {}),
    ("x.mkv", "libx264", {"x264-params": "open-gop=1:bframes=3:b-pyramid=normal"}),
    ("x.ts", "libx264", {"x264-params": "open-gop=1:bframes=3"}),
    ("x.mp4", "libx264", {"x264-params": "intra-refresh=1:bframes=0"}),
    ("x.ts", "libx264", {"x264-params": "intra-refresh=1:bframes=0"}),
    ("x.mkv", "libx265", {"x265-params": "log-level=none:open-gop=1:bframes=3"}),
    ("x.webm", "libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "16"}),
    ("x.mpg", "mpeg2video", {"bf": "2"}),
    ("x.avi", "mpeg4", {"bf": "2"}),
    ("x.mov", "mjpeg", {}),
]


@pytest.mark.parametrize("case", range(len(LONG)))
@pytest.mark.parametrize("fps", [0.05, 0.3, 1])
def test_leaving_frames_out_changes_nothing(
    films: dict[Any, Path], case: int, fps: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, codec, options = LONG[case]
    if case not in films:
        pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        films[case] = synth.write_film(
            films["folder"] / f"{case} {name}",
            1500,
            rate=25,
            codec=codec,
            pixels=pixels,
            group=25,
            codec_options=options,
        )
    sent = count_decoded(monkeypatch)
    sparse = list(stream_frames(films[case], fps=fps))
    few = len(sent)
    monkeypatch.setattr(video_module._FrameReader, "_restart_at_key", lambda *_: False)
    monkeypatch.setattr(video_module._FrameReader, "_is_far", lambda *_: False)
    sent.clear()
    dense = list(stream_frames(films[case], fps=fps))
    assert [clip.start for clip in sparse] == [clip.start for clip in dense]
    assert all(np.array_equal(a.data, b.data) for a, b in zip(sparse, dense, strict=True))
    if "intra-refresh" not in str(options) and name != "x.avi" and fps < 1:
        assert few < len(sent) * 0.8


@pytest.mark.parametrize("name", [name for name in FILMS if name.startswith("film.")])
def test_beginning_anew_changes_nothing(zoo: Zoo, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens when a key frame does not keep its promise, in every container."""
    whole = list(stream_frames(zoo.folder / name, fps=2))
    plain, broken = video_module._FrameReader._restart_at_key, []

    def fails_once(self: Any, at: int, is_waiting: bool) -> bool:
        if self._delivered is not None and not broken:
            broken.append(at)
            raise video_module._InexactSeek
        return plain(self, at, is_waiting)

    monkeypatch.setattr(video_module._FrameReader, "_restart_at_key", fails_once)
    anew = list(stream_frames(zoo.folder / name, fps=2))
    assert broken and [clip.start for clip in anew] == [clip.start for clip in whole]
    assert all(np.array_equal(a.data, b.data) for a, b in zip(anew, whole, strict=True))


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sent: list[int] = []
    plain = Track.decode

    def counting(self: Track, packet: Any) -> list[Any] | None:
        sent.append(packet.size)
        return plain(self, packet)

    monkeypatch.setattr(Track, "decode", counting)
    return sent


def test_sparse_frames_cost_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key frames every second, one frame in twenty seconds: a group of pictures at most for each."""
    path = synth.write_film(tmp_path / "x.mp4", 1500, rate=25, group=25)
    sent = count_decoded(monkeypatch)
    assert len(numbers(path, 0.05)) == 3
    assert len(sent) < 3 * 25 + 25


@pytest.mark.parametrize("fps", [0.05, 0.1, 0.3])
def test_key_frames_may_be_few_after_they_were_many(tmp_path: Path, fps: float) -> None:
    """A jump lands long before its aim; a second one would land there again, and again."""
    path = synth.write_film(
        tmp_path / "x.mp4", 1500, rate=25, group=1500, keys=range(0, 100, 25), codec_options={"sc_threshold": "0"}
    )
    instants = [k / fps for k in range(math.ceil(60 * fps))]
    assert numbers(path, fps) == [math.floor(instant * 25 + 1e-6) % 256 for instant in instants]


def test_three_hours_end_on_the_frame(tmp_path: Path) -> None:
    path = synth.write_film(tmp_path / "x.mkv", 180, times=[minute * 60_000 for minute in range(180)])
    with limit_seconds(4 * 3600):  # without it so small a file may last less than two hours
        clips = list(stream_frames(path, fps=0.1))
    assert [clip.start for clip in clips] == [k / 0.1 for k in range(len(clips))]
    assert [synth.number_of(clip.data[0]) for clip in clips[::6]] == list(range(180))


def test_sound_and_pictures_share_a_clock(tmp_path: Path) -> None:
    """Frame 10 and a click, both at one second, found at one time, wherever the container begins to count."""
    for name, codec, late in (
        ("x.mp4", "aac", 0),
        ("x.mkv", "libopus", 0),
        ("x.mov", "pcm_s16le", 0),
        ("x.ts", "aac", 1024),
    ):
        path = synth.write_film(tmp_path / name, sound=synth.clicks(48000, 2.0, [1.0]), sound_codec=codec)
        sound = open_audio(path)
        click = sound.start + (int(np.argmax(sound.data[0])) - late) / sound.rate
        clips = list(stream_frames(path, fps=100))
        change = next(clip.start for clip in clips if synth.number_of(clip.data[0]) == 10)
        # MPEG-TS puts pictures behind by the two frames they may be reordered by, and sound by the delay of its codec.
        assert click == pytest.approx(1.0, abs=0.03)
        assert change == pytest.approx(click, abs=0.25 if name == "x.ts" else 0.011)


def test_pictures_that_begin_later_than_the_sound(tmp_path: Path) -> None:
    times = [2000 + 100 * i for i in range(10)]
    path = synth.write_film(tmp_path / "x.mkv", 10, times=times, sound=synth.tone(48000, 3.0), sound_codec="pcm_s16le")
    clips = list(stream_frames(path, fps=4))
    assert [clip.start for clip in clips] == [1.5, 1.75, 2.0, 2.25, 2.5, 2.75]  # the first stands half a second before
    assert [synth.number_of(clip.data[0]) for clip in clips] == [0, 0, 0, 2, 5, 7]


def test_a_film_of_one_frame(tmp_path: Path) -> None:
    assert numbers(synth.write_film(tmp_path / "x.mp4", 1), 1) == [0]


@pytest.mark.parametrize("angle", [0, 90, 180, -90])
def test_films_are_turned_upright(tmp_path: Path, angle: int) -> None:
    plain = next(stream_frames(synth.write_film(tmp_path / "plain.mp4", 1), fps=1)).data[0]
    path = synth.write_film(tmp_path / "turned.mp4", 1, rotation=angle)
    assert np.array_equal(next(stream_frames(path, fps=1)).data[0], np.rot90(plain, angle // 90))


@pytest.mark.parametrize(
    ("matrix", "mapped"),
    [
        ((1, 0, 0, 1), lambda x: x),
        ((-1, 0, 0, 1), lambda x: x[:, ::-1]),
        ((1, 0, 0, -1), lambda x: x[::-1]),
        ((-1, 0, 0, -1), lambda x: x[::-1, ::-1]),
        ((0, 1, 1, 0), lambda x: x.swapaxes(0, 1)),
        ((0, 1, -1, 0), lambda x: np.rot90(x, -1)),  # what a phone held upright writes
        ((0, -1, 1, 0), lambda x: np.rot90(x, 1)),
    ],
)
def test_mirrored_films_too(tmp_path: Path, matrix: tuple[int, ...], mapped: Any) -> None:
    path = synth.write_film(tmp_path / "x.mp4", 1)
    plain = next(stream_frames(path, fps=1)).data[0]
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # ISO 14496-12, 8.3.2: version, times, track, duration, layer, volume, then this
    for offset, value in zip((0, 4, 12, 16), matrix, strict=True):
        data[at + offset : at + offset + 4] = (value << 16).to_bytes(4, "big", signed=True)
    assert np.array_equal(next(stream_frames(bytes(data), fps=1)).data[0], mapped(plain))


@pytest.mark.parametrize(
    ("at_least", "shape"),
    [(None, (48, 64)), (48, (48, 64)), (100, (48, 64)), (24, (24, 32)), (13, (13, 17)), (1, (1, 1))],
)
def test_frames_are_scaled_to_what_is_needed(zoo: Zoo, at_least: int | None, shape: tuple[int, int]) -> None:
    clip = next(stream_frames(zoo.folder / "silent.mp4", fps=1, at_least=at_least))
    assert clip.data.shape[1:3] == shape


def test_pixels_become_square(tmp_path: Path) -> None:
    path = synth.write_film(tmp_path / "x.mp4", 3, aspect=Fraction(3, 2))
    assert next(stream_frames(path, fps=1)).data.shape == (1, 48, 96, 3)
    assert next(stream_frames(path, fps=1, at_least=24)).data.shape == (1, 24, 48, 3)
    assert numbers(path, 10) == [0, 1, 2]


def gathered(source: Path | bytes, fps: float) -> tuple[list[Clip], TruncatedMedia | None]:
    clips: list[Clip] = []
    try:
        clips.extend(stream_frames(source, fps=fps))
    except TruncatedMedia as error:
        return clips, error
    return clips, None


@pytest.mark.parametrize("name", ["x.mp4", "x.mkv", "x.mov"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("fps", [1, 10])
def test_what_stands_before_a_cut_is_delivered(tmp_path: Path, name: str, part: float, fps: float) -> None:
    front = {"movflags": "faststart"} if name != "x.mkv" else {}
    path = synth.write_film(tmp_path / name, 100, container_options=front, sound=synth.noise(48000, 10.0))
    whole = list(stream_frames(path, fps=fps))
    clips, error = gathered(path.read_bytes()[: int(path.stat().st_size * part)], fps)
    assert error is not None and "of 10." in str(error) and 0 < len(clips) <= len(whole)
    # A frame stands in the file before up to three that are shown before it, so the last four may have gaps.
    sure = clips[: -4 if fps > 5 else -1]
    assert sure and all(np.array_equal(a.data, b.data) for a, b in zip(sure, whole, strict=False))
    assert clips[-1].start == pytest.approx(10 * part, abs=1.5 + 1 / fps)


def test_damage_in_the_middle_is_passed_over(tmp_path: Path) -> None:
    path = synth.write_film(tmp_path / "x.mp4", 100, group=10, codec_options={"x264-params": "bframes=0"})
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for at, size in packets[42:45]:
        data[at : at + size] = b"\xff" * size
    seen = numbers(bytes(data), 10)
    assert seen[:42] == list(range(42)) and seen[50:] == list(range(50, 100))


def test_a_film_none_of_which_decodes(tmp_path: Path) -> None:
    path = synth.write_film(tmp_path / "x.mp4", 10)
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for at, size in packets:
        data[at : at + size] = b"\xff" * size
    with pytest.raises(DecodeError) as caught:
        list(stream_frames(bytes(data), fps=1))
    assert not isinstance(caught.value, TruncatedMedia)


def test_a_broadcast_that_was_tuned_into_midway(tmp_path: Path) -> None:
    """No key frame at first: the pictures begin at the first one, the clock with the sound."""
    path = synth.write_film(
        tmp_path / "x.ts", 100, group=20, sound=synth.tone(48000, 10.0), codec_options={"sc_threshold": "0"}
    )
    data = path.read_bytes()
    cut = data[188 * (len(data) // 188 // 3) :]
    clips = list(stream_frames(cut, fps=10))
    seen = [synth.number_of(clip.data[0]) for clip in clips]
    assert seen[-1] == 99 and seen == sorted(seen) and seen[0] % 20 == 0


def test_a_clock_that_leaps_ends_the_film(tmp_path: Path) -> None:
    path = synth.write_film(tmp_path / "x.mkv", 3, times=[0, 1000, 1_000_000_000], codec="mjpeg", pixels="yuvj420p")
    clips, error = gathered(path, 1)
    assert len(clips) == 2 and "leaps from 1.0 s to 1000000.0 s" in str(error)


def test_memory_is_a_group_of_pictures_and_not_a_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One key frame in all, one instant at the end: what waits to be decoded is bounded."""
    path = synth.write_film(tmp_path / "x.mp4", 200, group=200, codec_options={"x264-params": "bframes=0:scenecut=0"})
    monkeypatch.setattr(video_module, "_WAITING", 500)
    sizes = count_decoded(monkeypatch)
    frames = stream_frames(path, fps=0.1)
    assert synth.number_of(next(frames).data[0]) == 0 and synth.number_of(next(frames).data[0]) == 100
    assert len(sizes) > 90


@pytest.mark.parametrize("fps", [0, -1, math.nan, math.inf])
def test_a_rate_is_above_nought(zoo: Zoo, fps: float) -> None:
    with pytest.raises(ValueError, match="frames per second"):
        next(stream_frames(zoo.folder / "film.mp4", fps=fps))


def test_a_real_film(shared: Path) -> None:
    path = shared / "openl3" / "official" / "bento.mp4"
    clips = list(stream_frames(path, fps=2))
    assert [clip.start for clip in clips] == [k / 2 for k in range(len(clips))]
    small = next(stream_frames(path, fps=2, at_least=100))
    assert min(small.data.shape[1:3]) == 100
