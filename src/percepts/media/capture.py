"""Read live audio from a pipe or a microphone, and yield it as mono clips while it arrives."""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from queue import Empty, Full, Queue
from typing import Any, BinaryIO

import numpy as np

from ..errors import MediaError, MissingExtra, NotMedia
from ..types import Clip
from .audio import array_audio, mix_to_mono

log = logging.getLogger(__name__)

BLOCK = 0.1
"""Longest clip, in seconds."""
_FILES = {b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"\x1aE\xdf\xa3": "Matroska", b"FORM": "AIFF"}
_UNKNOWN = 0x7FFF0000
"""A program that does not know the length yet writes 0 bytes, or this many or more, into the header."""
WAITING = 600
"""Blocks of a microphone that may wait in the queue: a minute of audio."""


def stream_pipe(file: BinaryIO, *, rate: int = 16_000, source: str = "-") -> Iterator[Clip]:
    """Yield the audio that comes through a pipe: WAV, or raw 16-bit little-endian samples of one channel.

    A WAV whose header does not know the length is read to its end, since a program that writes into a pipe cannot go
    back to its header. A clip is yielded as soon as its samples arrive. Half a sample at the end is dropped.

    Args:
        file: the pipe. It is read to its end and need not be seekable.
        rate: Hz of raw samples.
        source: name of the source, for the clips.

    Raises:
        NotMedia: another format. Its bytes, taken for raw samples, would be noise.
    """
    stream = _PeekableStream(file)
    head = stream.peek(12)
    if (format := _identify_format(head)) is not None:
        raise NotMedia(f"{source}: is {format}; a pipe must send WAV or raw 16-bit samples of one channel")
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        samples, length = _read_wav_header(stream, source)
    else:
        samples, length = _SampleLayout("<i2", 1, rate), None
    yield from _read_clips(stream, samples, length, source)


@dataclass(frozen=True, slots=True)
class _SampleLayout:
    """Format of samples: numpy's type of one ("i3" for three bytes), number of channels, rate in Hz."""

    type: str
    channels: int
    rate: int

    @property
    def size(self) -> int:
        """Bytes of one sample of all channels."""
        return int(self.type[-1]) * self.channels

    def of(self, data: bytes) -> np.ndarray:
        """Return the samples in some bytes, (C, N); an incomplete sample at the end is dropped."""
        data = data[: len(data) // self.size * self.size]
        if self.type == "i3":
            # the three bytes become the upper ones of an int32, which keeps sign and full scale
            wide = np.zeros((len(data) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            flat = wide.view("<i4")[:, 0]
        else:
            flat = np.frombuffer(data, self.type)
        return flat.reshape(-1, self.channels).T


_TYPES = {(1, 8): "u1", (1, 16): "<i2", (1, 24): "i3", (1, 32): "<i4", (3, 32): "<f4", (3, 64): "<f8"}
"""Types of samples by WAV's number of the encoding (1 integer, 3 float) and bits a sample."""


def _read_wav_header(stream: _PeekableStream, source: str) -> tuple[_SampleLayout, int | None]:
    """Read the header of a WAV; return the layout of its samples and their number of bytes, None if unknown."""
    stream.read(12)
    samples: _SampleLayout | None = None
    while len(head := stream.read(8)) == 8:
        name, size = struct.unpack("<4sI", head)
        if name == b"data" and samples is not None:
            return samples, size if 0 < size < _UNKNOWN else None
        body = stream.read(size + size % 2)
        if name == b"fmt " and len(body) >= 16:
            encoding, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", body)
            if encoding == 0xFFFE and len(body) >= 26:  # WAVE_FORMAT_EXTENSIBLE: the number follows
                encoding = struct.unpack_from("<H", body, 24)[0]
            if (encoding, bits) not in _TYPES or not channels or not rate:
                raise NotMedia(f"{source}: is WAV of encoding {encoding} with {bits} bits, not of integers or floats")
            samples = _SampleLayout(_TYPES[encoding, bits], channels, rate)
    raise NotMedia(f"{source}: a WAV that ends in its header")


def _read_clips(stream: _PeekableStream, samples: _SampleLayout, length: int | None, source: str) -> Iterator[Clip]:
    at, step = 0, max(1, round(BLOCK * samples.rate)) * samples.size
    left = math.inf if length is None else length
    while left > 0 and (data := stream.read(int(min(step, left)))):
        left -= len(data)
        frames = samples.of(data)
        if frames.size:
            yield _make_clip(frames, samples.rate, at, source)
        at += frames.shape[1]


def _identify_format(head: bytes) -> str | None:
    """Return the name of a format that is not accepted; None for WAV and raw samples."""
    if head[4:8] == b"ftyp":
        return "MP4"
    return next((name for magic, name in _FILES.items() if head.startswith(magic)), None)


def _make_clip(samples: np.ndarray, rate: int, at: int, source: str) -> Clip:
    clip = mix_to_mono(array_audio(samples, rate, channels_first=True, source=source))
    return Clip(clip.data, "audio", clip.rate, at / rate, source)


class _PeekableStream:
    """A stream whose first bytes can be looked at before they are read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._head = file, b""

    def peek(self, count: int) -> bytes:
        """Return the first bytes without consuming them; fewer than `count` only where the stream ends."""
        self._head += self.read(count - len(self._head))
        return self._head

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes; fewer only where the stream ends."""
        parts = [self._head[:size]]
        self._head = self._head[size:]
        left = size - len(parts[0])
        while left > 0 and (more := self._read_some(left)):
            parts.append(more)
            left -= len(more)
        return b"".join(parts)

    def _read_some(self, count: int) -> bytes:
        # read1 returns what has arrived, while read would wait until `count` bytes are there
        read = self._file.read1 if isinstance(self._file, BufferedIOBase) else self._file.read
        data: bytes = read(count)
        return data


def stream_microphone(device: str | int | None = None) -> Iterator[Clip]:
    """Yield the audio of a microphone, at its own rate, until it is unplugged or the caller stops iterating.

    Up to a minute of audio waits for the caller. What comes after that is dropped with a warning.

    Args:
        device: number of the device or a part of its name, as sounddevice lists them (`python -m sounddevice`). None:
            the default device of the system.

    Raises:
        MissingExtra: sounddevice, or the PortAudio that it needs, is not installed.
        MediaError: there is no such device, or it cannot be opened.
    """
    sounddevice = _import_sounddevice()
    ready: Queue[np.ndarray | None] = Queue(WAITING)

    def take(data: np.ndarray, frames: int, when: Any, status: Any) -> None:
        try:
            ready.put_nowait(data[:, 0].copy())
        except Full:
            log.warning("%.1f s of audio from the microphone were dropped: processing is too slow", frames / rate)

    try:
        rate = float(sounddevice.query_devices(device, "input")["default_samplerate"])
        stream = sounddevice.InputStream(
            rate, round(rate * BLOCK), device, 1, "float32", callback=take, finished_callback=lambda: ready.put(None)
        )
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        raise MediaError(
            f"the microphone cannot be opened ({error}); `python -m sounddevice` lists the devices"
        ) from error
    at = 0
    try:
        while (data := _next_block(ready, stream)) is not None:
            yield Clip(np.ascontiguousarray(data[None]), "audio", rate, at / rate, "microphone")
            at += len(data)
        log.warning("the microphone was disconnected after %.1f s", at / rate)
    finally:
        _close_device(stream, sounddevice.PortAudioError)


def _next_block(ready: Queue[np.ndarray | None], stream: Any) -> np.ndarray | None:
    """Return the next block; None where the device is gone, whether it reported that or only sends nothing."""
    while True:
        try:
            return ready.get(timeout=1.0)
        except Empty:
            if not stream.active:
                return None


def _close_device(stream: Any, error_type: type[Exception]) -> None:
    try:
        stream.close()
    except error_type as error:  # PortAudio raises one for a device that was unplugged
        log.debug("closing the microphone: %s", error)


def _import_sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise MissingExtra("a microphone needs sounddevice: pip install 'percepts[microphone]'") from error
    except OSError as error:
        raise MissingExtra(
            f"sounddevice found no PortAudio ({error}): install it, on Debian and Ubuntu with apt install libportaudio2"
        ) from error
    return sounddevice
