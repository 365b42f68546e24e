"""What a model must do to be transcribed with: a Whisper encodes and decodes windows, a CTC model says letters a frame.

Everything else (the clock, long recordings, batches, words, repetitions, speakers) is done once, above these.
`percepts.speech.fake` has an engine of each family that hears words in tones and needs no weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from ..types import Clip, Segment

if TYPE_CHECKING:
    from .options import TranscribeOptions

TICK_S = 0.02
"""Seconds from one timestamp token to the next, and from one state of a Whisper encoder to the next."""


class TextTokenizer(Protocol):
    """Text to tokens and back; no special tokens are added, and none are spelled."""

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens; bytes that are no whole character become U+FFFD."""


@dataclass(frozen=True, slots=True)
class WhisperVocabulary:
    """The tokens of a Whisper checkpoint that are no text, by what they say.

    size             tokens in all: the width of the logits
    sot, eot         <|startoftranscript|> and <|endoftext|>; text is what lies below `eot`
    previous         <|startofprev|>: the text before this window follows
    transcribe       write down what is said; `translate`: in English. None where there is only one language
    no_speech        <|nospeech|>
    no_timestamps    <|notimestamps|>
    timestamps       <|0.00|>; the one `i` after it is `i * TICK` seconds
    languages        code → token, such as {"en": 50259}; empty for a model of English alone
    suppressed       never said
    suppressed_first never said first: a space, the end
    """

    text: TextTokenizer
    size: int
    sot: int
    eot: int
    previous: int
    no_speech: int
    no_timestamps: int
    timestamps: int
    transcribe: int | None = None
    translate: int | None = None
    languages: Mapping[str, int] = field(default_factory=dict)
    suppressed: tuple[int, ...] = ()
    suppressed_first: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DecodingOptions:
    """How the next token is chosen.

    temperature    0.0: the likeliest (`beam` hypotheses are kept); above: drawn, and the best of `best_of` draws taken
    beam           hypotheses; 1 is greedy
    patience       beam search ends when `beam * patience` hypotheses are complete
    length_penalty exponent of the length that a score is divided by; None: the length itself
    max_tokens     of text and times, in one window; None: half of the decoder's context
    timestamps     whether it says when; without, it must be told so in the prompt (<|notimestamps|>)
    seed           of the draws
    """

    temperature: float = 0.0
    beam: int = 5
    best_of: int = 5
    patience: float = 1.0
    length_penalty: float | None = None
    max_tokens: int | None = None
    timestamps: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.beam < 1 or self.best_of < 1 or not 0 <= self.temperature < math.inf or self.patience <= 0:
            raise ValueError(f"expected beam and best_of of 1 or more, temperature >= 0 and patience > 0, got {self}")


@dataclass(frozen=True, slots=True)
class DecodedWindow:
    """What was decoded of one window.

    tokens          without the prompt and without the end
    sum_logprob     of the tokens and the end, natural logarithm
    no_speech_prob  of <|nospeech|> where the transcript begins
    """

    tokens: tuple[int, ...]
    sum_logprob: float
    no_speech_prob: float

    @property
    def avg_logprob(self) -> float:
        """A token, the end counted as one."""
        return self.sum_logprob / (len(self.tokens) + 1)


@dataclass(frozen=True, slots=True, eq=False)
class TokenAlignment:
    """When each token of one window was said.

    tokens, frames   (K,) ints, a path: token `tokens[k]`, counted from 0, is said in frame `frames[k]`, TICK a frame.
                     Both rise by one at most; the last token is the end
    probs            (N,) of each text token, given those before it
    """

    tokens: np.ndarray
    frames: np.ndarray
    probs: np.ndarray


@runtime_checkable
class WhisperEngine(Protocol):
    """A Whisper model. A window is `window` seconds of sound at 16 kHz; states are plain arrays, a row a window."""

    kind: ClassVar[Literal["whisper"]]

    @property
    def name(self) -> str:
        """What records call it."""

    @property
    def vocabulary(self) -> WhisperVocabulary:
        """Its special tokens."""

    @property
    def n_mels(self) -> int:
        """80, or 128."""

    @property
    def window(self) -> float:
        """Seconds: 30.0 for every published checkpoint."""

    @property
    def context(self) -> int:
        """Tokens that the decoder has positions for: 448."""

    def encode(self, mel: np.ndarray) -> np.ndarray:
        """(B, n_mels, T) log-mel to states (B, T // 2, D) float32."""

    def decode(
        self, states: np.ndarray, prompts: Sequence[Sequence[int]], search: DecodingOptions
    ) -> list[DecodedWindow]:
        """(B, T, D) and a prompt for each, all of one length, to what is said. A row does not depend on the others."""

    def align(
        self, states: np.ndarray, prompt: Sequence[int], texts: Sequence[Sequence[int]], frames: Sequence[int]
    ) -> list[TokenAlignment]:
        """When the text tokens of each row were said, within so many states of it (the rest is padding).

        `prompt` is <|startoftranscript|>, language and task.
        """

    def detect_language(self, states: np.ndarray) -> list[dict[str, float]]:
        """Of each row, code → probability; they sum to 1."""


@runtime_checkable
class CTCEngine(Protocol):
    """A model that says for every frame how likely each letter is (connectionist temporal classification)."""

    kind: ClassVar[Literal["ctc"]]

    @property
    def name(self) -> str:
        """What records call it."""

    @property
    def rate(self) -> int:
        """Hz of the sound that it takes."""

    @property
    def samples_per_frame(self) -> int:
        """320 for wav2vec 2.0 and its family."""

    @property
    def vocabulary(self) -> Sequence[str]:
        """A string for each column of the emissions."""

    @property
    def blank(self) -> int:
        """The column that says nothing."""

    @property
    def delimiter(self) -> str:
        """What stands between words in the vocabulary, "|"; "" for a vocabulary whose text holds its own spaces."""

    def emissions(self, wave: np.ndarray) -> np.ndarray:
        """(N,) float32 to the natural logarithm of probabilities, (T, V) float32."""


@runtime_checkable
class StandaloneEngine(Protocol):
    """A recogniser with its own way through a recording, such as pocketsphinx."""

    kind: ClassVar[Literal["standalone"]]

    @property
    def name(self) -> str:
        """What records call it."""

    def transcribe(self, clips: Iterable[Clip], options: TranscribeOptions) -> Iterator[Segment]:
        """Blocks of one stream at 16 kHz, one channel, to segments with words, in order."""


Engine = WhisperEngine | CTCEngine | StandaloneEngine
"""Any of them; `kind` tells them apart."""
