"""Define what a speech model must implement: a Whisper engine, a CTC engine, or an engine that does everything itself.

Everything else (times, long audio, batches, words, repetitions, speakers) is done once, above these protocols.
`percepts.speech.fake` has a Whisper and a CTC engine that recognise words and letters in tones and need no weights.
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
"""Seconds between two timestamp tokens of Whisper, and between two states of its encoder."""


class TextTokenizer(Protocol):
    """Converts text to tokens and back; special tokens are neither added nor written."""

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; bytes that are no complete character become U+FFFD."""


@dataclass(frozen=True, slots=True)
class WhisperVocabulary:
    """The special tokens of a Whisper checkpoint, by meaning.

    size             number of tokens: the width of the logits
    sot, eot         <|startoftranscript|> and <|endoftext|>; text tokens are those below `eot`
    previous         <|startofprev|>: the text before this window follows
    transcribe       write in the language that is spoken; `translate`: in English. None in models of one language
    no_speech        <|nospeech|>
    no_timestamps    <|notimestamps|>
    timestamps       <|0.00|>; the `i`th token after it is `i * TICK_S` seconds
    languages        code → token, such as {"en": 50259}; empty for a model of English alone
    suppressed       tokens that are never written
    suppressed_first tokens that are never written first: a space, the end
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

    temperature    0.0: the most probable token, with `beam` hypotheses; above 0: sampled, the best of `best_of` samples
    beam           number of hypotheses; 1 is greedy
    patience       beam search ends when `beam * patience` hypotheses are complete
    length_penalty exponent of the length that a score is divided by; None: the length itself
    max_tokens     text and timestamp tokens in one window; None: half of the decoder's context
    timestamps     whether timestamps are written; without them the prompt must hold <|notimestamps|>
    seed           of the sampling
    """

    temperature: float = 0.0
    # The defaults of openai/whisper's command line.
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
    """The result of decoding one window.

    tokens          without the prompt and without the end
    sum_logprob     natural logarithm of the probability of the tokens and the end
    no_speech_prob  probability of <|nospeech|> where the transcript begins
    """

    tokens: tuple[int, ...]
    sum_logprob: float
    no_speech_prob: float

    @property
    def avg_logprob(self) -> float:
        """Mean log probability of a token; the end counts as a token."""
        # As openai/whisper computes avg_logprob.
        return self.sum_logprob / (len(self.tokens) + 1)


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no == that is one truth value
class TokenAlignment:
    """When each token of one window was spoken.

    tokens, frames   (K,) ints, a path: token `tokens[k]`, counted from 0, is spoken in frame `frames[k]`,
                     TICK_S each. Both rise by one at most; the last token is the end
    probs            (N,) probability of each text token, given those before it
    """

    tokens: np.ndarray
    frames: np.ndarray
    probs: np.ndarray


@runtime_checkable
class WhisperEngine(Protocol):
    """A Whisper model. A window is `window` seconds of audio at 16 kHz; states are arrays, one row for each window."""

    kind: ClassVar[Literal["whisper"]]

    @property
    def name(self) -> str:
        """The name of the model in records."""

    @property
    def vocabulary(self) -> WhisperVocabulary:
        """The special tokens."""

    @property
    def n_mels(self) -> int:
        """Mel bands of the input: 80 or 128."""

    @property
    def window(self) -> float:
        """Seconds: 30.0 for every published checkpoint."""

    @property
    def context(self) -> int:
        """Tokens that the decoder has positions for: 448."""

    def encode(self, mel: np.ndarray) -> np.ndarray:
        """Encode log-mel (B, n_mels, T) to states (B, T // 2, D) float32."""

    def decode(
        self, states: np.ndarray, prompts: Sequence[Sequence[int]], search: DecodingOptions
    ) -> list[DecodedWindow]:
        """Decode states (B, T, D) after a prompt each, all of one length. A row does not depend on the others."""

    def align(
        self, states: np.ndarray, prompt: Sequence[int], texts: Sequence[Sequence[int]], frames: Sequence[int]
    ) -> list[TokenAlignment]:
        """Find when the text tokens of each row were spoken, within `frames` states of it (the rest is padding).

        `prompt` is <|startoftranscript|>, language and task.
        """

    def detect_language(self, states: np.ndarray) -> list[dict[str, float]]:
        """Return, for each row, code → probability; they sum to 1."""


@runtime_checkable
class CTCEngine(Protocol):
    """A model that gives the probability of each letter in each frame (connectionist temporal classification)."""

    kind: ClassVar[Literal["ctc"]]

    @property
    def name(self) -> str:
        """The name of the model in records."""

    @property
    def rate(self) -> int:
        """Sample rate of its input in Hz."""

    @property
    def samples_per_frame(self) -> int:
        """320 for wav2vec 2.0 and its family."""

    @property
    def vocabulary(self) -> Sequence[str]:
        """The text of each column of the emissions."""

    @property
    def blank(self) -> int:
        """The column of the blank, which stands for no letter."""

    @property
    def delimiter(self) -> str:
        """The token between two words, "|"; "" for a vocabulary whose texts hold their own spaces."""

    def emissions(self, wave: np.ndarray) -> np.ndarray:
        """Return the natural logarithm of probabilities, (T, V) float32, of samples (N,) float32."""


@runtime_checkable
class StandaloneEngine(Protocol):
    """A recogniser that goes through the stream by itself, such as pocketsphinx."""

    kind: ClassVar[Literal["standalone"]]

    @property
    def name(self) -> str:
        """The name of the model in records."""

    def transcribe(self, clips: Iterable[Clip], options: TranscribeOptions) -> Iterator[Segment]:
        """Transcribe blocks of one stream, one channel at 16 kHz, to segments with words, in order."""


Engine = WhisperEngine | CTCEngine | StandaloneEngine
"""Any of them; `kind` tells them apart."""
