"""Compare images, audio and video with texts, with others, or with each other: a matrix of cosines."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..encoders import load_encoder, model_spec
from ..encoders.pooling import normalise
from ..encoders.scores import LogitScale, ScoresText, softmax
from ..errors import LabelsError, NotMedia, TruncatedMedia, WrongMedium
from ..media import Source, probe
from ..media.source import name_of, source_path
from ..support.deprecated import OldArgument, OldAttribute, accept_old_arguments
from ..types import Floats, TextEncoder, Vector, Vectors
from .embed import EmbedTask
from .labelling import check_labels
from .zero_shot import DEFAULT_MODEL, check_templates, embed_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Similarity:
    """Cosines between the sources at the rows and the texts or sources at the columns.

    matrix       (rows, columns) float32, in -1..1
    rows         the sources; "" for bytes
    columns      the texts, or the sources
    logit_scale  what the model multiplies cosines by; None where its training gave it none, and for media with media
    sources      the media at the rows, to be shown beside them
    others       those at the columns, None where these are texts
    """

    matrix: Floats
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    model: str
    logit_scale: LogitScale | None = None
    sources: tuple[Source, ...] = ()
    others: tuple[Source, ...] | None = None

    temperature = OldAttribute("logit_scale")

    def __repr__(self) -> str:
        return f"Similarity({len(self.rows)} x {len(self.columns)} by {self.model})"

    def softmax(self, axis: int = 1, *, scale: float | None = None) -> Floats:
        """Return (rows, columns) probabilities that add up to one along an axis.

        Args:
            axis: 1, over the columns of each row; 0, over the rows.
            scale: what cosines are multiplied by first; None: the model's logit scale.

        Raises:
            ValueError: another axis, or no scale given and none in the model.
        """
        if axis not in (0, 1, -1, -2):
            raise ValueError(f"expected axis 1, over the columns of each row, or 0, over the rows; got {axis}")
        return softmax(self.matrix.astype(np.float64) * (self._trained_scale.scale if scale is None else scale), axis)

    def probabilities(self) -> Floats:
        """Return (rows, columns) as the model was trained to judge: SigLIP each pair, others among the columns."""
        return self._trained_scale.probabilities(self.matrix, 1)

    @property
    def _trained_scale(self) -> LogitScale:
        if self.logit_scale is None:
            raise ValueError(f"{self.model} has no scale of its own for this: give one, softmax(scale=20)")
        return self.logit_scale

    def heatmap(
        self, to: str | Path | Axes, *, values: NDArray[Any] | None = None, title: str = "", overwrite: bool = False
    ) -> None:
        """Draw the matrix: numbers in the cells, images small beside their rows, texts wrapped below.

        Args:
            to: a file to write, its format by its ending png, svg or pdf; or the axes of a figure of yours.
            values: what to draw in its place, of the same shape, such as `softmax()`.
            title: above the matrix; "": "cosine" and the model.
            overwrite: replace a file of that name; an image that was compared is never replaced.

        Raises:
            FileExistsError: there is a file of that name.
            MissingExtra: matplotlib is not installed.
        """
        from .heatmap import Labels, draw_heatmap

        drawn = self.matrix if values is None else values
        if drawn.shape != self.matrix.shape:
            raise ValueError(f"expected values of shape {self.matrix.shape}, got {drawn.shape}")
        labels = Labels(self.rows, self.columns, self.sources, self.others)
        draw_heatmap(labels, to, drawn, title or f"cosine, {self.model}", overwrite=overwrite)


@accept_old_arguments(to=OldArgument("against"))
def similarity(
    media: Sequence[Source] | Source,
    texts: Sequence[str] | None = None,
    *,
    against: Sequence[Source] | Source | None = None,
    model: str = DEFAULT_MODEL,
    templates: Sequence[str] = (),
    fps: float = 1.0,
    precision: str = "float32",
) -> Similarity:
    """Compare images, audio or video with texts, with others, or with each other, in a space that they share.

    Args:
        media: the rows: paths or bytes. A video or long audio is the mean direction of its frames or windows.
        texts: the columns.
        against: the columns, where they are media too. Without `texts` and `against`: the rows again.
        model: an encoder whose space both are in: conse for images and texts without a download; CLIP, SigLIP, CLAP;
            any encoder for media with media.
        templates: words around each text, {} for the text; of several, the mean counts. None given: the text alone.
        fps: frames a second taken from videos.
        precision: of Hugging Face models.

    Raises:
        LabelsError: no texts, a blank one, one twice; both texts and media to compare with; a model that reads no text.
        WrongMedium: a source that the model does not take, so that there is no space for both.
        FileNotFoundError, MediaError: a source cannot be used.

    >>> import percepts
    >>> found = percepts.similarity(["cat.png", "cup.png"], ["a cat", "coffee"])  # doctest: +SKIP
    >>> found.matrix.shape, found.softmax().argmax(axis=1)  # doctest: +SKIP
    ((2, 2), array([0, 1]))
    """
    if texts is not None and against is not None:
        raise LabelsError("expected texts or media at the columns, got both")
    row = model_spec(model, precision=precision)
    task, rows = EmbedTask((row,), fps=fps), _as_tuple(media)
    vectors = np.stack([compute_direction(task, source) for source in rows])
    if texts is not None:
        encoder = load_encoder(row)
        if not isinstance(encoder, TextEncoder):
            raise LabelsError(f"{row.name} reads no text: take conse, or a CLIP, SigLIP or CLAP model")
        names = check_labels(texts, "text")
        # Not the model's own template: the texts may be sentences, and it is made for labels.
        columns = embed_labels(encoder, names, check_templates(templates or ("{}",)))
        heat = encoder.logit_scale if isinstance(encoder, ScoresText) else None
        return Similarity(_compute_cosines(vectors, columns), _name_sources(rows), names, row.name, heat, rows)
    others = rows if against is None else _as_tuple(against)
    columns = vectors if against is None else np.stack([compute_direction(task, source) for source in others])
    return Similarity(
        _compute_cosines(vectors, columns), _name_sources(rows), _name_sources(others), row.name, None, rows, others
    )


def filter_supported(sources: Iterable[str], model: str) -> Iterator[str]:
    """Yield those of the files that are media and that the model takes."""
    task = EmbedTask((model_spec(model),))
    for source in sources:
        try:
            taken = task.accepts(probe(source))
        except NotMedia:  # a folder holds other files, too
            taken = False
        if taken:
            yield source


def compute_direction(task: EmbedTask, source: Source) -> Vector:
    """Return the mean of the directions of all windows, (D,) of length one, by the same code as the vectors of a job.

    WrongMedium where the one encoder of the task does not take what the source is.
    """
    medium, notes = probe(source), list[str]()
    total, batches = task.sum_directions(source, medium, notes)
    if not batches:
        raise TruncatedMedia(notes[0]) if notes else WrongMedium(f"{name_of(source)} {task.explain_empty(medium)}")
    for note in notes:
        log.warning("%s: what could be decoded counts: %s", name_of(source), note)
    return normalise(total)


def _compute_cosines(rows: Vectors, columns: Vectors) -> Floats:
    # float64, so that a vector with itself gives 1 and not the rounding of a float32 sum.
    return np.asarray(rows.astype(np.float64) @ columns.astype(np.float64).T, np.float32)


def _as_tuple(media: Sequence[Source] | Source) -> tuple[Source, ...]:
    # str and bytes are sequences, too, and mean one source each.
    found = (media,) if isinstance(media, str | Path | bytes) else tuple(media)
    if not found:
        raise LabelsError("expected at least one image, video or audio file, got none")
    return found


def _name_sources(sources: Sequence[Source]) -> tuple[str, ...]:
    return tuple(map(source_path, sources))
