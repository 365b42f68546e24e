"""Define the central data types: clips, features, records, segments, and the protocols of encoders. Numpy only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .support.short_repr import ShortRepr, shorten

Kind = Literal["image", "audio", "video", "text"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Floats = NDArray[np.float32]
"""Numbers of any meaning; the docstring says their shape."""
Samples = NDArray[np.float32]
"""Audio samples in [-1, 1], (channels, samples)."""
Pixels = NDArray[np.uint8]
"""RGB images or video frames, (frames, height, width, 3)."""
Vectors = NDArray[np.float32]
"""Embeddings, (batch, dim)."""
Vector = NDArray[np.float32]
"""One embedding, (dim,)."""
Scores = NDArray[np.float32]
"""Scores or probabilities of labels, (batch, labels)."""
Mask = NDArray[np.bool_]
"""True where an element counts, False where it is padding."""
Inputs = Mapping[str, NDArray[Any]]
"""Model inputs by name; the first axis of every array is the batch."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Clip(ShortRepr):
    """A stretch of media that knows its time. A window is a clip, and so is a whole file.

    data    audio: (C, N) float32 in [-1, 1]; image and video: (N, H, W, 3) uint8, N = 1 for an image
    rate    samples or frames per second; 0.0 for an image, which has no time
    start   seconds from the beginning of the source to the first sample
    source  the path or URL it came from; "" for bytes and arrays
    valid   number of the N samples or frames that are media; those after it are padding. None: all of them
    """

    data: NDArray[Any]
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
            raise ValueError(f"expected {expected} for {self.kind}, got {shorten(self.data)}")
        if self.rate <= 0 and self.kind != "image":
            raise ValueError(f"expected a rate above 0 for {self.kind}, got {self.rate}")
        if self.valid is not None and not 0 <= self.valid <= self.length:
            raise ValueError(f"expected 0 <= valid <= {self.length}, got {self.valid}")

    @property
    def length(self) -> int:
        """Samples or frames in `data`, padding included."""
        return int(self.data.shape[1] if self.kind == "audio" else self.data.shape[0])

    @property
    def mask(self) -> Mask:
        """(N,) bool: False where the sample or frame is padding."""
        return np.arange(self.length) < (self.length if self.valid is None else self.valid)

    @property
    def duration(self) -> float:
        """Seconds of media without the padding; 0.0 for an image."""
        count = self.length if self.valid is None else self.valid
        return count / self.rate if self.rate else 0.0

    @property
    def stop(self) -> float:
        """Seconds from the beginning of the source to the end of the media in this clip."""
        return self.start + self.duration


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Features(ShortRepr):
    """The hidden states that an encoder returns for a batch.

    data  (B, T, D) float32
    mask  (B, T) bool: False where a step is padding
    step  seconds from one step to the next; 0.0 where T is not time (patches of an image, a single vector)
    """

    data: Floats
    mask: Mask
    step: float

    def __post_init__(self) -> None:
        data, mask = self.data, self.mask
        if data.ndim != 3 or mask.shape != data.shape[:2] or mask.dtype != bool or data.dtype != np.float32:
            raise ValueError(f"expected (B, T, D) float32 and (B, T) bool, got {shorten(data)} and {shorten(mask)}")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Record(ShortRepr):
    """The result of one model for one stretch of a source: a vector, labels, or text.

    start, stop   seconds from the beginning of the source; both 0.0 for an image
    model         name of the model that made it
    kind          kind of the media that it was made from
    vector        (D,) float32
    labels        likeliest first
    text          a caption, an answer or a transcript
    scores        one number for each label, or empty
    score         how sure the model is of the text
    speaker       who says the text
    words         words of the text with their times, where they are known
    windows       number of windows whose mean the vector is, each weighted by its duration
    box           left, top, right, bottom, in pixels, of the part of an image or page that the text is about
    """

    source: str
    start: float
    stop: float
    model: str
    kind: Kind
    vector: Vector | None = None
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
        """Approximate bytes of its vector and texts, used to bound buffers."""
        # 64 bytes a word: about what its two times and its text take in memory.
        text_bytes = len(self.text or "") + sum(map(len, self.labels)) + 64 * len(self.words)
        return text_bytes + (0 if self.vector is None else self.vector.nbytes)


if TYPE_CHECKING:

    class VectorRecord(Record):
        """A record that has a vector. Only type checkers know this class; at runtime it is Record."""

        vector: Vector
else:
    VectorRecord = Record


@dataclass(frozen=True, slots=True, repr=False)
class Segment(ShortRepr):
    """A stretch of a source with its text: a word, a sentence, a caption, a speaker's turn.

    start, stop   seconds from the beginning of the source
    words         words of the text with their times, where they are known
    speaker       who says it
    score         how sure the model is of it
    kind          "speech", or what else the text is
    """

    start: float
    stop: float
    text: str
    words: tuple[Segment, ...] = ()
    speaker: str | None = None
    score: float | None = None
    kind: str = "speech"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What is known of an encoder without loading it.

    name       as in `load_encoder(name)`
    target     "package.module:Class", or ".module:Class" for a module of `percepts.encoders`
    kind       the media it takes; of a video, "image" encoders get frames and "audio" encoders the audio track
    rate       Hz of the audio, or frames per second of the video, that it takes; 0.0 for images and text
    window     seconds of one input; 0.0 for images and text
    dim        length of its vectors; 0 where its table holds labels or text and no vectors
    pool       how features become one vector: a name in `percepts.encoders.pooling.POOLERS`
    weights    names of the weights it needs, as `percepts models` lists them
    license    SPDX name
    extra      the extra that must be installed; "" for none
    size       shortest side, in pixels, of the images it takes; 0 where it takes none
    revision   changes whenever its results change although its weights do not
    summary    one line for people
    precision  of the arithmetic: "float32", "int8" (CPU), "bfloat16" (GPU); vectors are float32 in any case
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
    """A model that turns clips into features, in two steps that may run in different processes."""

    @property
    def spec(self) -> Spec:
        """What is known of the encoder without loading its weights."""

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Convert clips to model inputs, on the CPU and without weights."""

    def encode(self, inputs: Inputs) -> Features:
        """Run the model on a batch, on its device. The first call loads the weights."""


@runtime_checkable
class TextEncoder(Protocol):
    """A model that turns texts into vectors; if it also takes media, into the same space."""

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        """Return a vector for each text: (B, D) float32."""


@runtime_checkable
class Classifier(Protocol):
    """An encoder that also has labels."""

    @property
    def labels(self) -> tuple[str, ...]:
        """One name per class; empty where the weights hold no classifier."""

    @property
    def multi_label(self) -> bool:
        """True where several labels may be right at once (sigmoid), False where exactly one is (softmax)."""

    def logits(self, inputs: Inputs) -> Scores:
        """Return (B, len(labels)) float32 scores, before the softmax or sigmoid."""

    def classify(self, inputs: Inputs) -> Scores:
        """Return (B, len(labels)) float32 probabilities: softmax or sigmoid, as the model was trained."""


@runtime_checkable
class LabelEncoder(Encoder, Classifier, Protocol):
    """An encoder of media with labels, such as effnet-lite0."""


@runtime_checkable
class MediaTextEncoder(Encoder, TextEncoder, Protocol):
    """An encoder of media and of text into one space, such as conse."""


Windower = Callable[[Iterable[Clip]], Iterator[Clip]]
"""Cuts blocks of a stream into windows: of a file, a microphone or a websocket alike."""

Pooler = Callable[[Features], Vectors]
"""Makes one vector of each row of features: (B, T, D) to (B, D) float32; masked steps do not count."""


def __getattr__(name: str) -> Any:
    """Return `Features` for `Frames`, its name in older releases."""
    from .support.deprecated import get_renamed

    return get_renamed(__name__, name, {"Frames": "Features"})
