"""An encoder as a function of rows: for `datasets` (`set_transform`, `map`), webdataset and PyTorch datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import media
from ..encoders import model_spec as find
from ..jobs.batching import Batcher, ClipResult
from ..tasks.base import PreparedBatch
from ..tasks.embed import EmbedTask
from ..tasks.pooling import pool_windows
from ..types import Kind, Record, Spec
from ..windows import Tail

COLUMNS: Mapping[Kind, tuple[str, ...]] = {
    "image": ("image", "img", "jpg", "jpeg", "png", "webp", "video", "mp4"),
    "audio": ("audio", "wav", "flac", "mp3", "ogg", "m4a", "video", "mp4"),
    "video": ("video", "mp4", "mkv", "webm"),
}
"""Where the media is looked for, if no column is named: the names that datasets and webdataset give them."""
BATCH = 32


def datasets_transform(
    encoder: str | Spec,
    *,
    column: str = "",
    output: str = "vector",
    error: str = "error",
    fps: float = 1.0,
    hop: float | None = None,
    tail: Tail = "pad",
    exact: bool = False,
    batch_size: int = BATCH,
) -> DatasetsTransform:
    """Rows with media in, the same rows with its vector out; one that cannot be decoded costs no other.

    Calling it takes a batch, a dictionary of columns, as `Dataset.set_transform(t)` and `Dataset.map(t, batched=True)`
    do; `t.sample` takes one row, as webdataset's `.map(t.sample)`; `t.item` takes the medium alone and raises, as the
    `transform=` of a PyTorch dataset.

    A medium is a path, the bytes of a file, a Pillow picture, an array (H, W, 3) of uint8, or what `datasets` makes of
    a sound or a file: {"array", "sampling_rate"}, {"bytes", "path"}. Recordings and films become the mean of their
    windows or frames, each weighted by its duration.

    It can be pickled and is hashed alike in every process, before and after use, so `map` finds what it did before.

    Args:
        encoder: a name, hub id or folder, or a Spec.
        column: with the media; "": the first there is of the usual names, such as "image".
        output: the column of the vectors, (D,) float32; None where there is none.
        error: the column that says why; "" where all is well, so that its type is known from the first row.
        fps: frames a second taken from films.
        hop: seconds from one window of sound to the next; None: windows touch.
        tail: what becomes of the last, shorter window.
        exact: decode large JPEGs at full size.
        batch_size: windows through the model at a time.

    Raises UnknownModel; KeyError, when called, where there is no such column.

    >>> import percepts
    >>> rows = percepts.transform("fake-image")({"image": [np.zeros((4, 4, 3), np.uint8), b"no picture"]})
    >>> rows["vector"][0].shape, rows["vector"][1], rows["error"][1][:8]
    ((8,), None, 'NotMedia')
    """
    row = encoder if isinstance(encoder, Spec) else find(encoder)
    task = EmbedTask((row,), fps=fps, hop=hop, tail=tail, exact=exact)
    return DatasetsTransform(task, column, output, error, batch_size)


@dataclass(frozen=True)
class DatasetsTransform:
    """What `transform` makes."""

    task: EmbedTask
    column: str
    output: str
    error: str
    batch_size: int

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """A batch of rows, as a dictionary of columns: the same columns, the vectors and the errors."""
        results = self._results(batch[self.media_column(batch)])
        vectors = [None if isinstance(vector, Exception) else vector for vector, _ in results]
        return {**batch, self.output: vectors, self.error: [told for _, told in results]}

    def sample(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """One row."""
        named = self.media_column(row)
        found = self({named: [row[named]]})
        return {**row, self.output: found[self.output][0], self.error: found[self.error][0]}

    def item(self, medium: Any) -> np.ndarray:
        """(D,) float32 of one medium. Raises what is wrong with it."""
        ((vector, _),) = self._results([medium])
        if isinstance(vector, Exception):
            raise vector
        return vector

    def features(self, features: Any) -> Any:
        """The dataset's and two columns more, for `map(..., features=…)` where a whole batch may be undecodable."""
        from datasets import Features, Sequence, Value

        more = {self.output: Sequence(Value("float32")), self.error: Value("string")}
        return Features({**features, **more})

    def media_column(self, row: Mapping[str, Any]) -> str:
        """The column with the media."""
        wanted = (self.column,) if self.column else COLUMNS[self.task.specs[0].kind]
        for name in wanted:
            if name in row:
                return name
        raise KeyError(f"expected a column {' or '.join(map(repr, wanted))}, got {', '.join(map(str, row))}")

    def _results(self, items: Sequence[Any]) -> list[tuple[np.ndarray | Exception, str]]:
        """The vector of each item, or what is wrong with it, and that in words; batches are shared by all."""
        batcher, wrong = Batcher(self.task.run_batch, self.batch_size), dict[int, Exception]()
        windows: dict[int, list[Record]] = {key: [] for key in range(len(items))}
        notes: dict[int, list[str]] = {key: [] for key in windows}
        for key, item in enumerate(items):
            try:
                for piece in self._pieces(item, notes[key]):
                    _keep_result(batcher.add(key, piece), windows, wrong)
            except Exception as error:  # whatever one row holds must not reach another
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
    """What a row holds, as a path, bytes or a clip."""
    if isinstance(item, str | Path | bytes):
        return item
    if isinstance(item, Mapping):
        if "array" in item:
            return media.array_audio(np.asarray(item["array"]), float(item["sampling_rate"]))
        return _open_medium(item["bytes"] if item.get("bytes") is not None else item.get("path"))
    if item is None:
        raise ValueError("expected a picture, sound or film, got None")
    if hasattr(item, "get_all_samples"):  # torchcodec's AudioDecoder, as datasets 4 gives sound
        samples = item.get_all_samples()
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
