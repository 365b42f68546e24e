"""Open containers with FFmpeg, choose their streams, and report what is damaged in them."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from ..errors import DecodeError, TruncatedMedia
from ..support.machine import describe_machine_fault, is_out_of_memory
from .limits import SecondsLimit
from .source import Source, name_of, open_source

MAX_JUMP, MAX_BACK = 3600, 1
"""Seconds that the clock may go forward or back between two packets. Beyond that it is broken, not a long still."""

_log = logging.getLogger(__name__)
_DEMUXERS = {"mp4": "mov", "m4a": "mov", "mkv": "matroska", "webm": "matroska", "ts": "mpegts"}
# Formats whose header states the duration. For the others FFmpeg estimates it from the bit rate.
_PROMISING = frozenset({"mp4", "m4a", "mov", "mkv", "webm", "avi", "flv", "asf"})
# Seconds by which a header may overstate the duration: it may be rounded up, or count an edit list.
_SLACK = Fraction(1, 2)


@contextmanager
def open_container(source: Source, format: str) -> Iterator[InputContainer]:
    """Open a container as the given format, the one that `sniff_format` returned, and find its streams.

    FFmpeg does not guess the format. So playlists and scripts, which make FFmpeg open other files, are not read.

    Raises:
        DecodeError: it cannot be opened, or reading from it inside the context fails.
    """
    with open_source(source) as file:
        try:
            container = av.open(
                file, "r", format=_DEMUXERS.get(format, format), metadata_errors="replace", buffer_size=2**16
            )
        except (FFmpegError, ValueError, OSError) as error:
            _check_memory(error, source)
            if not _is_damage(error):
                raise
            reason = _is_unfinished_mp4(source, format) or _strip_errno(error)
            raise DecodeError(f"{name_of(source)}: damaged {format}: {reason}") from error
        with container:
            try:
                yield container
            except (FFmpegError, OSError) as error:  # some FFmpegErrors are OSErrors; none of them names the file
                _check_memory(error, source)
                if not _is_damage(error):
                    raise
                raise DecodeError(f"{name_of(source)}: damaged {format}: {_strip_errno(error)}") from error


def _is_damage(error: Exception) -> bool:
    """Return whether an error is the fault of the file and not of the system."""
    if describe_machine_fault(error):
        return False
    # EINVAL is a seek to a negative offset: a damaged number in the file
    return not isinstance(error, OSError) or isinstance(error, FFmpegError) or error.errno == errno.EINVAL


def _check_memory(error: Exception, source: Source) -> None:
    """Raise MemoryError where FFmpeg reports that memory ran out."""
    if is_out_of_memory(error):
        raise MemoryError(f"{name_of(source)}: memory ran out: {_strip_errno(error)}") from error


def _check_machine(error: FFmpegError) -> None:
    """Raise the error again where no packet can have caused it."""
    # EAGAIN ("try again") also counts as out of memory, but some decoders refuse a packet with it
    if describe_machine_fault(error) or (is_out_of_memory(error) and error.errno != errno.EAGAIN):
        raise error


def _is_unfinished_mp4(source: Source, format: str) -> str | None:
    """Return why an MP4 file without an index is unreadable; None where it has one.

    The index is in a box called moov, which a recorder writes last.
    """
    if format not in ("mp4", "m4a", "mov"):
        return None
    with open_source(source) as file:
        while len(head := file.read(16)) >= 8:
            size, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if kind == b"moov":
                return None
            # a size of 1 means that the real one follows in 64 bits: ISO 14496-12, 4.2
            size = int.from_bytes(head[8:16], "big") if size == 1 else size
            if size < 8:
                break
            file.seek(size - len(head), 1)
    return "it has no index (moov): the recording was not finished, or the file is cut"


def _strip_errno(error: Exception) -> str:
    """Return the message of an error, without FFmpeg's error number and function name."""
    return (error.strerror if isinstance(error, FFmpegError) else None) or str(error)


def find_audio_stream(container: InputContainer) -> AudioStream | None:
    """Return the audio stream that FFmpeg would play; None where there is none."""
    stream = container.streams.best("audio")
    return stream if isinstance(stream, AudioStream) else None


def find_video_stream(container: InputContainer) -> VideoStream | None:
    """Return the video stream that FFmpeg would play; None where there is none. A cover image does not count."""
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        return None
    return stream


def find_origin(container: InputContainer) -> Fraction:
    """Return the time in seconds at which the first of audio and video begins, on the clock of the container."""
    streams = (find_audio_stream(container), find_video_stream(container))
    starts = [s.start_time * s.time_base for s in streams if s and s.start_time is not None and s.time_base]
    return min(starts, default=Fraction(0))


class Track:
    """Packets and frames of one stream. Damage is tolerated while good frames follow, and reported at the end.

    A packet that does not decode leaves a hole, as it does in players. Only what follows tells whether it was the end
    of what can be decoded, so `finish` decides.
    """

    def __init__(self, container: InputContainer, stream: Stream, source: Source, format: str) -> None:
        self.container, self.stream, self.source, self.format = container, stream, source, format
        self.origin = find_origin(container)
        self.fault: Exception | None = None
        self.decoded = False
        # last tick of each stream; integers, not fractions, because this is computed for every packet
        self._ends: dict[int, int] = {}
        self._holes = 0

    @property
    def promised_seconds(self) -> Fraction:
        """Duration in seconds that the header states; 0 for formats whose header cannot be trusted."""
        known = self.container.duration if self.format in _PROMISING else 0
        return Fraction(known or 0, av.time_base)

    def packets(self) -> Iterator[Packet[Stream]]:
        """Yield the packets of the stream. The last one is empty and flushes the decoder."""
        try:
            for packet in self.container.demux():
                # in the other formats the last packet may be short and good
                if packet.is_corrupt and self.format in _PROMISING:
                    self.fault = ValueError("a packet is cut short")
                    continue  # FFmpeg would invent the missing samples
                if packet.stream.type in ("audio", "video"):
                    self._record_damage(packet)
                if packet.stream.index == self.stream.index:  # stream_index is 0 on the packet that flushes
                    yield packet
        except FFmpegError as error:
            _check_machine(error)
            self.fault = error

    def _record_damage(self, packet: Packet[Stream]) -> None:
        at = packet.pts if packet.pts is not None else packet.dts
        if at is not None:
            end = at + (packet.duration or 0)
            self._ends[packet.stream_index] = max(end, self._ends.get(packet.stream_index, end))

    def _reached_seconds(self) -> Fraction:
        """Return the time in seconds of the last packet of any stream."""
        streams = self.container.streams
        ends = [end * (streams[index].time_base or 0) for index, end in self._ends.items()]
        return max(ends, default=Fraction(0)) - self.origin

    def decode(self, packet: Packet[Stream]) -> list[Any] | None:
        """Return the frames of a packet; None where it is damaged."""
        try:
            frames = packet.decode()
        except FFmpegError as error:
            _check_machine(error)
            self.fault, self._holes = error, self._holes + 1
            return None
        if frames:
            self.decoded = True
            if packet.size:  # a good packet after a damaged one: that one was a hole, not the end
                self.fault = None
        return frames

    def frames(self) -> Iterator[Any]:
        """Yield all frames of the stream, in order."""
        for packet in self.packets():
            yield from self.decode(packet) or ()

    def follows(self, at: Fraction, before: Fraction) -> bool:
        """Return whether a time can follow another. A clock that leaps is a fault; nothing is delivered after it."""
        if -MAX_BACK <= at - before <= MAX_JUMP:
            return True
        self.fault = ValueError(f"the clock leaps from {float(before):.1f} s to {float(at):.1f} s")
        return False

    def finish(self, done: Fraction) -> None:
        """Raise what was wrong with the stream, after `done` seconds of it were delivered.

        Raises:
            DecodeError: nothing could be decoded.
            TruncatedMedia: the end could not be decoded, or there is less than the header states.
        """
        if not self.decoded:
            what = (
                f"damaged {self.format}: {_strip_errno(self.fault)}"
                if self.fault
                else f"{self.format} that holds no frame"
            )
            raise DecodeError(f"{name_of(self.source)}: {what}")
        duration = self.promised_seconds
        if self.fault is not None or self._reached_seconds() + _SLACK < duration:
            reason = _strip_errno(self.fault) if self.fault else "the file ends there"
            total = f" of {float(duration):.1f} s" if duration else ""
            raise TruncatedMedia(f"{name_of(self.source)}: {float(done):.1f} s{total} decoded: {reason}")
        if self._holes:
            _log.warning("%s: %d damaged packets were skipped", name_of(self.source), self._holes)


def check_clock(track: Track, stream: Stream, limit: SecondsLimit) -> None:
    """Refuse a source whose packets last longer than is allowed, before any of them is decoded.

    The packets are read only where the header states too long a duration. A clock that leaps once makes such a header,
    and then the part before the leap is good and is decoded.

    Raises:
        MediaTooLarge: the packets last too long.
    """
    if not limit.is_over(float(track.promised_seconds)):
        return
    with open_container(track.source, track.format) as container:
        again = Track(container, container.streams[stream.index], track.source, track.format)
        base, before = stream.time_base or Fraction(1), None
        for packet in again.packets():
            if packet.dts is None:
                continue
            at = packet.dts * base - again.origin
            if before is not None and not again.follows(at, before):
                return
            if limit.is_over(float(at)):
                limit.check(float(track.promised_seconds))
            before = at
