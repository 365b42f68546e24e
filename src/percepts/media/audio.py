"""Decode the audio of a file into clips: blocks of (C, N) float32 samples on one exact clock."""

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

# Formats that libsndfile reads. FFmpeg reads the others, and what libsndfile refuses of these.
_SNDFILE = frozenset({"wav", "flac", "ogg", "mp3", "aiff", "au", "caf", "w64"})
# Samples a read. What the decoder holds when it meets damage is lost, so a read is small, whatever the block is.
_READ = 16384
# Programs that write to a pipe cannot go back to the header, and leave 0 or nearly the largest number as the length.
_UNKNOWN = 0x7FFF0000
# Formats of uncompressed samples. libsndfile bounds their number by the size of the file, not by the header alone.
_PLAIN = frozenset({"wav", "aiff", "au", "w64"})
# Seconds by which a header may overstate the duration: writers round, and count bytes of their own.
_SLACK = 0.05
# Bytes of tags that may follow the audio of an MP3.
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
"""Hz: 64 times 48,000, the most that recorders use. A damaged header may say a billion, and to compute a resampling
filter for that takes minutes."""
Piece = tuple[int, int, np.ndarray]
"""Rate in Hz, index of the first sample, samples (C, N) float32."""


def stream_audio(source: Source, *, block: float = 10.0) -> Iterator[Clip]:
    """Yield the audio of a file in blocks: (C, N) float32 in [-1, 1], contiguous, at its own rate.

    All blocks but the last hold `round(block * rate)` samples; together they are the same samples whatever `block` is.
    Memory holds a block, not the file. `start` is counted in integer samples from the beginning of the file; audio and
    video of one file share a clock, so a track that begins later starts later, and a hole in it is silence.
    Encoder delay is removed where the file states it (MP4, Matroska, WebM, Ogg, MP3 with a LAME tag); where it does not
    (ADTS, MPEG-TS, FLV, AVI, AC-3) the audio is late by it, some 25 ms at most. Values beyond ±1 are clipped.

    Args:
        source: path or bytes.
        block: seconds of a block.

    Raises, at the first block:
        FileNotFoundError, PermissionError, IsADirectoryError: as `open` would.
        NotMedia: there is no audio in it.
        DecodeError: nothing can be decoded, or some samples are NaN or infinite.
        MediaTooLarge: it lasts longer than `limit_seconds` allows, 48 hours by default and less for a small file; where
            only decoding tells, it is raised at the first block beyond.
    Raises, after the last block that is good:
        TruncatedMedia: the rest cannot be decoded, or the header promises more than there is.
    """
    if not 0 < block < math.inf:
        raise ValueError(f"expected a block of more than 0 seconds, got {block}")
    format = sniff_format(source)
    if format in PICTURES or format == "mpegvideo":
        raise NotMedia(f"{name_of(source)}: is {format}, which has no audio")
    limit = SecondsLimit.of(source)
    for clip in _join_blocks(_decode_pieces(source, format, block), block, source):
        limit.check(clip.start)
        yield clip


def open_audio(source: Source) -> Clip:
    """Return all audio of a file in one clip. For hours of audio use `stream_audio`: one clip would take gigabytes.

    Raises what `stream_audio` raises. Where that is TruncatedMedia, the good part is not returned.
    """
    blocks = list(stream_audio(source))
    if not blocks:
        raise DecodeError(f"{name_of(source)}: holds no sample")
    first = blocks[0]
    return Clip(np.concatenate([b.data for b in blocks], axis=1), "audio", first.rate, first.start, first.source)


def mix_to_mono(clip: Clip) -> Clip:
    """Return the mean of the channels, (1, N). No other code averages channels."""
    if clip.kind != "audio":
        raise ValueError(f"expected an audio clip, got {clip.kind}")
    channels = clip.data.shape[0]
    if channels == 1:
        return clip
    # Adds row to row, in the order of memory; `mean` over the last axis of (N, C) takes thirty times as long.
    total = np.add.reduce(clip.data, axis=0, keepdims=True)
    total /= np.float32(channels)
    return Clip(total, "audio", clip.rate, clip.start, clip.source, clip.valid)


def array_audio(samples: np.ndarray, rate: float, *, channels_first: bool | None = None, source: str = "") -> Clip:
    """Make a clip of samples in memory: integers are scaled by the range of their type, channels come first.

    Args:
        samples: (N,), (C, N) or (N, C); signed integers, uint8 around 128, or floats in [-1, 1].
        rate: Hz.
        channels_first: whether the first axis is the channels. May be left out where only one answer is possible: there
            is a single axis, or one of two is at most 8 long and the other longer than 8.
        source: name of the source, for the clip and for messages.

    Raises:
        ValueError: another shape or type, or an axis that could be either.
        DecodeError: some samples are NaN or infinite.
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
    """Scale integers to [-1, 1) by the range of their type."""
    if data.dtype == np.uint8:
        return (data.astype(np.float32) - 128) / 128
    if data.dtype.kind == "i":
        # a power of two, so the product is exact in float32 for samples of up to 24 bits
        return data.astype(np.float32) * np.float32(2.0 ** (1 - 8 * data.dtype.itemsize))
    if data.dtype.kind == "f":
        return data.astype(np.float32, copy=False)
    raise ValueError(f"expected samples of a signed integer type, uint8 or a float, got {data.dtype}")


def _check_samples(data: np.ndarray, at: int, rate: float, name: str) -> None:
    """Clip samples to [-1, 1] in place.

    Raises:
        DecodeError: a sample is NaN or infinite; the message has its time.
    """
    if data.size == 0:
        return
    low, high = data.min(), data.max()
    if low >= -1 and high <= 1:  # False for NaN
        return
    bad = ~np.isfinite(data).all(axis=0)
    if bad.any():
        first = at + int(np.argmax(bad))
        raise DecodeError(f"{name}: sample {first} ({first / rate:.3f} s) is not a finite number")
    np.clip(data, -1, 1, out=data)


def _join_blocks(pieces: Iterable[Piece], block: float, source: Source) -> Iterator[Clip]:
    """Join pieces of any length into blocks of one length. Where a piece fails, yield what came before it first."""
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
            raise DecodeError(
                f"{name_of(source)}: a rate of {rate:,} Hz; percepts decodes audio of up to {MAX_RATE:,} Hz"
            )
        if not held:
            start = at
        held.append(data)
        have += data.shape[1]
        size = max(1, round(block * rate))
        while have >= size:
            joined = held[0] if len(held) == 1 else np.concatenate(held, axis=1)
            yield _make_clip(joined[:, :size], start, rate, source)
            held, have, start = [joined[:, size:]], have - size, start + size
    if have:
        yield _make_clip(np.concatenate(held, axis=1), start, rate, source)
    if failure is not None:
        raise failure


def _make_clip(data: np.ndarray, start: int, rate: int, source: Source) -> Clip:
    data = np.ascontiguousarray(data)
    _check_samples(data, start, rate, name_of(source))
    return Clip(data, "audio", float(rate), start / rate, source_path(source))


def _decode_pieces(source: Source, format: str, block: float) -> Iterator[Piece]:
    """Yield pieces from libsndfile where it reads the format, else from FFmpeg, which knows more codecs inside WAV."""
    if format in _SNDFILE and not (format == "mp3" and not _has_complete_length(source)):
        pieces = _decode_with_sndfile(source, format)
        try:
            yield next(pieces)
        except TruncatedMedia:
            raise
        except (StopIteration, DecodeError):
            pass  # FFmpeg may know the codec; if not, its error is raised
        else:
            yield from pieces
            return
    yield from _decode_with_ffmpeg(source, format, block)


def _decode_with_sndfile(source: Source, format: str) -> Iterator[Piece]:
    done = rate = frames = 0
    reason, broken = "the file ends there", False
    with open_source(source) as file:
        stated, present = _count_data_bytes(file, format)
        try:
            with soundfile.SoundFile(file) as reader:
                rate, frames = reader.samplerate, reader.frames
                if format in _PLAIN:
                    SecondsLimit.of(source).check(frames / max(1, rate))
                while len(data := reader.read(_READ, dtype="float32", always_2d=True)):
                    yield rate, done, np.ascontiguousarray(data.T)  # (N, C) → (C, N)
                    done += len(data)
        except soundfile.LibsndfileError as error:
            if not done:
                raise DecodeError(f"{name_of(source)}: damaged {format}: {error.error_string}") from error
            reason, broken = error.error_string, True
    promised = max(frames, done * stated // present if present else 0)
    if done and (broken or promised - done > _SLACK * rate):
        seconds = f"{name_of(source)}: {done / rate:.1f} s of {promised / rate:.1f} s decoded"
        if format == "ogg":  # its length comes from the last page, so what is missing is missing before that
            raise DecodeError(f"{seconds}: parts are missing in the middle, so the times of what follows are not known")
        raise TruncatedMedia(f"{seconds}: {reason}")


def _has_complete_length(source: Source) -> bool:
    """Return whether an MP3 begins by stating its length, and nothing but tags follows after that length.

    libsndfile reads an MP3 up to the stated length, and misses the second of two files joined together. Without a
    stated length it guesses from the first bit rate, and cuts a variable one short by half.
    """
    with open_source(source) as file:
        begin = id3_tag_size(file.read(10))
        file.seek(begin)
        frame = file.read(64)
        tag = max(frame.find(b"Xing"), frame.find(b"Info"))
        if tag < 0 or len(frame) < tag + 16 or frame[tag + 7] & 3 != 3:  # 3: the tag states both frames and bytes
            return False
        return file.seek(0, 2) - begin <= int.from_bytes(frame[tag + 12 : tag + 16], "big") + _TAGS


def _count_data_bytes(file: BinaryIO, format: str) -> tuple[int, int]:
    """Return the bytes of samples that the header states, and those that the file has; (0, 0) where it states none.

    libsndfile lowers the stated length of these formats to the size of the file without an error.
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
        at += 8 + stated + stated % 2  # chunks begin at even offsets
    file.seek(0)
    return 0, 0


def _decode_with_ffmpeg(source: Source, format: str, block: float) -> Iterator[Piece]:
    with open_container(source, format) as container:
        stream = find_audio_stream(container)
        if stream is None:
            raise NotMedia(f"{name_of(source)}: is {format} and has no audio stream")
        track = Track(container, stream, source, format)
        check_clock(track, stream, SecondsLimit.of(source))
        alone = find_video_stream(container) is None
        yield from _place_in_time(track, alone, block)


def _place_in_time(track: Track, alone: bool, block: float) -> Iterator[Piece]:
    """Turn frames into pieces that follow each other without a gap: holes become silence, overlaps are cut."""
    shape: _SampleFormat | None = None
    position = 0
    for frame in track.frames():
        at = None if frame.pts is None else frame.pts * frame.time_base - track.origin
        if shape is None:
            shape = _SampleFormat(frame)
            if at is not None and alone:  # no video shares the clock, so the clock begins with the audio
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
    """Split a total into parts of at most `most`, so that an hour of silence takes the memory of a block."""
    for done in range(0, total, most):
        yield min(most, total - done)


class _SampleFormat:
    """Rate and channels of the first frame. Later frames are converted to them, since broadcasts change both midway."""

    def __init__(self, first: AudioFrame) -> None:
        self.rate, self.layout = first.sample_rate, first.layout
        self.channels = len(first.layout.channels)
        self._resampler: av.AudioResampler | None = None
        self._odd: tuple[str, str, int] | None = None

    def of(self, frame: AudioFrame) -> np.ndarray:
        """Return the samples of a frame, (C, N) float32, at the rate and with the channels of the first frame."""
        if frame.sample_rate == self.rate and len(frame.layout.channels) == self.channels:
            return _scale_integers(self._planes(frame))
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or kind != self._odd:
            self._resampler, self._odd = av.AudioResampler("fltp", self.layout, self.rate), kind
        return np.concatenate([self._planes(made) for made in self._resampler.resample(frame)], axis=1)

    def _planes(self, frame: AudioFrame) -> np.ndarray:
        data = frame.to_ndarray()
        return data if frame.format.is_planar else data.reshape(-1, self.channels).T
