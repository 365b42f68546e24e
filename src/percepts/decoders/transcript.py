"""What is asked of a transcription, and what comes of it: options, utterances, transcripts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ..types import Clip, Segment

Task = Literal["transcribe", "translate"]
TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class TranscribeOptions:
    """What is asked of a transcription; names and defaults are those of openai/whisper.

    An engine that cannot do what is asked says so with ValueError; CTC models know neither task, prompt nor beam.

    task                            "translate" is into English
    language                        code, such as "en"; None: the model tells, from the first window with speech
    languages                       codes that come into question; with more than one, every window is asked again, and
                                    two in succession (or one that is very sure) change the language
    beam, best_of, patience, length_penalty, temperatures, seed
                                    see `percepts.decoders.engines.DecodingOptions`; the next temperature is tried
                                    where the
                                    result of the one before it fails a threshold below
    initial_prompt                  text that might stand before the first window: names, spelling, style
    hotwords                        text before every window
    condition_on_previous_text      each window is given the text of those before it
    word_timestamps                 when each word was said
    compression_ratio_threshold     text that zlib shrinks by more repeats itself; None: any may pass
    logprob_threshold               mean log probability of a token; None: any may pass
    no_speech_threshold             from this probability on, text that fails the one before counts as silence
    hallucination_silence_threshold seconds of silence around words that are too improbable to have been said, from
                                    which on they are dropped; needs word_timestamps; None: they stay
    max_tokens                      in one window
    batch_size                      windows that are decoded at once; more than one: windows are cut in pauses, and none
                                    knows the text of another
    """

    task: Task = "transcribe"
    language: str | None = None
    languages: tuple[str, ...] = ()
    beam: int = 5
    best_of: int = 5
    patience: float = 1.0
    length_penalty: float | None = None
    temperatures: tuple[float, ...] = TEMPERATURES
    seed: int = 0
    initial_prompt: str = ""
    hotwords: str = ""
    condition_on_previous_text: bool = True
    word_timestamps: bool = False
    compression_ratio_threshold: float | None = 2.4
    logprob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    hallucination_silence_threshold: float | None = None
    max_tokens: int | None = None
    batch_size: int = 1

    def __post_init__(self) -> None:
        if self.task not in ("transcribe", "translate"):
            raise ValueError(f"expected task to be transcribe or translate, got {self.task!r}")
        if not self.temperatures or any(value < 0 for value in self.temperatures):
            raise ValueError(f"expected one temperature or more, none below 0, got {self.temperatures}")
        if self.batch_size < 1:
            raise ValueError(f"expected batch_size to be 1 or more, got {self.batch_size}")
        if self.hallucination_silence_threshold is not None and not self.word_timestamps:
            raise ValueError("hallucination_silence_threshold needs word_timestamps")


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
