"""Sound that is being made now, through a pipe or from a microphone, to clips of one channel as it comes."""

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
"""Seconds of a clip, at most."""
_FILES = {b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"\x1aE\xdf\xa3": "Matroska", b"FORM": "AIFF"}
_UNKNOWN = 0x7FFF0000
"""Bytes that a writer who does not know the length promises: 0, or this much and more."""
WAITING = 600  # blocks of a microphone that may wait: a minute


def stream_pipe(file: BinaryIO, *, rate: int = 16_000, source: str = "-") -> Iterator[Clip]:
    """What comes through a pipe: WAV, or raw samples, 16-bit little-endian, one channel.

    A WAV may be as long as it likes, whatever its header says, since a program that writes one into a pipe cannot go
    back to correct it. A clip is given as soon as its samples are there; half a sample at the end is dropped.

    Args:
        file: read to its end, never back.
        rate: Hz of raw samples.
        source: what clips call it.

    Raises:
        NotMedia: another format, which would sound like noise.
    """
    stream = _PeekableStream(file)
    head = stream.peek(12)
    if (format := _identify_format(head)) is not None:
        raise NotMedia(f"{source}: is {format}; through a pipe come WAV or raw 16-bit samples of one channel")
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        samples, length = _read_wav_header(stream, source)
    else:
        samples, length = _SampleLayout("<i2", 1, rate), None
    yield from _read_clips(stream, samples, length, source)


@dataclass(frozen=True, slots=True)
class _SampleLayout:
    """How bytes are sound: numpy's name of a sample ("i3" for three bytes), channels, Hz."""

    type: str
    channels: int
    rate: int

    @property
    def size(self) -> int:
        """Bytes of a sample of all channels."""
        return int(self.type[-1]) * self.channels

    def of(self, data: bytes) -> np.ndarray:
        """(C, N); what is left of a sample is dropped."""
        data = data[: len(data) // self.size * self.size]
        if self.type == "i3":
            wide = np.zeros((len(data) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            flat = wide.view("<i4")[:, 0]
        else:
            flat = np.frombuffer(data, self.type)
        return flat.reshape(-1, self.channels).T


_TYPES = {(1, 8): "u1", (1, 16): "<i2", (1, 24): "i3", (1, 32): "<i4", (3, 32): "<f4", (3, 64): "<f8"}
"""By WAV's number of the encoding and the bits of a sample."""


def _read_wav_header(stream: _PeekableStream, source: str) -> tuple[_SampleLayout, int | None]:
    """How the samples of a WAV are written, and how many bytes of them there are, if the header knows."""
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
                raise NotMedia(f"{source}: WAV of encoding {encoding} with {bits} bits: expected integers or floats")
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
    """What a file that is no WAV says it is; raw samples say nothing."""
    if head[4:8] == b"ftyp":
        return "MP4"
    return next((name for magic, name in _FILES.items() if head.startswith(magic)), None)


def _make_clip(samples: np.ndarray, rate: int, at: int, source: str) -> Clip:
    clip = mix_to_mono(array_audio(samples, rate, channels_first=True, source=source))
    return Clip(clip.data, "audio", clip.rate, at / rate, source)


class _PeekableStream:
    """A stream whose first bytes may be looked at before they are read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._head = file, b""

    def peek(self, count: int) -> bytes:
        """The first bytes, fewer only where there are no more."""
        self._head += self.read(count - len(self._head))
        return self._head

    def read(self, size: int = -1) -> bytes:
        """So many bytes, fewer only at the end."""
        parts = [self._head[:size]]
        self._head = self._head[size:]
        left = size - len(parts[0])
        while left > 0 and (more := self._read_some(left)):
            parts.append(more)
            left -= len(more)
        return b"".join(parts)

    def _read_some(self, count: int) -> bytes:
        read = self._file.read1 if isinstance(self._file, BufferedIOBase) else self._file.read
        found: bytes = read(count)
        return found


def stream_microphone(device: str | int | None = None) -> Iterator[Clip]:
    """The sound of a microphone, at its own rate, until it is unplugged or the iteration is given up.

    What nobody takes for a minute is dropped, oldest last, with a warning. A device that disappears ends the clips.

    Args:
        device: its number or a part of its name, as sounddevice lists them (`python -m sounddevice`); None: the
            system's own choice.

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
            log.warning("%.1f s of sound lost: nobody took it in time", frames / rate)

    try:
        rate = float(sounddevice.query_devices(device, "input")["default_samplerate"])
        stream = sounddevice.InputStream(
            rate, round(rate * BLOCK), device, 1, "float32", callback=take, finished_callback=lambda: ready.put(None)
        )
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        raise MediaError(f"no microphone to listen to ({error}); `python -m sounddevice` lists the devices") from error
    at = 0
    try:
        while (data := _next_block(ready, stream)) is not None:
            yield Clip(np.ascontiguousarray(data[None]), "audio", rate, at / rate, "microphone")
            at += len(data)
        log.warning("the microphone is gone after %.1f s", at / rate)
    finally:
        _device_closed(stream, sounddevice.PortAudioError)


def _next_block(ready: Queue[np.ndarray | None], stream: Any) -> np.ndarray | None:
    """The next block; None where the device has gone, whether it said so or fell silent."""
    while True:
        try:
            return ready.get(timeout=1.0)
        except Empty:
            if not stream.active:
                return None


def _device_closed(stream: Any, error: type[Exception]) -> None:
    try:
        stream.close()
    except error as failed:  # a device that is gone cannot be closed either
        log.debug("closing the microphone: %s", failed)


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
