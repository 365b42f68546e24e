"""A recording, or the sound of a film, to clips: blocks of (C, N) float32 on one exact clock."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import BinaryIO, Literal

import av
import numpy as np
import soundfile
from av.audio.frame import AudioFrame

from ..errors import DecodeError, NotMedia, TruncatedMedia
from ..types import Clip
from .container import Track, check_clock, find_audio_stream, find_video_stream, open_container
from .limits import SecondsLimit
from .probe import PICTURES, id3_tag_size, sniff_format
from .source import Source, name_of, open_source, source_path

# What libsndfile reads; the rest, and what it refuses of these, is FFmpeg's.
_SNDFILE = frozenset({"wav", "flac", "ogg", "mp3", "aiff", "au", "caf", "w64"})
# Samples a read: what the decoder has when it meets damage is lost with it, whatever the block.
_READ = 16384
# Lengths that streaming writers leave in a header they cannot go back to: 0, or the most that fits.
_UNKNOWN = 0x7FFF0000
# Formats of plain samples, whose number libsndfile takes from the size of the file and not from the header alone.
_PLAIN = frozenset({"wav", "aiff", "au", "w64"})
# Seconds a header may promise beyond what is there: writers round, and count their own bytes.
_SLACK = 0.05
# Bytes of notes that may follow the sound of an MP3.
_TAGS = 4096
# Seconds by which the clock of a container may disagree with the count of samples: time stamps are rounded (to a
# millisecond in Matroska and FLV), while the shortest packet that can be lost lasts 20 ms or more.
_JITTER = Fraction(1, 100)
# Name of the chunk that holds the samples, byte order, and where the first chunk stands.
_CHUNKED: dict[str, tuple[bytes, Literal["little", "big"], int]] = {
    "wav": (b"data", "little", 12),
    "aiff": (b"SSND", "big", 12),
}
MAX_RATE = 3_072_000
"""Hz: 64 times 48,000, as far as recorders go. A damaged header says a billion, and a filter for that takes minutes."""
Piece = tuple[int, int, np.ndarray]
"""Rate, index of the first sample, samples (C, N) float32."""


def stream_audio(source: Source, *, block: float = 10.0) -> Iterator[Clip]:
    """The sound of a recording or a film, in blocks: (C, N) float32 in [-1, 1], contiguous, at its own rate.

    All blocks but the last hold `round(block * rate)` samples; together they are the same samples whatever `block` is.
    Memory is a block, not a file. `start` is counted in whole samples from the beginning of the file, or of the film
    where sound and pictures share a clock: a track that begins later starts later, a hole in it is silence.
    Encoder delay is removed where the file tells it (MP4, Matroska, WebM, Ogg, MP3 with a LAME tag); where it does not
    (ADTS, MPEG-TS, FLV, AVI, AC-3) the sound is late by it, some 25 ms at most. Values beyond ±1 are clipped.

    Raises, at the first block:
        FileNotFoundError, PermissionError, IsADirectoryError: as `open` would.
        NotMedia: no sound in it.
        DecodeError: nothing can be decoded, or samples are no finite numbers.
        MediaTooLarge: it lasts longer than `limit_seconds` allows, 48 hours by default and less for a small file; where
            only decoding tells, it is raised at the first block beyond.
    Raises, after the last block that is good:
        TruncatedMedia: the rest cannot be decoded, or the header promises more than there is.
    """
    if not 0 < block < math.inf:
        raise ValueError(f"expected a block of more than 0 seconds, got {block}")
    format = sniff_format(source)
    if format in PICTURES or format == "mpegvideo":
        raise NotMedia(f"{name_of(source)}: is {format}, which has no sound")
    limit = SecondsLimit.of(source)
    for clip in _join_blocks(_decode_pieces(source, format, block), block, source):
        limit.check(clip.start)
        yield clip


def open_audio(source: Source) -> Clip:
    """All of it in one clip. Hours of it take gigabytes: `stream_audio` takes none.

    Raises what `stream_audio` raises; TruncatedMedia then delivers nothing.
    """
    blocks = list(stream_audio(source))
    if not blocks:
        raise DecodeError(f"{name_of(source)}: holds no sample")
    first = blocks[0]
    return Clip(np.concatenate([b.data for b in blocks], axis=1), "audio", first.rate, first.start, first.source)


def mix_to_mono(clip: Clip) -> Clip:
    """The mean of the channels, (1, N): the one place where channels are averaged."""
    if clip.kind != "audio":
        raise ValueError(f"expected an audio clip, got {clip.kind}")
    channels = clip.data.shape[0]
    if channels == 1:
        return clip
    # Row by row, which is memory in its order; `mean` over the last axis of (N, C) takes thirty times as long.
    total = np.add.reduce(clip.data, axis=0, keepdims=True)
    total /= np.float32(channels)
    return Clip(total, "audio", clip.rate, clip.start, clip.source, clip.valid)


def array_audio(samples: np.ndarray, rate: float, *, channels_first: bool | None = None, source: str = "") -> Clip:
    """Samples in memory to a clip: integers scaled by their type, channels first.

    Args:
        samples: (N,), (C, N) or (N, C); int16 and its like, uint8 around 128, or floats in [-1, 1].
        rate: Hz.
        channels_first: which axis the channels are. May be left out where it can only be one: a single axis, or two of
            which one is at most 8 long and the other longer than 8.
        source: what to call it.

    Raises:
        ValueError: another shape or type, an axis that could be either, values that are no finite numbers.
    """
    data = np.asarray(samples)
    if data.ndim == 1:
        data = data[None]
    elif data.ndim != 2:
        raise ValueError(f"expected (N,), (C, N) or (N, C) samples, got shape {data.shape}")
    elif not (_is_channels_first(data.shape) if channels_first is None else channels_first):
        data = data.T
    if not 0 < rate < math.inf:
        raise ValueError(f"expected a rate above 0 Hz, got {rate}")
    if not data.shape[0]:
        raise ValueError(f"expected at least one channel, got samples of shape {np.shape(samples)}")
    scaled = np.array(_scale_integers(data), dtype=np.float32, order="C")
    _check_samples(scaled, 0, rate, source or "array")
    return Clip(scaled, "audio", float(rate), source=source)


def _is_channels_first(shape: tuple[int, ...]) -> bool:
    few = [length <= 8 for length in shape]
    if few[0] == few[1]:
        raise ValueError(
            f"samples of shape {shape} could be (C, N) or (N, C): pass channels_first=True or channels_first=False"
        )
    return few[0]


def _scale_integers(data: np.ndarray) -> np.ndarray:
    """Integers to [-1, 1) by the range of their type."""
    if data.dtype == np.uint8:
        return (data.astype(np.float32) - 128) / 128
    if data.dtype.kind == "i":
        # A power of two: exact in float32 up to 24 bits.
        return data.astype(np.float32) * np.float32(2.0 ** (1 - 8 * data.dtype.itemsize))
    if data.dtype.kind == "f":
        return data.astype(np.float32, copy=False)
    raise ValueError(f"expected samples of a signed integer type, uint8 or a float, got {data.dtype}")


def _check_samples(data: np.ndarray, at: int, rate: float, name: str) -> None:
    """Clip to [-1, 1] in place; refuse what is no number.

    Raises:
        DecodeError: NaN or infinity, with its time.
    """
    if data.size == 0:
        return
    low, high = data.min(), data.max()
    if low >= -1 and high <= 1:  # False for NaN
        return
    bad = ~np.isfinite(data).all(axis=0)
    if bad.any():
        first = at + int(np.argmax(bad))
        raise DecodeError(f"{name}: sample {first} ({first / rate:.3f} s) is no finite number")
    np.clip(data, -1, 1, out=data)


def _join_blocks(pieces: Iterable[Piece], block: float, source: Source) -> Iterator[Clip]:
    """Pieces of any length to blocks of one length. What is held when a piece fails is delivered before the failure."""
    held: list[np.ndarray] = []
    have, start, rate = 0, 0, 0
    stream, failure = iter(pieces), None
    while failure is None:
        try:
            rate, at, data = next(stream)
        except StopIteration:
            break
        except TruncatedMedia as error:
            failure = error
            break
        if not 0 < rate <= MAX_RATE:
            raise DecodeError(f"{name_of(source)}: {rate:,} samples a second; no sound has over {MAX_RATE:,}")
        if not held:
            start = at
        held.append(data)
        have += data.shape[1]
        size = max(1, round(block * rate))
        while have >= size:
            whole = held[0] if len(held) == 1 else np.concatenate(held, axis=1)
            yield _make_clip(whole[:, :size], start, rate, source)
            held, have, start = [whole[:, size:]], have - size, start + size
    if have:
        yield _make_clip(np.concatenate(held, axis=1), start, rate, source)
    if failure is not None:
        raise failure


def _make_clip(data: np.ndarray, start: int, rate: int, source: Source) -> Clip:
    data = np.ascontiguousarray(data)
    _check_samples(data, start, rate, name_of(source))
    return Clip(data, "audio", float(rate), start / rate, source_path(source))


def _decode_pieces(source: Source, format: str, block: float) -> Iterator[Piece]:
    """From libsndfile where it reads the format, else from FFmpeg, which knows more codecs inside WAV and its like."""
    if format in _SNDFILE and not (format == "mp3" and not _is_whole_mp3(source)):
        sound = _decode_with_sndfile(source, format)
        try:
            yield next(sound)
        except TruncatedMedia:
            raise
        except (StopIteration, DecodeError):
            pass  # FFmpeg has the last word
        else:
            yield from sound
            return
    yield from _decode_with_ffmpeg(source, format, block)


def _decode_with_sndfile(source: Source, format: str) -> Iterator[Piece]:
    done = rate = frames = 0
    reason, broken = "the file ends there", False
    with open_source(source) as file:
        stated, present = _count_data_bytes(file, format)
        try:
            with soundfile.SoundFile(file) as sound:
                rate, frames = sound.samplerate, sound.frames
                if format in _PLAIN:
                    SecondsLimit.of(source).check(frames / max(1, rate))
                while len(data := sound.read(_READ, dtype="float32", always_2d=True)):
                    yield rate, done, np.ascontiguousarray(data.T)  # (N, C) → (C, N)
                    done += len(data)
        except soundfile.LibsndfileError as error:
            if not done:
                raise DecodeError(f"{name_of(source)}: damaged {format}: {error.error_string}") from error
            reason, broken = error.error_string, True
    promised = max(frames, done * stated // present if present else 0)
    if done and (broken or promised - done > _SLACK * rate):
        seconds = f"{name_of(source)}: {done / rate:.1f} s of {promised / rate:.1f} s decoded"
        if format == "ogg":  # its length is that of the last page, so what is missing is missing before it
            raise DecodeError(f"{seconds}: there are holes in it, and the sound after a hole comes early")
        raise TruncatedMedia(f"{seconds}: {reason}")


def _is_whole_mp3(source: Source) -> bool:
    """Whether an MP3 begins by stating its length, and that length is all of it.

    libsndfile reads no further than it thinks an MP3 goes: to the statement, which files put one behind another leave
    behind, or without one to a guess from the first bit rate, which cuts a variable one short by half.
    """
    with open_source(source) as file:
        begin = id3_tag_size(file.read(10))
        file.seek(begin)
        frame = file.read(64)
        tag = max(frame.find(b"Xing"), frame.find(b"Info"))
        if tag < 0 or len(frame) < tag + 16 or frame[tag + 7] & 3 != 3:  # it states frames and bytes
            return False
        return file.seek(0, 2) - begin <= int.from_bytes(frame[tag + 12 : tag + 16], "big") + _TAGS


def _count_data_bytes(file: BinaryIO, format: str) -> tuple[int, int]:
    """Bytes of sound that the header states and that the file has; (0, 0) where it states none.

    libsndfile cuts the promise of these formats down to the file in silence.
    """
    if format not in _CHUNKED:
        return 0, 0
    name, order, at = _CHUNKED[format]
    size = file.seek(0, 2)
    while at + 8 <= size:
        file.seek(at)
        head = file.read(8)
        stated = int.from_bytes(head[4:], order)
        if head[:4] == name:
            file.seek(0)
            present = size - at - 8
            return (stated, present) if 0 < present < stated < _UNKNOWN else (0, 0)
        at += 8 + stated + stated % 2
    file.seek(0)
    return 0, 0


def _decode_with_ffmpeg(source: Source, format: str, block: float) -> Iterator[Piece]:
    with open_container(source, format) as container:
        stream = find_audio_stream(container)
        if stream is None:
            raise NotMedia(f"{name_of(source)}: {format} that has no sound")
        track = Track(container, stream, source, format)
        check_clock(track, stream, SecondsLimit.of(source))
        alone = find_video_stream(container) is None
        yield from _place_in_time(track, alone, block)


def _place_in_time(track: Track, alone: bool, block: float) -> Iterator[Piece]:
    """Frames to pieces that follow each other without a gap: holes become silence, overlaps are cut."""
    shape: _SampleFormat | None = None
    position = 0
    for frame in track.frames():
        at = None if frame.pts is None else frame.pts * frame.time_base - track.origin
        if shape is None:
            shape = _SampleFormat(frame)
            if at is not None and alone:  # nothing else shares the clock: it begins with the sound
                track.origin, at = track.origin + at, Fraction(0)
            position = max(0, round((at or 0) * shape.rate))
        data = shape.of(frame)
        gap = Fraction(0) if at is None else at - Fraction(position, shape.rate)
        if at is not None and abs(gap) > _JITTER:
            if not track.follows(at, at - gap):
                break
            samples = round(gap * shape.rate)
            for length in _split_length(samples, max(1, round(block * shape.rate))):
                yield shape.rate, position, np.zeros((shape.channels, length), np.float32)
                position += length
            data = data[:, max(0, -samples) :]
        yield shape.rate, position, data
        position += data.shape[1]
    track.finish(Fraction(position, shape.rate) if shape else Fraction(0))


def _split_length(total: int, most: int) -> Iterator[int]:
    """A total in parts of `most`, so that an hour of silence takes the memory of a block."""
    for done in range(0, total, most):
        yield min(most, total - done)


class _SampleFormat:
    """Rate and channels of the first frame, and every later frame made to fit: broadcasts change both midway."""

    def __init__(self, first: AudioFrame) -> None:
        self.rate, self.layout = first.sample_rate, first.layout
        self.channels = len(first.layout.channels)
        self._resampler: av.AudioResampler | None = None
        self._odd: tuple[str, str, int] | None = None

    def of(self, frame: AudioFrame) -> np.ndarray:
        """(C, N) float32."""
        if frame.sample_rate == self.rate and len(frame.layout.channels) == self.channels:
            return _scale_integers(self._planes(frame))
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or kind != self._odd:
            self._resampler, self._odd = av.AudioResampler("fltp", self.layout, self.rate), kind
        return np.concatenate([self._planes(made) for made in self._resampler.resample(frame)], axis=1)

    def _planes(self, frame: AudioFrame) -> np.ndarray:
        data = frame.to_ndarray()
        return data if frame.format.is_planar else data.reshape(-1, self.channels).T
