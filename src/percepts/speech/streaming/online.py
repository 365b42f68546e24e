"""Transcribe a live stream with a model that can only transcribe finished audio: committed and partial words."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...support.deprecated import OldArgument, accept_old_fields
from ...types import Clip, Segment
from ...windows.contiguous import strip_padding
from ..blocks import check_mono, check_next
from .local_agreement import SENTENCE_ENDS, LocalAgreement, exact_key

log = logging.getLogger(__name__)

Transcriber = Callable[[Clip, str], Sequence[Segment]]
"""Transcribes a piece of audio, given the text before it, to segments with words on the clock of the clip.

The function itself leaves out segments that the model does not believe to be speech.
"""
PROMPT_CHARACTERS = 200  # of text before the audio, complete words; whisper_streaming takes as many
KEPT_S = 20.0  # seconds that stay where audio has to be dropped
FORCE_COMMIT_S = 10.0  # a partial word older than this is committed rather than dropped with its audio


@accept_old_fields(
    chunk=OldArgument("chunk_s"),
    trim=OldArgument("trim_s"),
    most=OldArgument("max_buffer_s"),
    by=OldArgument("trim_on"),
)
@dataclass(frozen=True, slots=True)
class StreamingConfig:
    """How often live audio is transcribed again, and how much of it is kept.

    chunk_s       seconds of new audio before the next pass
    trim_s        seconds of audio beyond which the buffer is cut where all words are committed
    max_buffer_s  seconds of audio beyond which the buffer is cut anywhere: memory and time of a pass are bounded
    passes        number of passes that must agree on a word before it is committed
    trim_on       the buffer is cut after a "segment" of the model, or after a "sentence" by its punctuation
    key           what of a word must agree; see `percepts.speech.streaming.local_agreement`
    """

    chunk_s: float = 1.0
    trim_s: float = 15.0
    max_buffer_s: float = 28.0
    passes: int = 2
    trim_on: Literal["segment", "sentence"] = "segment"
    key: Callable[[str], str] = exact_key

    def __post_init__(self) -> None:
        if self.trim_on not in ("segment", "sentence"):
            raise ValueError(f"expected trim_on to be segment or sentence, got {self.trim_on!r}")
        if not (self.chunk_s > 0 and 0 < self.trim_s <= self.max_buffer_s and self.max_buffer_s >= KEPT_S):
            raise ValueError(
                f"expected chunk_s > 0, 0 < trim_s <= max_buffer_s and max_buffer_s >= {KEPT_S:g}, got {self}"
            )


@dataclass(frozen=True, slots=True)
class StreamUpdate:
    """Words that stay, words that may change (in place of those before), and seconds of audio dropped by one pass."""

    committed: tuple[Segment, ...]
    partial: tuple[Segment, ...]
    lost: float = 0.0


class StreamingTranscriber:
    """Transcribes one stream: push its blocks and get updates; call `finish` at its end, or where speech ends.

    The audio since the last cut is transcribed again and again, and the words on which the passes agree are committed.
    After `finish` the next block may begin anywhere later.

    Raises ValueError for blocks of several channels, of another rate, or that leave a gap.
    """

    def __init__(self, transcribe: Transcriber, config: StreamingConfig | None = None) -> None:
        self._transcribe, self._config = transcribe, config or StreamingConfig()
        self._blocks: list[np.ndarray] = []
        self._first: Clip | None = None
        self._begin = self._end = self._pass_end = (
            0  # samples: bounds of the buffer, and end of the audio that a pass has seen
        )
        self._agreement = LocalAgreement(self._config.passes, key=self._config.key)
        self._past_words: list[Segment] = []  # committed words whose audio is gone: the prompt

    @property
    def seconds(self) -> float:
        """Seconds of audio in the buffer."""
        return (self._end - self._begin) / self._rate

    def push(self, block: Clip) -> StreamUpdate | None:
        """Append a block; return the update of a pass if there is enough new audio for one, else None."""
        self._append_block(strip_padding(block))
        if self._end - self._pass_end < self._config.chunk_s * self._rate:
            return None
        return self._run_pass()

    def finish(self) -> StreamUpdate:
        """Run a last pass over audio that no pass has seen, commit all words, and empty the buffer."""
        update = self._run_pass() if self._end > self._pass_end else StreamUpdate((), ())
        rest = self._agreement.finish()
        self._remember_words(self._agreement.forget_before(math.inf))
        self._blocks, self._first = [], None
        self._begin = self._pass_end = self._end
        return StreamUpdate((*update.committed, *rest), (), update.lost)

    @property
    def _rate(self) -> float:
        return self._first.rate if self._first else 1.0

    def _to_seconds(self, sample: int) -> float:
        """Return the time of a sample, which is counted from the first block since the last `finish`."""
        return (self._first.start if self._first else 0.0) + sample / self._rate

    def _append_block(self, block: Clip) -> None:
        """Check a block and add it to the buffer; reset the times where the buffer was emptied."""
        check_mono(block)
        if self._first is None:
            self._first, self._begin, self._end, self._pass_end = block, 0, 0, 0
            last_end = self._agreement.committed_until
            self._agreement = LocalAgreement(
                self._config.passes, start=max(last_end, block.start), key=self._config.key
            )
        check_next(block, self._to_seconds(self._end), self._rate)
        self._blocks.append(block.data[0])
        self._end += block.length

    def _run_pass(self) -> StreamUpdate:
        """Transcribe the buffer, commit the words that are agreed on, and shorten the buffer."""
        sound = np.concatenate(self._blocks)
        self._blocks, self._pass_end = [sound], self._end
        source = self._first.source if self._first else ""
        clip = Clip(sound[None], "audio", self._rate, self._to_seconds(self._begin), source)
        segments = self._transcribe(clip, self._build_prompt())
        committed = self._agreement.push([word for segment in segments for word in segment.words])
        forced, lost = self._trim_buffer([segment.stop for segment in segments])
        return StreamUpdate((*committed, *forced), self._agreement.partial, lost)

    def _build_prompt(self) -> str:
        """Return the last committed words whose audio is gone, PROMPT_CHARACTERS or more if there are enough."""
        words: list[str] = []
        size = 0
        for word in reversed(self._past_words):
            if size >= PROMPT_CHARACTERS:
                break
            words.append(word.text.strip())
            size += len(words[-1]) + 1
        return " ".join(reversed(words))

    def _trim_buffer(self, stops: list[float]) -> tuple[list[Segment], float]:
        """Shorten a buffer that is too long; return the words committed and the seconds of audio dropped for it."""
        config, until = self._config, self._agreement.committed_until
        if self.seconds > config.trim_s:
            # The last segment or sentence may go on. Of the others, take the last that ends in committed words.
            if config.trim_on == "sentence":
                cut_points = [
                    word.stop
                    for word in self._agreement.buffered_words[:-1]
                    if word.text.rstrip().endswith(SENTENCE_ENDS)
                ]
            else:
                cut_points = [stop for stop in stops[:-1] if stop <= until]
            if cut_points:
                self._cut_before(cut_points[-1])
        if self.seconds <= config.max_buffer_s:
            return [], 0.0
        # Committed words can be cut without loss.
        if until > self._to_seconds(self._begin) + 1:
            self._cut_before(until)
            return [], self._drop_oldest()
        forced = self._agreement.force_commit(self._to_seconds(self._end) - FORCE_COMMIT_S)
        if forced:
            self._cut_before(self._agreement.committed_until)
        return forced, self._drop_oldest()

    def _drop_oldest(self) -> float:
        """Drop the oldest audio if there still is too much of it, and return how many seconds were dropped."""
        if self.seconds <= self._config.max_buffer_s:
            return 0.0
        before = self.seconds
        self._cut_before(self._to_seconds(self._end) - KEPT_S)
        log.warning("dropped %.1f s of audio: the passes over it did not agree", before - self.seconds)
        return before - self.seconds

    def _cut_before(self, at: float) -> None:
        """Drop the audio before a time in seconds."""
        start = self._first.start if self._first else 0.0
        sample = min(max(round((at - start) * self._rate), self._begin), self._end)
        self._blocks = [np.concatenate(self._blocks)[sample - self._begin :]]
        self._begin = sample
        self._remember_words(self._agreement.forget_before(at))

    def _remember_words(self, words: Sequence[Segment]) -> None:
        """Keep committed words for the prompt: PROMPT_CHARACTERS of them, more than are needed."""
        self._past_words = [*self._past_words, *words][-PROMPT_CHARACTERS:]
