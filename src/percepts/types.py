"""The nouns: clips go in, frames come out, records and segments leave; each knows its time. Numpy only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np

Kind = Literal["image", "audio", "video", "text"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Inputs = Mapping[str, np.ndarray]
"""Model inputs by name; the first axis of every array is the batch."""


def _show(value: Any) -> str:
    """Arrays as dtype and shape, everything else as usual: a repr is for reading."""
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)


class ShapeRepr:
    """A repr that prints shapes, not numbers."""

    __slots__ = ()

    def __repr__(self) -> str:
        pairs = ((f.name, getattr(self, f.name)) for f in fields(self))  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(f'{name}={_show(value)}' for name, value in pairs)})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Clip(ShapeRepr):
    """A stretch of media with its clock. A window is a clip, and so is a whole file.

    data    audio (C, N) float32 in [-1, 1]; image and video (N, H, W, 3) uint8, an image with N = 1
    rate    samples or frames per second; 0.0 for an image, which has no clock
    start   seconds from the beginning of the source to the first sample
    valid   how many of the N samples or frames are media; those after are padding. None: all
    """

    data: np.ndarray
    kind: Kind
    rate: float
    start: float = 0.0
    source: str = ""
    valid: int | None = None

    def __post_init__(self) -> None:
        if self.kind == "audio":
            ok = self.data.ndim == 2 and self.data.dtype == np.float32
            expected = "(C, N) float32"
        else:
            ok = self.data.ndim == 4 and self.data.shape[-1] == 3 and self.data.dtype == np.uint8
            expected = "(N, H, W, 3) uint8"
        if not ok:
            raise ValueError(f"expected {expected} for {self.kind}, got {_show(self.data)}")
        if self.rate <= 0 and self.kind != "image":
            raise ValueError(f"expected a rate above 0 for {self.kind}, got {self.rate}")
        if self.valid is not None and not 0 <= self.valid <= self.length:
            raise ValueError(f"expected 0 <= valid <= {self.length}, got {self.valid}")

    @property
    def length(self) -> int:
        """Samples or frames in `data`, padding included."""
        return int(self.data.shape[1] if self.kind == "audio" else self.data.shape[0])

    @property
    def mask(self) -> np.ndarray:
        """(N,) bool, False where the sample or frame is padding."""
        return np.arange(self.length) < (self.length if self.valid is None else self.valid)

    @property
    def duration(self) -> float:
        """Seconds of media, padding not counted; 0.0 for an image."""
        count = self.length if self.valid is None else self.valid
        return count / self.rate if self.rate else 0.0

    @property
    def stop(self) -> float:
        """Seconds from the beginning of the source to the end of the media in this clip."""
        return self.start + self.duration


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Features(ShapeRepr):
    """What an encoder says: data (B, T, D) float32, mask (B, T) bool, step = seconds between steps.

    step is 0.0 where T is not time (the patches of a picture, a single vector).
    """

    data: np.ndarray
    mask: np.ndarray
    step: float

    def __post_init__(self) -> None:
        data, mask = self.data, self.mask
        if data.ndim != 3 or mask.shape != data.shape[:2] or mask.dtype != bool or data.dtype != np.float32:
            raise ValueError(f"expected (B, T, D) float32 and (B, T) bool, got {_show(data)} and {_show(mask)}")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Record(ShapeRepr):
    """What one model says of one stretch of one source: a vector, labels, a text. `start` and `stop` are seconds.

    vector   (D,) float32
    labels   best first; `scores` has one number for each of them, or is empty
    text     a caption, an answer, what is said; `score` says how sure the model is of it
    speaker  who says it
    words    its words with their times, where they are known
    windows  how many windows of the source the vector is the mean of, each weighted by its duration
    box      left, top, right, bottom in pixels of what the text is about, on a picture or a page
    """

    source: str
    start: float
    stop: float
    model: str
    kind: Kind
    vector: np.ndarray | None = None
    labels: tuple[str, ...] = ()
    text: str | None = None
    scores: tuple[float, ...] = ()
    score: float | None = None
    speaker: str | None = None
    words: tuple[Segment, ...] = ()
    windows: int = 1
    box: tuple[float, float, float, float] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of its vector and its texts, about."""
        said = len(self.text or "") + sum(map(len, self.labels)) + 64 * len(self.words)
        return said + (0 if self.vector is None else self.vector.nbytes)


@dataclass(frozen=True, slots=True, repr=False)
class Segment(ShapeRepr):
    """A stretch of a source with its text: a caption, a sentence, a turn. `start` and `stop` are seconds."""

    start: float
    stop: float
    text: str
    words: tuple[Segment, ...] = ()
    speaker: str | None = None
    score: float | None = None
    kind: str = "speech"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What is known of an encoder without loading anything.

    name      as in `load(name)`
    target    "package.module:Class", or ".module:Class" for one of `percepts.encoders`
    kind      the media it takes; a film gives its frames to "image" encoders and its sound to "audio" ones
    rate      Hz of the sound it takes, or frames per second of the video; 0.0 for pictures and text
    window    seconds it looks at; 0.0 for pictures and text
    dim       length of its vectors; 0 where its table holds labels or text and no vectors
    pool      how its frames become one vector: a name in `percepts.encoders.pooling.POOLERS`
    weights   names of the weight files it needs, as `percepts.weights` knows them
    license   SPDX name
    extra     the extra that must be installed, "" for none
    size      shortest side in pixels that it resizes pictures to, 0 where it takes none
    revision  changes whenever its numbers change with the weights unchanged
    summary   one line for people
    precision of the arithmetic inside: "float32", "int8" (CPU), "bfloat16" (GPU); all leave as float32
    """

    name: str
    target: str = ""
    kind: Kind
    rate: float = 0.0
    window: float = 0.0
    dim: int = 0
    pool: str = ""
    weights: tuple[str, ...] = ()
    license: str = "unknown"
    extra: str = ""
    size: int = 0
    revision: str = "1"
    summary: str = ""
    precision: str = "float32"


@runtime_checkable
class Encoder(Protocol):
    """Clips to frames in two steps, so that the first can run in another process than the model."""

    @property
    def spec(self) -> Spec:
        """What is known of it without loading its weights."""

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Clips to model inputs: CPU, numpy, no weights."""

    def encode(self, inputs: Inputs) -> Features:
        """The whole batch through the model, on its device. Loads the weights at the first call."""


@runtime_checkable
class TextEncoder(Protocol):
    """An encoder of text, into the same space as `encode` where it also takes media."""

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """(B,) texts to (B, D) float32."""


@runtime_checkable
class Classifier(Protocol):
    """An encoder that also names what it sees."""

    @property
    def labels(self) -> tuple[str, ...]:
        """One name per class; none where its weights hold no classifier."""

    @property
    def multi_label(self) -> bool:
        """Whether each label is judged by itself and several may be right (sigmoid); else one is (softmax)."""

    def logits(self, inputs: Inputs) -> np.ndarray:
        """(B, len(labels)) float32 scores before the softmax or sigmoid."""

    def classify(self, inputs: Inputs) -> np.ndarray:
        """(B, len(labels)) float32 probabilities, as it was trained to give them."""


class Store(Protocol):
    """Where records go."""

    def write(self, records: Iterable[Record]) -> int:
        """Write them; return how many."""

    def close(self) -> None:
        """Everything written is complete on disk when this returns."""


Windower = Callable[[Iterable[Clip]], Iterator[Clip]]
"""Blocks in, windows out: file, microphone, websocket alike."""

Pooler = Callable[[Features], np.ndarray]
"""(B, T, D) → (B, D) float32, steps outside the mask not counted."""
