"""Draw training curves and confusion matrices with matplotlib, without a display and without its global state."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..errors import MissingExtra
from ..support.outputs import check_output_file, output_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVE = "curve.png"
"""What a run's curve is called in its folder."""
INK, ACCENT, PALE = "#1f2933", "#0b7285", "#e8590c"


def new_figure(width: float = 6.4, height: float = 4.0) -> tuple[Figure, Axes]:
    """Make an empty figure in the colours of percepts. MissingExtra without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtra(f"pictures need {error.name}: pip install 'percepts[train]'") from error
    made = Figure(figsize=(width, height), dpi=110, layout="constrained")
    # Not through pyplot, which keeps every figure alive and looks for a display.
    FigureCanvasAgg(made)
    axes: Any = made.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    return made, axes


def save(
    picture: Figure, target: str | Path | BinaryIO, *, inputs: Iterable[Any] = (), overwrite: bool = False
) -> None:
    """Write a figure as PNG, SVG or PDF by the ending of the file; to an open file as PNG.

    Raises as `check_output_file` does; an input is never replaced.
    """
    if not isinstance(target, str | Path):
        picture.savefig(target, format="png")
        return
    with output_file(target, inputs=inputs, overwrite=overwrite) as file:
        picture.savefig(file, format=Path(target).suffix[1:].lower() or "png")


def plot_curve(log: Path, target: Path | BinaryIO, *, score: str = "score", overwrite: bool = False) -> None:
    """Draw the log of a run over its steps: the loss, and the score where it was validated.

    FileExistsError where the file exists, unless `overwrite`.
    """
    if isinstance(target, str | Path):
        check_output_file(target, inputs=[log], overwrite=overwrite)
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    picture, axes = new_figure()
    axes.plot(steps, [float(row["loss"]) for row in rows], color=ACCENT, label="loss")
    axes.set_xlabel("step")
    axes.set_ylabel("loss", color=ACCENT)
    axes.set_ylim(bottom=0)
    scored = [(step, float(row["score"])) for step, row in zip(steps, rows, strict=True) if row["score"]]
    if scored:
        other = axes.twinx()
        other.spines["top"].set_visible(False)
        other.plot(*zip(*scored, strict=True), color=PALE, marker="o", markersize=3)
        other.set_ylabel(score, color=PALE)
    save(picture, target, inputs=[log], overwrite=overwrite)


def plot_confusion(
    counts: np.ndarray, labels: Sequence[str], target: Path | BinaryIO, *, title: str = "", overwrite: bool = False
) -> None:
    """Draw a confusion matrix: rows true, columns predicted. Numbers are counts, shades shares of the row.

    FileExistsError where the file exists, unless `overwrite`.
    """
    if isinstance(target, str | Path):
        check_output_file(target, overwrite=overwrite)
    size = max(4.0, min(14.0, 0.45 * len(labels) + 2))
    picture, axes = new_figure(size, size)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="GnBu", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=60 if max(map(len, labels)) > 3 else 0, ha="center")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("said")
    axes.set_ylabel("true")
    axes.set_title(title, fontsize=10)
    # Beyond that the numbers overlap.
    if len(labels) <= 30:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                # Dark ink cannot be read on the dark end of the colour map.
                colour = "white" if share[row, column] > 0.6 else INK
                axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=colour)
    save(picture, target, overwrite=overwrite)
