"""What a transcription returns: utterances, transcripts and how it is getting on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..types import Clip, Segment


@dataclass(frozen=True, slots=True, repr=False)
class Utterance(Segment):
    """A segment of a transcript, and what the model thought of it.

    The texts of the words, which keep the space before them, spell `text` when put together and stripped.
    `score` of a word is its probability; of the utterance, the mean probability of a token, exp(avg_logprob).

    language           code; "" where the engine has no languages
    tokens             of the text, times included; empty for engines without
    temperature        that it was decoded at
    avg_logprob        of the whole window, as are the two below
    compression_ratio  bytes of the text to bytes of it compressed by zlib
    no_speech_prob     that nobody spoke
    """

    language: str = ""
    language_prob: float | None = None
    tokens: tuple[int, ...] = ()
    temperature: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 0.0
    no_speech_prob: float = 0.0


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in one source.

    segments         in order
    language         of most of it, and how probable it was when it was told; None where it was given
    duration         seconds of the source; `duration_speech`: in which somebody speaks, None where nobody asked
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
        """Everything that was said, in one line."""
        return " ".join(segment.text for segment in self.segments)


@dataclass(slots=True)
class TranscribeProgress:
    """How a transcription is getting on: written by it as it goes, read by whoever shows progress or wants totals.

    heard          seconds of the stream that are done
    speech         seconds of them in which somebody speaks; None where no detector was asked
    language       of the newest window; "" before it is known, or where the engine has none
    language_prob  when it was told; None where it was given
    retries        windows decoded again at a higher temperature
    repeated       segments dropped for saying one thing over and over
    silent         windows passed over as silence
    stalled        windows that went on only because they were made to
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
        """The same blocks, each heard once the next is asked for."""
        for block in blocks:
            yield block
            self.heard += block.duration
