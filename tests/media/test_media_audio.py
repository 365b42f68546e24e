"""Sound to clips: every sample once, at its time, however it is packed and however it is cut into blocks."""

from __future__ import annotations

import io
import logging
import math
import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import synth
from hypothesis import given
from hypothesis import strategies as st
from zoo import FILMS, SOUNDS, Zoo

from percepts.errors import DecodeError, TruncatedMedia
from percepts.media import array_audio, mix_to_mono, open_audio, stream_audio
from percepts.media.audio import _decode_with_ffmpeg, _decode_with_sndfile, _join_blocks
from percepts.types import Clip

HEARD = [*SOUNDS, *(name for name in FILMS if name not in ("silent.mp4", "film.wmv", "really a film.jpg"))]
HEARD = [name for name in HEARD if not name.startswith(("turned", "unsteady"))]


def gathered(blocks: Iterator[Clip]) -> tuple[list[Clip], Exception | None]:
    """The clips that come, and the error that ends them."""
    clips: list[Clip] = []
    try:
        clips.extend(blocks)  # keeps what came before an error
    except TruncatedMedia as error:
        return clips, error
    return clips, None


def joined(clips: list[Clip]) -> np.ndarray:
    return np.concatenate([clip.data for clip in clips], axis=1)


@pytest.mark.parametrize("name", HEARD)
def test_the_block_changes_nothing(zoo: Zoo, name: str) -> None:
    whole = open_audio(zoo.folder / name)
    for block in (0.013, 0.37, 1.0, 1000.0):
        clips = list(stream_audio(zoo.folder / name, block=block))
        assert np.array_equal(joined(clips), whole.data)
        assert all(clip.data.flags.c_contiguous and clip.rate == whole.rate for clip in clips)
        size = round(block * whole.rate)
        assert {clip.length for clip in clips[:-1]} <= {size}
        first = round(whole.start * whole.rate)
        assert [clip.start for clip in clips] == [(first + i * size) / whole.rate for i in range(len(clips))]


@pytest.mark.parametrize("name", [name for name in HEARD if name in FILMS or name.endswith((".m4a", ".mkv", ".webm"))])
def test_not_a_sample_is_lost(zoo: Zoo, name: str) -> None:
    """Held against FFmpeg's own loop, whose last samples come only when the decoder is flushed."""
    with av.open(str(zoo.folder / name)) as container:
        by_hand = sum(frame.samples for frame in container.decode(audio=0))
    assert open_audio(zoo.folder / name).length == by_hand


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("x.wav", "pcm_s16le", 44100),
        ("x.flac", "flac", 44100),
        ("x.aiff", "pcm_s16be", 22050),
        ("x.au", "pcm_s16be", 16000),
        ("x.caf", "pcm_s16le", 44100),
        ("x.m4a", "alac", 44100),
        ("x.mkv", "flac", 44100),
        ("x.mkv", "pcm_s16le", 11025),
        ("x.mov", "pcm_s16le", 48000),
        ("x.avi", "pcm_s16le", 44100),
        # Lossy, and the container tells how late the codec is:
        ("x.mp3", "libmp3lame", 44100),
        ("x.m4a", "aac", 44100),
        ("x.mp4", "aac", 48000),
        ("x.mkv", "aac", 44100),
        ("x.mkv", "libmp3lame", 44100),
        ("x.mkv", "libopus", 48000),
        ("x.webm", "libopus", 48000),
        ("x.opus", "libopus", 48000),
    ],
)
@pytest.mark.parametrize("at", [0.31, 1.2345, 1.777])
def test_a_click_is_found_where_it_is(tmp_path: Path, name: str, codec: str, rate: int, at: float) -> None:
    path = synth.write_sound(tmp_path / name, synth.clicks(rate, 2.0, [at]), rate, codec)
    clip = open_audio(path)
    assert abs(int(np.argmax(clip.data[0])) - at * clip.rate) <= 1 and clip.start == 0


@pytest.mark.parametrize(
    ("name", "codec", "late"),
    [
        ("x.aac", "aac", 1024),
        ("x.ts", "aac", 1024),
        ("x.flv", "aac", 1024),
        ("x.avi", "libmp3lame", 1105),
        ("x.mpg", "mp2", 481),
        ("x.ac3", "ac3", 256),
    ],
)
def test_where_no_delay_is_told_sound_is_late_by_that_of_its_codec(
    tmp_path: Path, name: str, codec: str, late: int
) -> None:
    """Documented, not wanted: nothing in these files says how many samples the encoder put in front."""
    clip = open_audio(synth.write_sound(tmp_path / name, synth.clicks(44100, 2.0, [1.0]), 44100, codec))
    assert int(np.argmax(clip.data[0])) - 44100 == late


@pytest.mark.parametrize(
    ("format", "subtype", "tolerance"),
    [
        ("WAV", "PCM_16", 0),
        ("WAV", "PCM_24", 0),
        ("WAV", "FLOAT", 0),
        ("AIFF", "PCM_16", 0),
        ("FLAC", "PCM_16", 0),
        ("OGG", "VORBIS", 1e-6),  # two decoders, in float32
        ("OGG", "OPUS", 1e-6),
        ("MP3", "MPEG_LAYER_III", 1e-4),  # libmpg123 uses shorter tables of cosines
    ],
)
def test_libsndfile_and_ffmpeg_agree(tmp_path: Path, format: str, subtype: str, tolerance: float) -> None:
    path = tmp_path / "x"
    soundfile.write(path, synth.noise(48000, 2.0, 2).T, 48000, subtype, format=format)
    name = format.lower()
    ours = np.concatenate([data for _, _, data in _decode_with_sndfile(path, name)], axis=1)
    theirs = np.concatenate([data for _, _, data in _decode_with_ffmpeg(path, name, 1.0)], axis=1)
    assert ours.shape == theirs.shape == (2, 96000)
    assert np.abs(ours - theirs).max() <= tolerance


def test_three_hours_end_within_a_sample() -> None:
    """Counted, not decoded: block n starts at n * size / rate, one division away from whole numbers."""
    rate, piece = 44100, np.zeros((1, 44100 * 60), np.float32)
    pieces = ((rate, minute * rate * 60, piece) for minute in range(180))
    last = None
    for index, clip in enumerate(_join_blocks(pieces, 0.1, "x")):
        assert clip.start == index * 4410 / rate
        last = clip
    assert last is not None and last.stop == 3 * 3600


def test_memory_is_a_block_and_not_a_file(tmp_path: Path) -> None:
    def peak(path: Path) -> int:
        tracemalloc.start()
        for _ in stream_audio(path, block=1.0):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    for name, codec in (("x.wav", "pcm_s16le"), ("x.flac", "flac"), ("x.mkv", "flac")):
        short = synth.write_sound(tmp_path / f"short {name}", synth.noise(8000, 6.0), 8000, codec)
        long = synth.write_sound(tmp_path / f"long {name}", synth.noise(8000, 240.0), 8000, codec)
        peak(short)
        # A block is 32 kB, four minutes are 7.7 MB; the slack is for Python's own objects.
        assert peak(long) < peak(short) + 100_000


def test_a_track_that_begins_later_starts_later(tmp_path: Path) -> None:
    for name, tolerance in (("x.mkv", 0.001), ("x.mov", 1 / 48000)):  # Matroska counts in milliseconds
        path = synth.write_film(
            tmp_path / name, sound=synth.clicks(48000, 1.0, [0.25]), sound_codec="pcm_s16le", sound_start=0.5
        )
        first = next(stream_audio(path))
        assert first.start == pytest.approx(0.5, abs=tolerance)
        assert first.start * 48000 == round(first.start * 48000)
        assert first.start + int(np.argmax(first.data[0])) / 48000 == pytest.approx(0.75, abs=tolerance)


def test_a_hole_is_silence_and_an_overlap_is_cut(tmp_path: Path) -> None:
    rate, samples = 8000, synth.clicks(8000, 3.0, [0.5, 2.5])

    def written(name: str, moved: int) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream("pcm_s16le", rate=rate, layout="mono")
            for at in range(0, samples.shape[1], 400):
                data = (samples[:, at : at + 400] * 32767).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(data, "s16", "mono")
                frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = at + (moved if at >= 12000 else 0)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    for block in (0.1, 10.0):
        data = joined(list(stream_audio(written("hole.mkv", 4000), block=block)))
        assert data.shape == (1, 28000) and not data[:, 12000:16000].any()
        assert int(np.argmax(data[0, 14000:])) + 14000 == 24000
        data = joined(list(stream_audio(written("overlap.mkv", -400), block=block)))
        assert data.shape == (1, 23600) and int(np.argmax(data[0, 14000:])) + 14000 == 19600


def test_rounded_time_stamps_make_no_holes(tmp_path: Path) -> None:
    """Matroska's milliseconds are half a sample off at every packet; a silence of one sample would click."""
    samples = synth.tone(44100, 5.0)
    clip = open_audio(synth.write_sound(tmp_path / "x.mkv", samples, 44100, "pcm_f32le"))
    assert np.array_equal(clip.data, samples)


def test_a_clock_that_leaps_ends_the_sound(tmp_path: Path) -> None:
    path = tmp_path / "x.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        for index, second in enumerate((0, 1, 1_000_000)):
            frame = av.AudioFrame.from_ndarray(np.full((1, 8000), index + 1, np.int16), "s16", "mono")
            frame.sample_rate, frame.time_base, frame.pts = 8000, Fraction(1, 8000), second * 8000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    clips, error = gathered(stream_audio(path))
    assert joined(clips).shape == (1, 16000) and "leaps from 2.0 s to 1000000.0 s" in str(error)


def test_damage_in_the_middle_leaves_a_hole_of_its_own_length(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = synth.write_sound(tmp_path / "x.mp4", synth.clicks(44100, 4.0, [0.5, 3.5]), 44100, "aac")
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]
    data = bytearray(path.read_bytes())
    for at, size in packets[80:84]:
        data[at : at + size] = b"\xff" * size
    with caplog.at_level(logging.WARNING):
        clip = open_audio(bytes(data))
    assert "damaged packets were skipped" in caplog.text
    for second in (0.5, 3.5):
        near = slice(round((second - 0.2) * 44100), round((second + 0.2) * 44100))
        assert abs(near.start + int(np.argmax(clip.data[0, near])) - second * 44100) <= 1


def test_a_header_that_promises_more_than_there_is_is_told_after_what_there_is(zoo: Zoo) -> None:
    whole = (zoo.folder / "lying.wav").read_bytes()
    for block in (0.1, 10.0):
        clips, error = gathered(stream_audio(whole, block=block))
        assert joined(clips).shape == (1, 8000) and "1.0 s of 3600.0 s decoded" in str(error)


@pytest.mark.parametrize("format", ["WAV", "AIFF", "FLAC", "MP3"])
def test_what_stands_before_a_cut_is_delivered_whatever_the_block(tmp_path: Path, format: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, synth.noise(44100, 6.0).T, 44100, format=format)
    data = file.getvalue()
    whole = open_audio(data).data
    heard = []
    for block in (0.05, 1.0, 100.0):
        clips, error = gathered(stream_audio(data[: len(data) // 2], block=block))
        assert isinstance(error, TruncatedMedia) and "of 6.0 s decoded" in str(error)
        heard.append(joined(clips))
    assert all(np.array_equal(heard[0], other) for other in heard)
    # MP3 cut inside a frame: the decoder makes up the end of it.
    sure = heard[0].shape[1] - (2304 if format == "MP3" else 0)
    assert sure > 2 * 44100 and np.array_equal(heard[0][:, :sure], whole[:, :sure])


def mp3(seconds: float, bitrate: str) -> bytes:
    file = io.BytesIO()
    samples = synth.noise(44100, seconds).T
    soundfile.write(file, samples, 44100, "MPEG_LAYER_III", format="MP3", bitrate_mode=bitrate)
    return file.getvalue()


@pytest.mark.parametrize("bitrate", ["CONSTANT", "VARIABLE"])
def test_an_mp3_that_does_not_state_its_length_is_read_to_its_end(bitrate: str) -> None:
    data = mp3(6.0, bitrate)
    second = data.index(data[:2], 100)  # behind the frame that holds the Xing header
    clips, error = gathered(stream_audio(data[second:] + b"TAG" + bytes(125)))  # an ID3v1 tag, which is no sound
    # Without the header nothing tells of the encoder's delay and padding, 1105 and some samples.
    assert error is None and joined(clips).shape[1] == pytest.approx(6 * 44100, abs=3000)


def test_mp3_files_put_one_behind_another_are_all_read() -> None:
    clip = open_audio(mp3(2.0, "CONSTANT") + mp3(3.0, "CONSTANT"))
    assert clip.duration == pytest.approx(5.0, abs=0.1)


def test_a_hole_in_ogg_is_an_error_and_not_a_wrong_clock(tmp_path: Path) -> None:
    file = io.BytesIO()
    soundfile.write(file, synth.noise(44100, 20.0).T, 44100, "VORBIS", format="OGG")
    data = bytearray(file.getvalue())
    middle = data.index(b"OggS", len(data) // 2)
    data[middle + 100 : middle + 150] = bytes(50)
    with pytest.raises(DecodeError, match="parts are missing in the middle") as caught:
        open_audio(bytes(data))
    assert not isinstance(caught.value, TruncatedMedia)


def test_rate_and_channels_may_change_on_the_way(tmp_path: Path) -> None:
    one = synth.write_sound(tmp_path / "1.aac", synth.tone(44100, 1.0), 44100, "aac").read_bytes()
    two = synth.write_sound(tmp_path / "2.aac", synth.tone(48000, 1.0, 2), 48000, "aac").read_bytes()
    clip = open_audio(one + two + one)
    assert clip.rate == 44100 and clip.data.shape[0] == 1
    assert clip.duration == pytest.approx(3.0, abs=0.25)  # each part has the padding of its encoder


def test_samples_beyond_one_are_clipped_and_no_numbers_refused(tmp_path: Path) -> None:
    loud = np.array([0.5, 2.0, -3.0, 1.0, -1.0], np.float32)
    soundfile.write(tmp_path / "loud.wav", loud, 8000, "FLOAT")
    assert open_audio(tmp_path / "loud.wav").data.tolist() == [[0.5, 1.0, -1.0, 1.0, -1.0]]
    for bad in (np.nan, np.inf, -np.inf):
        loud[3] = bad
        soundfile.write(tmp_path / "bad.wav", loud, 8000, "FLOAT")
        with pytest.raises(DecodeError, match=r"sample 3 .* not a finite number"):
            open_audio(tmp_path / "bad.wav")
        with pytest.raises(ValueError, match="sample 3"):
            array_audio(loud, 8000)


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_U8", 8), ("PCM_16", 16), ("PCM_24", 24), ("PCM_32", 24)])
def test_integers_are_scaled_by_their_type(tmp_path: Path, subtype: str, bits: int) -> None:
    samples = np.linspace(-1, 1, 1001)
    soundfile.write(tmp_path / "x.wav", samples, 8000, subtype)
    # Half a step of the type, a whole one at the top, where 1.0 has no integer.
    assert np.abs(open_audio(tmp_path / "x.wav").data[0] - samples).max() <= 2.0 ** (1 - bits)


def test_arrays_are_scaled_by_their_type() -> None:
    for dtype in (np.int8, np.int16, np.int32, np.int64):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        data = array_audio(np.array([low, 0, high], dtype), 8000).data
        assert data.dtype == np.float32 and data[0, 0] == -1 and data[0, 1] == 0 and 0.99 < data[0, 2] <= 1
    assert array_audio(np.array([0, 128, 255], np.uint8), 8000).data[0, :2].tolist() == [-1, 0]
    assert array_audio(np.array([0.5, -0.25]), 8000).data.tolist() == [[0.5, -0.25]]


def test_arrays_are_turned_channels_first_where_that_can_be_told() -> None:
    samples = synth.noise(8000, 0.01, 2)
    for array, told in ((samples, None), (samples.T, None), (samples, True), (samples.T, False)):
        assert np.array_equal(array_audio(array, 8000, channels_first=told).data, samples)
    for shape in ((2, 2), (4, 3), (20, 30)):
        with pytest.raises(ValueError, match="channels_first"):
            array_audio(np.zeros(shape), 8000)
        assert array_audio(np.zeros(shape), 8000, channels_first=False).data.shape == shape[::-1]


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros((2, 2, 2)), 8000, "shape"),
        (np.zeros(8), 0, "rate above 0"),
        (np.zeros(8, np.uint16), 8000, "uint16"),
        (np.zeros(8, bool), 8000, "bool"),
        (np.zeros(8, complex), 8000, "complex"),
        (np.array(["a.wav", "b.wav"]), 8000, "<U5"),
    ],
)
def test_arrays_that_are_no_sound_are_refused(samples: np.ndarray, rate: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        array_audio(samples, rate)


def test_an_array_is_not_shared_with_the_clip() -> None:
    samples = np.full(10, 2.0, np.float32)
    assert array_audio(samples, 8000).data.max() == 1 and samples.max() == 2


@given(st.integers(1, 8), st.integers(0, 300), st.integers(0, 10**6))
def test_mono_is_the_mean(channels: int, length: int, seed: int) -> None:
    data = np.random.default_rng(seed).uniform(-1, 1, (channels, length)).astype(np.float32)
    made = mix_to_mono(Clip(data, "audio", 8000.0, 1.5, "x", valid=length // 2))
    assert made.data.shape == (1, length) and (made.start, made.source, made.valid) == (1.5, "x", length // 2)
    # float32 sums of at most eight numbers up to one: eight halves of the last bit.
    assert np.allclose(made.data[0], data.mean(0, dtype=np.float64), rtol=0, atol=5e-7)


def test_mono_of_equal_channels_is_that_channel() -> None:
    data = synth.noise(8000, 1.0)
    for channels in (1, 2):
        assert np.array_equal(mix_to_mono(Clip(np.repeat(data, channels, 0), "audio", 8000.0)).data, data)


def test_a_recording_of_nothing_is_an_error(tmp_path: Path) -> None:
    for name in ("x.wav", "x.aiff"):
        soundfile.write(tmp_path / name, np.zeros(0), 8000)
        with pytest.raises(DecodeError, match=name):
            open_audio(tmp_path / name)


def test_a_block_is_some_time(zoo: Zoo) -> None:
    with pytest.raises(ValueError, match="more than 0 seconds"):
        next(stream_audio(zoo.folder / "cd.wav", block=0))


def test_a_real_recording(shared: Path) -> None:
    clip = open_audio(shared / "speech" / "jfk.flac")
    assert clip.rate == 44100 and clip.duration == 11.0
    film = open_audio(shared / "openl3" / "official" / "bento.mp4")
    assert film.rate == 44100 and film.start == 0


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="a rate above 0 Hz"):
        array_audio(np.zeros(4), rate)


@pytest.mark.parametrize("block", [0.0, -1.0, math.nan, math.inf])
def test_a_block_that_is_none_is_refused(block: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a block of more than 0 seconds"):
        next(stream_audio(tmp_path / "any.wav", block=block))


def test_sound_of_no_channel_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least one channel, got samples of shape \(0, 9\)"):
        array_audio(np.zeros((0, 9)), 8000, channels_first=True)
