"""Draw a matrix of similarities with matplotlib: numbers in the cells, thumbnails at the rows and columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import MediaError, MissingExtra
from ..media import Source, open_image, stream_frames
from ..support.outputs import check_output_file, is_stream, output_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

THUMBNAIL_PIXELS = 72
"""Pixels along the longer side of a thumbnail, which is drawn at half an inch."""
WRAP_CHARACTERS = 22
"""Characters of a text on one line."""
MAX_NUMBERED_CELLS = 400
"""Cells up to which the numbers are written into them."""
CELL_INCHES = 0.85
"""Inches along a cell."""
MAX_INCHES = 60
"""Inches of all cells together, at most: many rows are drawn small, and without thumbnails."""


def check_heatmap_file(to: str | Path, inputs: Iterable[Source], overwrite: bool) -> tuple[Path, str]:
    """Check the output file of a heatmap before anything is compared; return it, and its format by its ending.

    A name without an ending gets .png.

    Raises:
        ValueError: another ending, or what `check_output_file` raises.
        MissingExtra: matplotlib is not installed.
    """
    path = Path(to)
    # Asked of matplotlib, whose canvas knows best, and which is missed here before anything is computed.
    known = sorted(_make_figure((1, 1)).canvas.get_supported_filetypes())
    if not path.suffix and not path.is_dir() and not is_stream(path):
        path = path.with_name(f"{path.name}.png")
    format = path.suffix[1:].lower() or "png"
    check_output_file(path, inputs=inputs, overwrite=overwrite)
    if format not in known:
        raise ValueError(f"expected a name that ends in one of .{', .'.join(known)}, got {path.name!r}")
    return path, format


@dataclass(frozen=True, slots=True)
class Labels:
    """Names at the rows and columns of a heatmap, and media to show; `others` is None for columns of text."""

    rows: Sequence[str]
    columns: Sequence[str]
    sources: Sequence[Source]
    others: Sequence[Source] | None


def draw_heatmap(
    labels: Labels, to: str | Path | Axes, values: np.ndarray, title: str, *, overwrite: bool = False
) -> None:
    """Draw `values` on the axes, or into a file by way of a figure that fits."""
    if not isinstance(to, str | Path):
        _draw_matrix(labels, to, values, title)
        return
    inputs = (*labels.sources, *(labels.others or ()))
    path, format = check_heatmap_file(to, inputs, overwrite)
    rows, columns = values.shape
    cell = min(CELL_INCHES, MAX_INCHES / max(rows, columns))
    # Room beside the cells: names and the colour bar to the sides, the title above, names below.
    figure = _make_figure((3.4 + cell * columns, 2.4 + cell * rows))
    _draw_matrix(labels, figure.add_subplot(), values, title)
    with output_file(path, inputs=inputs, overwrite=overwrite) as file:
        # 144 dots an inch show a thumbnail of 72 pixels at half an inch pixel by pixel.
        figure.savefig(file, dpi=144, format=format)


def _make_figure(size: tuple[float, float]) -> Any:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtra("heatmaps need matplotlib: pip install 'percepts[plot]'") from error
    # Not by pyplot, which keeps every figure open and picks a window system.
    return Figure(figsize=size, layout="constrained")


def _draw_matrix(labels: Labels, axes: Any, values: np.ndarray, title: str) -> None:
    shown = axes.imshow(values, cmap="viridis", aspect="auto")
    axes.figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03)
    axes.set_title(title, fontsize=10)
    axes.set_xticks(
        range(len(labels.columns)), _wrap_names(labels.columns, labels.others), rotation=35, ha="right", fontsize=8
    )
    axes.set_yticks(range(len(labels.rows)), _wrap_names(labels.rows, labels.sources), fontsize=8)
    if max(values.shape) * CELL_INCHES <= MAX_INCHES:
        _draw_thumbnails(axes, labels.sources, "y")
        _draw_thumbnails(axes, labels.others or (), "x")
    if values.size <= MAX_NUMBERED_CELLS:
        _draw_numbers(axes, values, shown)


def _wrap_names(names: Sequence[str], sources: Sequence[Source] | None) -> list[str]:
    """Return texts as they are and files by their own names, each on several lines."""
    # "$" is escaped, or matplotlib sets what follows as mathematics.
    plain = names if sources is None else [Path(name).name or f"{i}" for i, name in enumerate(names)]
    return [textwrap.fill(name.replace("$", r"\$"), WRAP_CHARACTERS) for name in plain]


def _draw_numbers(axes: Any, values: np.ndarray, shown: Any) -> None:
    middle = (float(values.min()) + float(values.max())) / 2
    for (row, column), value in np.ndenumerate(values):
        colour = "black" if value > middle else "white"  # viridis is dark at its low end
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=8)


def _draw_thumbnails(axes: Any, sources: Sequence[Source], axis: Literal["x", "y"]) -> None:
    """Draw the image, or the first frame of the video, beside each row or below each column."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    drawn = False
    for n, source in enumerate(sources):
        thumbnail = _make_thumbnail(source)
        if thumbnail is None:
            continue
        at, beside = ((0, n), (-24, 0)) if axis == "y" else ((n, 0), (0, -24))
        # Not clipped: it lies outside the axes, and would not be drawn.
        box = AnnotationBbox(
            OffsetImage(thumbnail, zoom=0.5), at, xybox=beside, boxcoords="offset points", frameon=False, pad=0,
            xycoords=axes.get_yaxis_transform() if axis == "y" else axes.get_xaxis_transform(), annotation_clip=False,
        )  # fmt: skip
        axes.add_artist(box)
        drawn = True
    if drawn:  # the names make room for the thumbnails
        axes.tick_params(axis=axis, pad=46)  # points: the centre at 24, half a thumbnail of 36, and some air


def _make_thumbnail(source: Source) -> np.ndarray | None:
    """Return (h, w, 3) uint8; None for a source that cannot be shown, such as audio."""
    from PIL import Image

    try:
        frame = (
            next(stream_frames(source, fps=1.0, at_least=THUMBNAIL_PIXELS)) if _is_video(source) else open_image(source)
        )
    except (MediaError, StopIteration):  # StopIteration: a video without a frame
        return None
    image = Image.fromarray(frame.data[0])
    image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    return np.asarray(image)


def _is_video(source: Source) -> bool:
    from ..media import probe

    return probe(source).kind == "video"
