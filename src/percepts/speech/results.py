"""Define what a transcription returns: utterances, transcripts and the counters of its progress."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..support.short_repr import ShortRepr
from ..types import Clip, Segment


@dataclass(frozen=True, slots=True, repr=False)
class Utterance(Segment):
    """A segment of a transcript with what the model measured.

    The texts of the words keep the space before them; joined and stripped they are `text`. `score` of a word is its
    probability; `score` of the utterance is the mean probability of a token, exp(avg_logprob).

    language           code; "" where the engine has no languages
    language_prob      probability of the language when it was detected; None where it was given
    tokens             of the text, timestamps included; empty for engines without tokens
    temperature        at which it was decoded
    avg_logprob        of the whole window, as are the two below
    compression_ratio  bytes of the text divided by its bytes compressed by zlib
    no_speech_prob     probability that nobody spoke
    """

    language: str = ""
    language_prob: float | None = None
    tokens: tuple[int, ...] = ()
    temperature: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 0.0
    no_speech_prob: float = 0.0


@dataclass(frozen=True, slots=True, repr=False)
class Transcript(ShortRepr):
    """The transcript of one source.

    source           path, or the number of bytes
    segments         in order
    language         of most of it; `language_prob`: its probability when it was detected, None where it was given
    duration         seconds of the source
    duration_speech  seconds in which somebody speaks, None where no detector was used
    notes            sentences about damage in the source
    """

    source: str
    segments: tuple[Segment, ...]
    language: str
    language_prob: float | None
    duration: float
    duration_speech: float | None = None
    notes: Sequence[str] = ()

    @property
    def text(self) -> str:
        """The text of all segments in one line."""
        return " ".join(segment.text for segment in self.segments)


@dataclass(slots=True)
class TranscribeProgress:
    """Counters of a transcription: updated as it runs, read for progress and totals.

    heard          seconds of the stream that are done
    speech         seconds of them in which somebody speaks; None where no detector is used
    language       of the newest window; "" before it is known, or where the engine has none
    language_prob  its probability when it was detected; None where it was given
    retries        windows decoded again at a higher temperature
    repeated       segments dropped because they repeat themselves
    silent         windows skipped as silence
    stalled        windows without progress that had to be accepted
    """

    heard: float = 0.0
    speech: float | None = None
    language: str = ""
    language_prob: float | None = None
    retries: int = 0
    repeated: int = 0
    silent: int = 0
    stalled: int = 0

    def count_blocks(self, blocks: Iterable[Clip]) -> Iterator[Clip]:
        """Yield the same blocks and count each as heard when the next is asked for."""
        for block in blocks:
            yield block
            self.heard += block.duration
