"""A stream of sound in, committed and partial words out, from a model that can only transcribe a stretch as a whole."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...types import Clip, Segment
from ...windows.contiguous import strip_padding
from .local_agreement import SENTENCE_ENDS, LocalAgreement, exact_key

log = logging.getLogger(__name__)

Transcriber = Callable[[Clip, str], Sequence[Segment]]
"""A stretch of sound and the text before it, to segments with words, on the clock of the clip (`clip.start` counts).

Segments that are no speech, by the model's own measure, are left out by it.
"""
PROMPT_CHARACTERS = 200  # characters of text before the sound, whole words
KEPT_S = 20.0  # seconds that stay where sound has to be dropped
FORCE_COMMIT_S = 10.0  # seconds after which a word that was heard is committed rather than dropped with its sound


@dataclass(frozen=True, slots=True)
class StreamingConfig:
    """How long is waited, and how much is remembered. Seconds.

    chunk   of new sound before the next pass
    trim    of sound, from which on it is cut where all that was said is committed
    most    of sound, beyond which it is cut wherever it does the least harm: memory and time of a pass stay bounded
    passes  hypotheses that must agree
    by      what is cut after: a "segment" of the model, or a "sentence" by its punctuation
    key     what of a word must agree; see `percepts.speech.streaming.local_agreement`
    """

    chunk_s: float = 1.0
    trim_s: float = 15.0
    max_buffer_s: float = 28.0
    passes: int = 2
    trim_on: Literal["segment", "sentence"] = "segment"
    key: Callable[[str], str] = exact_key

    def __post_init__(self) -> None:
        if self.trim_on not in ("segment", "sentence"):
            raise ValueError(f"expected to cut by segment or sentence, got {self.trim_on!r}")
        if not (self.chunk_s > 0 and 0 < self.trim_s <= self.max_buffer_s and self.max_buffer_s >= KEPT_S):
            raise ValueError(f"expected chunk > 0 and 0 < trim <= most, most at least {KEPT_S:g} s, got {self}")


@dataclass(frozen=True, slots=True)
class StreamUpdate:
    """What a pass says: words that stay, words that may change (instead of those before), seconds that were lost."""

    committed: tuple[Segment, ...]
    partial: tuple[Segment, ...]
    lost: float = 0.0


class StreamingTranscriber:
    """One stream: push its blocks, get updates; `finish` at its end, or wherever somebody stops speaking.

    The sound since the last cut is transcribed again and again, and what the passes agree on is committed. After
    `finish` the next block may begin anywhere later.

    Raises ValueError for blocks of several channels, of another rate, or that leave a gap.
    """

    def __init__(self, transcribe: Transcriber, patience: StreamingConfig | None = None) -> None:
        self._transcribe, self._config = transcribe, patience or StreamingConfig()
        self._blocks: list[np.ndarray] = []
        self._first: Clip | None = None
        self._begin = self._end = self._pass_end = 0  # samples: of the sound kept, and up to the last pass
        self._agreement = LocalAgreement(self._config.passes, key=self._config.key)
        self._past_words: list[Segment] = []  # committed words whose sound is gone: the prompt

    @property
    def seconds(self) -> float:
        """Of sound that is kept."""
        return (self._end - self._begin) / self._rate

    def push(self, block: Clip) -> StreamUpdate | None:
        """Take in a block; what the pass says, if there was enough new sound for one."""
        self._append_block(strip_padding(block))
        if self._end - self._pass_end < self._config.chunk_s * self._rate:
            return None
        return self._run_pass()

    def finish(self) -> StreamUpdate:
        """No more sound belongs to this: one more pass over what came since the last, and all words are committed."""
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
        """Seconds of a sample, counted from the first block since the last `finish`."""
        return (self._first.start if self._first else 0.0) + sample / self._rate

    def _append_block(self, block: Clip) -> None:
        if block.kind != "audio" or len(block.data) != 1:
            raise ValueError(f"expected sound of one channel, got {block}: mix it down first")
        if self._first is None:
            self._first, self._begin, self._end, self._pass_end = block, 0, 0, 0
            scrolled = self._agreement.committed_until
            self._agreement = LocalAgreement(
                self._config.passes, start=max(scrolled, block.start), key=self._config.key
            )
        due = self._to_seconds(self._end)
        if block.rate != self._rate or abs(block.start - due) * block.rate > 0.5:
            raise ValueError(f"expected the next block at {due:.6f} s and {self._rate:g} Hz, got {block}")
        self._blocks.append(block.data[0])
        self._end += block.length

    def _run_pass(self) -> StreamUpdate:
        sound = np.concatenate(self._blocks)
        self._blocks, self._pass_end = [sound], self._end
        source = self._first.source if self._first else ""
        clip = Clip(sound[None], "audio", self._rate, self._to_seconds(self._begin), source)
        segments = self._transcribe(clip, self._build_prompt())
        committed = self._agreement.push([word for segment in segments for word in segment.words])
        forced, lost = self._trim_buffer([segment.stop for segment in segments])
        return StreamUpdate((*committed, *forced), self._agreement.partial, lost)

    def _build_prompt(self) -> str:
        words: list[str] = []
        size = 0
        for word in reversed(self._past_words):
            if size >= PROMPT_CHARACTERS:
                break
            words.append(word.text.strip())
            size += len(words[-1]) + 1
        return " ".join(reversed(words))

    def _trim_buffer(self, stops: list[float]) -> tuple[list[Segment], float]:
        """Cut the sound where it has become too long: words committed for it, seconds lost with it."""
        patience, until = self._config, self._agreement.committed_until
        if self.seconds > patience.trim_s:
            # The last segment or sentence may go on; of the others, the last that ends in committed words.
            if patience.trim_on == "sentence":
                said = [
                    word.stop
                    for word in self._agreement.buffered_words[:-1]
                    if word.text.rstrip().endswith(SENTENCE_ENDS)
                ]
            else:
                said = [stop for stop in stops[:-1] if stop <= until]
            if said:
                self._cut_before(said[-1])
        if self.seconds <= patience.max_buffer_s:
            return [], 0.0
        if until > self._to_seconds(self._begin) + 1:
            self._cut_before(until)
            return [], self._drop_oldest()
        forced = self._agreement.force_commit(self._to_seconds(self._end) - FORCE_COMMIT_S)
        if forced:
            self._cut_before(self._agreement.committed_until)
        return forced, self._drop_oldest()

    def _drop_oldest(self) -> float:
        """Let go of the oldest sound if there still is too much of it; seconds."""
        if self.seconds <= self._config.max_buffer_s:
            return 0.0
        before = self.seconds
        self._cut_before(self._to_seconds(self._end) - KEPT_S)
        log.warning("%.1f s of sound dropped: no two passes over it agreed", before - self.seconds)
        return before - self.seconds

    def _cut_before(self, at: float) -> None:
        """Forget the sound before so many seconds."""
        start = self._first.start if self._first else 0.0
        sample = min(max(round((at - start) * self._rate), self._begin), self._end)
        self._blocks = [np.concatenate(self._blocks)[sample - self._begin :]]
        self._begin = sample
        self._remember_words(self._agreement.forget_before(at))

    def _remember_words(self, words: Sequence[Segment]) -> None:
        """Committed words for the prompt: more than enough of them, and no more than that."""
        self._past_words = [*self._past_words, *words][-PROMPT_CHARACTERS:]
