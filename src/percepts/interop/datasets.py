"""Apply an encoder to rows of `datasets` (`set_transform`, `map`), webdataset and PyTorch datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from .. import media
from ..encoders import model_spec as find
from ..jobs.batching import Batcher, ClipResult
from ..tasks.base import PreparedBatch
from ..tasks.embed import CutKeywords, EmbedTask
from ..tasks.pooling import pool_windows
from ..types import Kind, Record, Spec

COLUMNS: Mapping[Kind, tuple[str, ...]] = {
    "image": ("image", "img", "jpg", "jpeg", "png", "webp", "video", "mp4"),
    "audio": ("audio", "wav", "flac", "mp3", "ogg", "m4a", "video", "mp4"),
    "video": ("video", "mp4", "mkv", "webm"),
}
"""Columns to look for media in where none is named: the usual names of datasets and webdataset."""
BATCH = 32


def datasets_transform(
    encoder: str | Spec,
    *,
    column: str = "",
    output: str = "vector",
    error: str = "error",
    batch_size: int = BATCH,
    **cut: Unpack[CutKeywords],
) -> DatasetsTransform:
    """Return a function that adds the vector of its media to each row; a row that cannot be decoded affects no other.

    Calling it takes a batch, a dictionary of columns, as `Dataset.set_transform(t)` and `Dataset.map(t, batched=True)`
    do; `t.sample` takes one row, for webdataset's `.map(t.sample)`; `t.item` takes the media alone and raises errors,
    for the `transform=` of a PyTorch dataset.

    Media is a path, the bytes of a file, a Pillow image, an array (H, W, 3) of uint8, or what `datasets` makes of audio
    or a file: {"array", "sampling_rate"}, {"bytes", "path"}. Audio and video become the mean of the vectors of their
    windows or frames, each weighted by its duration.

    It can be pickled, and its hash is the same in every process, before and after use, so `map` finds cached results.

    Args:
        encoder: a name, Hugging Face id or folder, or a Spec.
        column: the column with the media; "" takes the first of the usual names, such as "image".
        output: the column for the vectors, (D,) float32; None in a row that failed.
        error: the column for the reason of a failure; "" elsewhere, so that its type is known from the first row.
        batch_size: windows per model call.
        cut: any of the following.

    Keyword Args:
        fps (float): frames to read per second of video. Default 1.0.
        hop (float | None): seconds from one audio window to the next; None, the default: windows touch.
        tail (Tail): "pad" (the default), "keep" or "drop" the last, partial window.
        exact (bool): decode large JPEGs at full size.

    Raises:
        UnknownModel: there is no such encoder.
        TypeError: an option has a name that is none of these.
        KeyError: when called on rows without such a column.

    >>> import percepts
    >>> rows = percepts.datasets_transform("fake-image")({"image": [np.zeros((4, 4, 3), np.uint8), b"no image"]})
    >>> rows["vector"][0].shape, rows["vector"][1], rows["error"][1][:8]
    ((8,), None, 'NotMedia')
    """
    # EmbedTask has further fields, such as `rows`, that have no meaning for a row of a dataset.
    if unknown := cut.keys() - CutKeywords.__annotations__.keys():
        raise TypeError(f"datasets_transform() got an unexpected keyword argument {min(unknown)!r}")
    row = encoder if isinstance(encoder, Spec) else find(encoder)
    task = EmbedTask((row,), **cut)
    return DatasetsTransform(task, column, output, error, batch_size)


@dataclass(frozen=True)
class DatasetsTransform:
    """The function that `datasets_transform` returns."""

    task: EmbedTask
    column: str
    output: str
    error: str
    batch_size: int

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """Return a batch, as a dictionary of columns, with the columns of vectors and errors added."""
        results = self._results(batch[self.media_column(batch)])
        vectors = [None if isinstance(vector, Exception) else vector for vector, _ in results]
        return {**batch, self.output: vectors, self.error: [told for _, told in results]}

    def sample(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return one row with its vector and its error added."""
        named = self.media_column(row)
        found = self({named: [row[named]]})
        return {**row, self.output: found[self.output][0], self.error: found[self.error][0]}

    def item(self, medium: Any) -> np.ndarray:
        """Return the vector (D,) float32 of one image, audio or video; raise the error of media that cannot be used."""
        ((vector, _),) = self._results([medium])
        if isinstance(vector, Exception):
            raise vector
        return vector

    def features(self, features: Any) -> Any:
        """Return the dataset's features and the two new columns, for `map(..., features=…)`.

        Needed where a whole batch may fail, since `map` cannot tell the type of a column that holds only None.
        """
        from datasets import Features, Sequence, Value

        more = {self.output: Sequence(Value("float32")), self.error: Value("string")}
        return Features({**features, **more})

    def media_column(self, row: Mapping[str, Any]) -> str:
        """Return the name of the column with the media."""
        wanted = (self.column,) if self.column else COLUMNS[self.task.specs[0].kind]
        for name in wanted:
            if name in row:
                return name
        raise KeyError(f"expected a column {' or '.join(map(repr, wanted))}, got {', '.join(map(str, row))}")

    def _results(self, items: Sequence[Any]) -> list[tuple[np.ndarray | Exception, str]]:
        """Return the vector of each item or its error, and the error or a note in words; items share batches."""
        batcher, wrong = Batcher(self.task.run_batch, self.batch_size), dict[int, Exception]()
        windows: dict[int, list[Record]] = {key: [] for key in range(len(items))}
        notes: dict[int, list[str]] = {key: [] for key in windows}
        for key, item in enumerate(items):
            try:
                for piece in self._pieces(item, notes[key]):
                    _keep_result(batcher.add(key, piece), windows, wrong)
            except Exception as error:  # one bad row must not fail the others
                wrong[key] = error
        _keep_result(batcher.flush(), windows, wrong)
        return [_build_result(windows[key], wrong.get(key), notes[key]) for key in windows]

    def _pieces(self, item: Any, notes: list[str]) -> list[PreparedBatch]:
        found = _open_medium(item)
        if isinstance(found, str | Path | bytes):
            medium = media.probe(found)
            pieces, why = list(self.task.prepare_source(found, medium, notes)), self.task.explain_empty(medium)
        else:
            pieces, why = list(self.task.prepare_clip(found)), f"is {found.kind}; expected {self.task.specs[0].kind}"
        if not pieces:
            raise ValueError(notes[0] if notes else why)
        return pieces


def _open_medium(item: Any) -> Any:
    """Return the media of a row as a path, bytes or a clip."""
    if isinstance(item, str | Path | bytes):
        return item
    if isinstance(item, Mapping):
        if "array" in item:  # audio as datasets decodes it up to release 3
            return media.array_audio(np.asarray(item["array"]), float(item["sampling_rate"]))
        # `datasets` reads the bytes of a file inside an archive, whose path then leads nowhere.
        return _open_medium(item["bytes"] if item.get("bytes") is not None else item.get("path"))
    if item is None:
        raise ValueError("expected an image, audio or video, got None")
    if hasattr(item, "get_all_samples"):  # torchcodec's AudioDecoder, which datasets 4 gives for audio
        samples = item.get_all_samples()
        # torchcodec puts channels first, (C, N).
        return media.array_audio(samples.data.numpy(), float(samples.sample_rate), channels_first=True)
    return media.array_image(item)


def _keep_result(found: Any, windows: dict[int, list[Record]], wrong: dict[int, Exception]) -> None:
    clip: ClipResult
    for clip in found:
        if isinstance(clip.result, Exception):
            wrong[clip.key] = clip.result
        else:
            windows[clip.key].append(Record("", clip.start, clip.stop, clip.model, clip.kind, **clip.result))


def _build_result(
    windows: list[Record], wrong: Exception | None, notes: list[str]
) -> tuple[np.ndarray | Exception, str]:
    if wrong is not None:
        return wrong, f"{type(wrong).__name__}: {wrong}"
    vector = pool_windows(windows).vector
    assert vector is not None
    return vector, notes[0] if notes else ""
