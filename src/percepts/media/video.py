"""A film to its pictures: the frame shown at each k / fps, by presentation time, never by frame count."""

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

# Seconds before the first picture at which it is shown already: sound and picture seldom begin in the same millisecond.
_LEAD = Fraction(1, 2)
# Containers whose own index makes a jump exact and cheap; elsewhere every packet is read, and few are decoded.
_INDEXED = frozenset({"mp4", "m4a", "mov", "mkv", "webm"})
# Compressed bytes that may wait until it is known whether they have to be decoded.
_WAITING = 2**26


def stream_frames(source: Source, *, fps: float, at_least: int | None = None) -> Iterator[Clip]:
    """The pictures of a film at a steady rate: clips (1, H, W, 3) uint8, the k-th at exactly k / fps seconds.

    Each is the latest frame whose presentation time is at or before k / fps, on the clock that sound and pictures of
    the file share; so any rate works on any film, also of variable frame rate. The first frame also stands for the half
    second before it. Turned upright, pixels made square. Only the frames shown are converted, and groups of
    pictures in which none is shown are not even decoded.

    Args:
        source: path or bytes.
        fps: frames per second of film.
        at_least: the shortest side, in pixels, that the caller needs; larger films are scaled down to it. None: as is.

    Raises, at the first frame:
        FileNotFoundError, PermissionError, IsADirectoryError: as `open` would.
        NotMedia: no moving pictures in it.
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
        raise NotMedia(f"{name_of(source)}: is {format}, which has no moving pictures")
    with open_container(source, format) as container:
        stream = find_video_stream(container)
        if stream is None:
            raise NotMedia(f"{name_of(source)}: {format} that has no moving pictures")
        limit, track = SecondsLimit.of(source), Track(container, stream, source, format)
        check_clock(track, stream, limit)
        for index, picture in _pick_frames(_FrameReader(track, stream), fps, at_least):
            limit.check(index / fps)
            yield Clip(picture, "video", float(fps), index / fps, source_path(source))


def _pick_frames(reel: _FrameReader, fps: float, at_least: int | None) -> Iterator[tuple[int, np.ndarray]]:
    """The index of each instant with the picture shown at it; damage is reported at the end."""
    index, end = 0, reel.ticks(Fraction(0))
    frame: VideoFrame | None = None
    picture: np.ndarray | None = None
    before = 0
    for following, at in reel.frames():
        if frame is not None and not reel.is_clock_sane(before, at):
            break
        before = at
        if frame is None:
            index = max(0, math.ceil((reel.seconds(at) - _LEAD) * Fraction(fps)))
            reel.aim = reel.ticks(index / Fraction(fps))
        else:
            while reel.aim < at:
                picture = _frame_to_rgb(frame, reel.wide, at_least) if picture is None else picture
                yield index, picture
                index += 1
                reel.aim = reel.ticks(index / Fraction(fps))
        frame, picture, end = following, None, at + reel.frame_ticks(following)
    while frame is not None and reel.aim < end:
        picture = _frame_to_rgb(frame, reel.wide, at_least) if picture is None else picture
        yield index, picture
        index += 1
        reel.aim = reel.ticks(index / Fraction(fps))
    reel.track.finish(reel.seconds(end))


class _InexactSeek(Exception):
    """Decoding from a key frame gave less than decoding from the beginning would have."""


class _FrameReader:
    """Frames of a film with their times in ticks; those that are shown at no instant from `aim` on may be left out.

    They are left out by whole groups of pictures: when a key frame at or before `aim` arrives, nothing before it is
    needed, and the packets that wait are dropped undecoded; where the container has an index, far groups are jumped
    over unread. What is delivered is what decoding everything would have delivered, to the bit: a key frame that does
    not keep its promise (a gradual refresh, a damaged one) makes it decode everything from then on.
    """

    def __init__(self, track: Track, stream: VideoStream) -> None:
        self.track, self._stream = track, stream
        self.wide = self._stream.sample_aspect_ratio or Fraction(1)
        self._base = self._stream.time_base or Fraction(1, 90000)
        rates = (self._stream.average_rate, self._stream.guessed_rate)
        rate = next((rate for rate in rates if rate and 1 / rate <= MAX_JUMP), Fraction(25))
        self._length = max(1, round(1 / rate / self._base))
        # Time stamps rounded to a millisecond or finer may lie half a tick behind the truth; coarser ticks are a grid.
        self._tolerance = Fraction(1, 10**6) + (self._base / 2 if self._base <= Fraction(1, 1000) else 0)
        self.aim = self.ticks(Fraction(0))
        # AVI stamps the order of decoding only; the n-th frame out is shown at the n-th of those stamps.
        self._stamps: deque[int] | None = deque() if track.format == "avi" else None
        self._skips = self._stamps is None
        self._delivered: int | None = None  # time of the last frame
        self._key: int | None = None  # time of the key frame that decoding went on from, until a frame is out
        self._jumped: int | None = None  # the aim of the last jump: a second one for it would land where the first did
        self._landing = False  # after a jump, until the key frame that it led to
        self._last_key: int | None = None
        self._spacing = 0  # the longest way between key frames so far

    def ticks(self, seconds: Fraction) -> int:
        """The latest time stamp that counts as no later than `seconds` from the beginning of the film."""
        return math.floor((seconds + self.track.origin + self._tolerance) / self._base)

    def seconds(self, ticks: int) -> Fraction:
        """Seconds from the beginning of the film."""
        return ticks * self._base - self.track.origin

    def frame_ticks(self, frame: VideoFrame) -> int:
        """Ticks that a frame is shown, as far as the file says; a damaged one may say years."""
        length = frame.duration or self._length
        return length if length * self._base <= MAX_JUMP else self._length

    def frames(self) -> Iterator[tuple[VideoFrame, int]]:
        """Frames in order of presentation, with their time stamps."""
        try:
            yield from self._frames()
        except _InexactSeek:
            self._rewind()
            yield from self._frames()

    def _frames(self) -> Iterator[tuple[VideoFrame, int]]:
        waiting: deque[Packet[Stream]] = deque()
        size, sent = 0, None
        for packet in self.track.packets():
            if packet.is_keyframe and packet.pts is not None and self._should_seek(packet.pts, bool(waiting)):
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

    def _should_seek(self, at: int, is_waiting: bool) -> bool:
        """Whether to begin anew at the key frame of time `at`, and to forget what waits."""
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
        """Whether a time stamp can follow another."""
        return before is None or self.track.follows(self.seconds(at), self.seconds(before))

    def _is_far(self, sent: int | None) -> bool:
        """Whether a jump saves reading: `aim` is more than two groups of pictures and two seconds ahead."""
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
            self.track.container.seek(0)  # MPEG-TS comes to its first packet by this way only
        except FFmpegError:  # FLV and AVI have nothing before the first key frame to go back to
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
        if self._delivered is None and self._stream.start_time is None:  # a bare stream begins with its first frame
            self.track.origin = at * self._base
        return at


def _frame_to_rgb(frame: VideoFrame, wide: Fraction, at_least: int | None) -> np.ndarray:
    """RGB (1, H, W, 3), upright, with square pixels, its shortest side scaled down to `at_least`."""
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
    """Width and height to convert a frame to; `wide` is the width of a pixel by its height."""
    width, height = max(1, round(frame.width * wide)), frame.height
    short = min(width, height)
    if at_least is None or short <= at_least:
        return width, height
    return max(at_least, round(width * at_least / short)), max(at_least, round(height * at_least / short))
