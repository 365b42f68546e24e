"""Pass only the speech of a stream to the streaming transcriber, as a voice activity detector finds it."""

from __future__ import annotations

from collections.abc import Iterator

from ...types import Clip
from ...windows.contiguous import strip_padding
from ...windows.gate import TALK, SpeechGate
from ...windows.speech import Detector, Listener, SampleBuffer, SpeechRules
from ..blocks import check_mono, check_next
from .online import StreamingTranscriber, StreamUpdate

KEPT_S = 1.0  # seconds of silence that are kept, so that speech can begin with its pad


class VadGatedTranscriber:
    """Transcribes one stream: push its blocks and get updates; call `finish` at its end.

    A voice activity detector tells, frame by frame, where speech begins and ends. From a beginning on, the audio goes
    to `online`; at an end all its words are committed, so that nobody waits for words that will not come. Audio after
    which speech may have ended is held back until that is known. While nobody speaks, one second of audio is kept.

    Raises ValueError for blocks of several channels, of another rate, that leave a gap, or of a rate that the detector
    does not support.
    """

    def __init__(self, online: StreamingTranscriber, detector: Detector, rules: SpeechRules = TALK) -> None:
        self._online, self._detector, self._rules = online, detector, rules
        self._first: Clip | None = None
        self._buffer = SampleBuffer()
        self._judged_until = self._fed_until = (
            0  # samples that the detector has judged; samples passed on or skipped for good
        )

    @property
    def seconds(self) -> float:
        """Seconds of audio in the buffers."""
        kept = (self._buffer.end - self._buffer.begin) / self._first.rate if self._first else 0.0
        return kept + self._online.seconds

    def push(self, block: Clip) -> list[StreamUpdate]:
        """Append a block and return the updates of all passes that it caused, in order."""
        block = strip_padding(block)
        self._append_block(block)
        frame = self._listener.frame
        # The detector takes complete frames; the rest waits for the next block.
        whole = (self._buffer.end - self._judged_until) // frame * frame
        if not whole:
            return []
        frames = self._buffer.read(self._judged_until, self._judged_until + whole).reshape(-1, frame)
        self._judged_until += whole
        updates = [update for likely in self._listener(frames).tolist() for update in self._handle_frame(likely)]
        if self._gate.open:
            # Certain speech is passed on before it ends; the rest may be the silence that ends it.
            updates += self._feed_until(self._gate.certain_until)
        else:
            self._fed_until = max(self._fed_until, self._judged_until - round(KEPT_S * block.rate))
        self._buffer.forget(self._fed_until)
        return updates

    def finish(self) -> list[StreamUpdate]:
        """End the stream: transcribe the audio that was held back and commit all words."""
        updates = list(self._feed_until(self._buffer.end)) if self._first and self._gate.open else []
        self._first, self._buffer, self._judged_until, self._fed_until = None, SampleBuffer(), 0, 0
        return [*updates, self._online.finish()]

    def _append_block(self, block: Clip) -> None:
        """Check a block and add it to the buffer; prepare the detector at the first one."""
        if self._first is None:
            check_mono(block)
            self._listener: Listener = self._detector.listen(block.rate)
            self._gate = SpeechGate(self._rules, block.rate, self._listener.frame)
            self._first = block
        check_next(block, self._first.start + self._buffer.end / self._first.rate, self._first.rate)
        self._buffer.append(block.data[0])

    def _handle_frame(self, likely: float) -> Iterator[StreamUpdate]:
        """Yield the updates that a frame causes: none but at the beginning and the end of speech."""
        edge = self._gate.push(likely)
        if edge is None:
            return
        if edge.begins:
            self._fed_until = max(self._fed_until, edge.at)
        else:
            yield from self._feed_until(edge.at)
            yield self._online.finish()

    def _feed_until(self, stop: int) -> Iterator[StreamUpdate]:
        """Pass the speech up to a sample to the streaming transcriber and yield its update, if there is one."""
        first = self._first
        if first is None or stop <= self._fed_until:
            return
        data = self._buffer.read(self._fed_until, stop)[None]
        clip = Clip(data, "audio", first.rate, first.start + self._fed_until / first.rate, first.source)
        self._fed_until = stop
        if update := self._online.push(clip):
            yield update
