"""Decode a video into the frames shown at each k / fps seconds, by presentation time and not by frame count."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import cast

import numpy as np
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from ..errors import NotMedia
from ..types import Clip
from .container import MAX_JUMP, Track, check_clock, find_video_stream, open_container
from .limits import SecondsLimit
from .probe import CONTAINERS, sniff_format
from .source import Source, name_of, source_path

# Seconds for which the first frame is also shown before its time: audio and video seldom begin at the same instant.
_LEAD = Fraction(1, 2)
# Containers with an index that makes seeking exact and cheap. In others every packet is read, though few are decoded.
_INDEXED = frozenset({"mp4", "m4a", "mov", "mkv", "webm"})
# Compressed bytes that may wait until it is known whether they must be decoded.
_WAITING = 2**26


def stream_frames(source: Source, *, fps: float, at_least: int | None = None) -> Iterator[Clip]:
    """Yield the frames of a video at a steady rate: clips (1, H, W, 3) uint8, the k-th at exactly k / fps seconds.

    Each is the latest frame whose presentation time is at or before k / fps, on the clock that audio and video of the
    file share. So any rate works on any video, also of variable frame rate. The first frame is also used for the half
    second before it. Frames are turned upright and their pixels made square. Only the frames used are converted, and
    groups of pictures (GOPs) without any are not even decoded.

    Args:
        source: path or bytes.
        fps: frames per second of the video to yield.
        at_least: the shortest side, in pixels, that the caller needs. Larger frames are scaled down to it. None: keep.

    Raises, at the first frame:
        FileNotFoundError, PermissionError, IsADirectoryError: as `open` would.
        NotMedia: there is no video in it.
        DecodeError: no frame can be decoded.
        MediaTooLarge: it lasts longer than `limit_seconds` allows, 48 hours by default and less for a small file; where
            only decoding tells, it is raised at the first frame beyond.
    Raises, after the last frame that is good:
        TruncatedMedia: the rest cannot be decoded, or the header promises more than there is.
    """
    if not (fps > 0 and math.isfinite(fps)):
        raise ValueError(f"expected more than 0 frames per second, got {fps}")
    format = sniff_format(source)
    if format not in CONTAINERS and format != "mpegvideo":
        raise NotMedia(f"{name_of(source)}: is {format}, which has no video")
    with open_container(source, format) as container:
        stream = find_video_stream(container)
        if stream is None:
            raise NotMedia(f"{name_of(source)}: is {format} and has no video stream")
        limit, track = SecondsLimit.of(source), Track(container, stream, source, format)
        check_clock(track, stream, limit)
        for index, rgb in _pick_frames(_FrameReader(track, stream), fps, at_least):
            limit.check(index / fps)
            yield Clip(rgb, "video", float(fps), index / fps, source_path(source))


def _pick_frames(reader: _FrameReader, fps: float, at_least: int | None) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the index k of each instant k / fps with the frame shown at it, as RGB. Damage is raised at the end."""
    index, end = 0, reader.ticks(Fraction(0))
    frame: VideoFrame | None = None
    rgb: np.ndarray | None = None
    before = 0
    for following, at in reader.frames():
        if frame is not None and not reader.is_clock_sane(before, at):
            break
        before = at
        if frame is None:
            index = max(0, math.ceil((reader.seconds(at) - _LEAD) * Fraction(fps)))
            reader.aim = reader.ticks(index / Fraction(fps))
        else:
            while reader.aim < at:
                rgb = _frame_to_rgb(frame, reader.wide, at_least) if rgb is None else rgb
                yield index, rgb
                index += 1
                reader.aim = reader.ticks(index / Fraction(fps))
        frame, rgb, end = following, None, at + reader.frame_ticks(following)
    while frame is not None and reader.aim < end:
        rgb = _frame_to_rgb(frame, reader.wide, at_least) if rgb is None else rgb
        yield index, rgb
        index += 1
        reader.aim = reader.ticks(index / Fraction(fps))
    reader.track.finish(reader.seconds(end))


class _InexactSeek(Exception):
    """Decoding from a key frame gave less than decoding from the beginning would have."""


class _FrameReader:
    """Frames of a video with their times in ticks. Frames that no instant from `aim` on shows may be left out.

    They are left out by groups of pictures: when a key frame at or before `aim` arrives, nothing before it is needed,
    and the waiting packets are dropped undecoded. Where the container has an index, far groups are skipped unread.
    The frames are equal to the bit to those that decoding everything would give: where a key frame turns out not to be
    one (a gradual refresh, damage), everything is decoded from then on.
    """

    def __init__(self, track: Track, stream: VideoStream) -> None:
        self.track, self._stream = track, stream
        self.wide = self._stream.sample_aspect_ratio or Fraction(1)
        self._base = self._stream.time_base or Fraction(1, 90000)
        rates = (self._stream.average_rate, self._stream.guessed_rate)
        rate = next((rate for rate in rates if rate and 1 / rate <= MAX_JUMP), Fraction(25))
        self._length = max(1, round(1 / rate / self._base))
        # Times that were rounded to ticks of a millisecond or less may be half a tick late; coarser ticks are exact.
        self._tolerance = Fraction(1, 10**6) + (self._base / 2 if self._base <= Fraction(1, 1000) else 0)
        self.aim = self.ticks(Fraction(0))
        # AVI has time stamps in decoding order only; the n-th frame out is shown at the n-th of them.
        self._stamps: deque[int] | None = deque() if track.format == "avi" else None
        self._skips = self._stamps is None
        self._delivered: int | None = None  # time of the last frame
        self._key: int | None = None  # time of the key frame where decoding began again, until a frame comes out
        self._jumped: int | None = None  # aim of the last seek: a second seek for it would land at the same place
        self._landing = False  # after a seek, until its key frame arrives
        self._last_key: int | None = None
        self._spacing = 0  # longest distance between key frames so far

    def ticks(self, seconds: Fraction) -> int:
        """Return the latest time stamp that counts as at or before `seconds` from the beginning of the video."""
        return math.floor((seconds + self.track.origin + self._tolerance) / self._base)

    def seconds(self, ticks: int) -> Fraction:
        """Return the seconds of a time stamp from the beginning of the video."""
        return ticks * self._base - self.track.origin

    def frame_ticks(self, frame: VideoFrame) -> int:
        """Return the ticks for which a frame is shown; the usual duration where the file states an absurd one."""
        length = frame.duration or self._length
        return length if length * self._base <= MAX_JUMP else self._length

    def frames(self) -> Iterator[tuple[VideoFrame, int]]:
        """Yield frames in order of presentation, with their time stamps."""
        try:
            yield from self._frames()
        except _InexactSeek:
            self._rewind()
            yield from self._frames()

    def _frames(self) -> Iterator[tuple[VideoFrame, int]]:
        waiting: deque[Packet[Stream]] = deque()
        size, sent = 0, None
        for packet in self.track.packets():
            if packet.is_keyframe and packet.pts is not None and self._restart_at_key(packet.pts, bool(waiting)):
                waiting.clear()
                size = 0
            if packet.dts is not None and not self.is_clock_sane(sent, packet.dts):
                return
            sent = packet.dts
            waiting.append(packet)
            size += packet.size
            while waiting and (sent is None or sent > self.aim or size > _WAITING or not packet.size):
                size -= waiting[0].size
                yield from self._decode(waiting.popleft())
            if self._is_far(sent):
                self._seek(self.aim)
                waiting.clear()
                size, sent = 0, None
        if self._landing:
            raise _InexactSeek

    def _restart_at_key(self, at: int, is_waiting: bool) -> bool:
        """Reset the decoder for the key frame at time `at` if nothing before it is needed; return whether it was."""
        if self._last_key is not None:
            self._spacing = max(self._spacing, at - self._last_key)
        self._last_key = at
        if self._landing and at > self.aim:
            raise _InexactSeek
        if not self._skips or at > self.aim or not (is_waiting or self._landing):
            return False
        self._stream.codec_context.flush_buffers()
        self._key, self._landing = at, False
        return True

    def is_clock_sane(self, before: int | None, at: int) -> bool:
        """Return whether a time stamp can follow another."""
        return before is None or self.track.follows(self.seconds(at), self.seconds(before))

    def _is_far(self, sent: int | None) -> bool:
        """Return whether a seek saves reading: `aim` is more than two groups of pictures and two seconds ahead."""
        if not self._skips or sent is None or not self._spacing or self.track.format not in _INDEXED:
            return False
        if self._jumped == self.aim:
            return False
        return self.aim - sent > max(2 * self._spacing, int(2 / self._base))

    def _seek(self, at: int) -> None:
        self._jumped = at
        self.track.container.seek(at, stream=self._stream)
        self._last_key = self._key = None
        self._landing = True

    def _rewind(self) -> None:
        try:
            self.track.container.seek(0)  # the only seek that brings MPEG-TS to its first packet
        except FFmpegError:  # FLV and AVI refuse to seek before their first key frame
            self.track.container.seek(self._stream.start_time or 0, stream=self._stream)
        self._skips = self._landing = False
        self._last_key = self._key = None

    def _decode(self, packet: Packet[Stream]) -> Iterator[tuple[VideoFrame, int]]:
        if self._stamps is not None and packet.dts is not None:
            self._stamps.append(packet.dts)
        frames = self.track.decode(packet)
        if frames is None and self._stamps:
            self._stamps.pop()
        for frame in frames or ():
            at = self._frame_time(frame)
            if self._key is not None and at > self._key:
                raise _InexactSeek
            self._key = None
            if self._delivered is None or at > self._delivered:
                self._delivered = at
                yield frame, at

    def _frame_time(self, frame: VideoFrame) -> int:
        at = frame.pts
        if self._stamps is not None:
            at = self._stamps.popleft() if self._stamps else None
        if at is None:
            at = 0 if self._delivered is None else self._delivered + self._length
        # a stream without a container has no start time, so its clock begins with its first frame
        if self._delivered is None and self._stream.start_time is None:
            self.track.origin = at * self._base
        return at


def _frame_to_rgb(frame: VideoFrame, wide: Fraction, at_least: int | None) -> np.ndarray:
    """Convert a frame to RGB (1, H, W, 3), upright, with square pixels, its shortest side scaled down to `at_least`."""
    width, height = _display_size(frame, wide, at_least)
    rgb = frame.reformat(width, height, "rgb24", interpolation=Interpolation.AREA).to_ndarray()
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is not None:
        # x' = a x + c y, y' = b x + d y, of which a and d, or b and c, are zero: ISO 14496-12, 6.2.2.
        a, b, _, c, d = np.frombuffer(cast(bytes, matrix), np.int32)[:5]
        if b and c:
            rgb, a, d = rgb.swapaxes(0, 1), c, b
        rgb = rgb[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(rgb)[None]


def _display_size(frame: VideoFrame, wide: Fraction, at_least: int | None) -> tuple[int, int]:
    """Return the width and height to convert a frame to; `wide` is the width of a pixel divided by its height."""
    width, height = max(1, round(frame.width * wide)), frame.height
    short = min(width, height)
    if at_least is None or short <= at_least:
        return width, height
    return max(at_least, round(width * at_least / short)), max(at_least, round(height * at_least / short))
