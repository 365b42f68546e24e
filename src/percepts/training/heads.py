"""Train a small classifier on the vectors of a job directory, and measure it on sources that it was not trained on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypedDict, Unpack, get_args

import numpy as np
from safetensors.numpy import save

from ..encoders import is_hub_spec, list_models
from ..encoders.builtin.head import MODEL_TYPE, WEIGHTS, forward
from ..encoders.scores import scores_to_probabilities
from ..errors import JobError, MissingExtra
from ..support.outputs import check_output_files, output_file
from . import plots
from .fitters import FITTERS, FitterSettings, Weights
from .job_vectors import IN_MEMORY, JobVectors, load_job_vectors
from .label_table import label_by_folder, read_label_table
from .metrics import Metrics, measure_predictions

Kind = Literal["linear", "mlp"]
Task = Literal["single", "multi"]
CONFIG, METRICS, CONFUSION = "config.json", "metrics.json", "confusion.png"
FILES = (WEIGHTS, METRICS, CONFUSION, CONFIG)
"""What is written to the folder of a head."""


class HeadKeywords(TypedDict, total=False):
    """The fields of HeadOptions as keyword arguments: `**options: Unpack[HeadKeywords]`."""

    kind: Kind
    task: Task
    groups: str
    split: str
    folds: int
    strength: float
    seed: int
    in_memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadOptions:
    """How a head is fitted and measured; `train_head` says what each field means."""

    kind: Kind = "linear"
    task: Task = "single"
    groups: str = ""
    split: str = ""
    folds: int = 5
    strength: float = 1.0
    seed: int = 0
    in_memory: int = IN_MEMORY

    def __post_init__(self) -> None:
        if self.kind not in FITTERS or self.task not in get_args(Task):
            raise ValueError(
                f"expected kind of {', '.join(FITTERS)} and task of single or multi, "
                f"got {self.kind!r} and {self.task!r}"
            )
        if self.groups and self.split:
            raise ValueError("expected groups or split, not both: each says what is held out")


@dataclass(frozen=True, slots=True, eq=False)
class TrainedHead:
    """The result of a training.

    labels    in the order of the probabilities
    overall   metrics of all predictions for held-out sources together
    folds     the name of each fold (the group held out, or a number) and its metrics
    sources, windows   how many the final head was fitted to
    """

    output: Path
    labels: tuple[str, ...]
    overall: Metrics
    folds: tuple[tuple[str, Metrics], ...]
    sources: int
    windows: int

    @property
    def mean_accuracy(self) -> float:
        """The mean accuracy over folds: each speaker counts alike, however much they said."""
        return float(np.mean([metrics.accuracy for _, metrics in self.folds]))


def train_head(
    directory: str | Path,
    labels: str | Path,
    output: str | Path,
    *,
    model: str = "",
    overwrite: bool = False,
    on_fold: Callable[[str, Metrics], None] | None = None,
    **options: Unpack[HeadKeywords],
) -> TrainedHead:
    """Fit a head on the vectors of a job directory; measured on held-out sources, then fitted to all of them.

    Args:
        directory: of `percepts embed`.
        labels: a CSV with columns `source` and `label`; or "folders": each source's label is its folder's name.
        output: the head's folder: `percepts classify --model` and `percepts.load` take it.
        model: whose vectors, where the directory holds several.
        overwrite: replace the head that is in the folder; the CSV and the sources are never replaced.
        on_fold: called as each fold is measured.
        options: any of the following.

    Keyword Args:
        kind (Kind): "linear" (the default) is logistic regression, "mlp" has one hidden layer of 256.
        task (Task): "single" (the default): one label a source; "multi": any number, written `a|b`.
        groups (str): a column of the CSV: each of its values is held out in turn, as speakers are to be.
        split (str): a column of the CSV: rows with `test` there are held out; the final head is not fitted to them
            either.
        folds (int): number of folds where neither is given. Default 5.
        strength (float): of the pull towards small weights. Default 1.0.
        seed (int): of folds and of initial weights. Default 0.
        in_memory (int): bytes of vectors above which torch fits them from a file, batch by batch.

    Raises ValueError where labels and vectors do not meet, JobError where there are no vectors, FileExistsError where
    the folder holds a file of one of the four names and `overwrite` is False.
    """
    how = HeadOptions(**options)
    try:
        import sklearn  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra(f"heads need {error.name}: pip install 'percepts[train]'") from error
    # Checked twice: now for what needs no directory, and again when the sources are known.
    inputs = [] if str(labels) == "folders" else [labels]
    check_output_files((Path(output) / name for name in FILES), inputs=inputs, overwrite=overwrite)
    data = load_job_vectors(directory, model, in_memory=how.in_memory)
    if not len(data.sources):
        raise JobError(f"{directory} holds no vectors yet; its ledger says why")
    unique = sorted(set(data.sources))
    inputs += unique
    check_output_files((Path(output) / name for name in FILES), inputs=inputs, overwrite=overwrite)
    columns = ["label", *filter(None, (how.groups, how.split))]
    rows = label_by_folder(unique) if str(labels) == "folders" else read_label_table(labels, columns)
    examples = _LabelledWindows.of(data, rows, how.task)
    fitter, settings = FITTERS[how.kind], FitterSettings(how.task, how.strength, how.seed, how.in_memory)

    def fitted(chosen: np.ndarray) -> Weights:
        return fitter(data.data, chosen[examples.owner] & examples.used, examples.truth, examples.owner, settings)

    found, truths, said = list[tuple[str, Metrics]](), list[np.ndarray](), list[np.ndarray]()
    plan = list(_split_folds(examples, how))
    for name, test in plan:
        chances = examples.predict(data, fitted(~test), test, how.task)
        truths.append(examples.truth[test])
        said.append(chances)
        found.append((name, measure_predictions(truths[-1], chances)))
        if on_fold:
            on_fold(*found[-1])
    whole = measure_predictions(np.concatenate(truths), np.concatenate(said))
    # Folds are only for measuring, but a test split stays unseen by the final head, too.
    kept = ~plan[0][1] if how.split else np.ones(len(examples.truth), bool)
    result = TrainedHead(Path(output), examples.labels, whole, tuple(found), int(kept.sum()),
                     int((kept[examples.owner] & examples.used).sum()))  # fmt: skip
    made = {"kind": how.kind, "task": how.task, "strength": how.strength, "seed": how.seed}
    _save_head(result, fitted(kept), data, made, partial(output_file, inputs=inputs, overwrite=overwrite))
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _LabelledWindows:
    """The windows of a job with their labels.

    labels  (C,)
    truth   (S, C) of the labelled sources
    owner   (W,) number of the source of each window, -1 where it has no label
    used    (W,) bool: the source has a label
    rows    (S,) rows of the table
    """

    labels: tuple[str, ...]
    truth: np.ndarray
    owner: np.ndarray
    used: np.ndarray
    rows: list[dict[str, str]]

    @classmethod
    def of(cls, data: JobVectors, rows: Sequence[dict[str, str]], task: Task) -> _LabelledWindows:
        there = set(data.sources)
        rows = [row for row in rows if row["source"] in there and row["label"]]
        if not rows:
            raise ValueError(
                f"none of the labelled sources is in the directory; there it begins with {sorted(there)[0]}; paths in "
                "the CSV are seen from the CSV's folder"
            )
        each = [row["label"].split("|") if task == "multi" else [row["label"]] for row in rows]
        names = sorted({name for found in each for name in found})
        if len(names) < 2:
            raise ValueError(f"expected at least two labels, got {', '.join(names)}")
        truth = np.array([[name in found for name in names] for found in each])
        # Many windows have the same source: looked up once, not searched.
        place = {row["source"]: i for i, row in enumerate(rows)}
        owner = np.array([place.get(source, -1) for source in data.sources])
        return cls(tuple(names), truth, owner, owner >= 0, rows)

    def predict(self, data: JobVectors, weights: Weights, test: np.ndarray, task: str) -> np.ndarray:
        """Return (n, C) for the n held-out sources: the mean of the probabilities of their windows."""
        chosen = np.flatnonzero(test[self.owner] & self.used)
        total, count = np.zeros(self.truth.shape), np.zeros(len(self.truth))
        # In parts, because the vectors may be mapped from a file larger than memory.
        for part in np.array_split(chosen, max(1, len(chosen) // 65_536)):
            np.add.at(
                total, self.owner[part], scores_to_probabilities(forward(weights, data.data[part]), task == "multi")
            )
            np.add.at(count, self.owner[part], 1)
        return np.asarray(total[test] / count[test, None])


def _split_folds(examples: _LabelledWindows, how: HeadOptions) -> Sequence[tuple[str, np.ndarray]]:
    """Return the name of each fold and (S,) bool, True for the sources that it holds out."""
    groups, split, folds = how.groups, how.split, how.folds
    if split:
        test = np.array([row[split] == "test" for row in examples.rows])
        if test.all() or not test.any():
            counts = f"{test.sum()} of {len(test)}"
            raise ValueError(f"expected some rows with `test` in column {split!r} and some without, got {counts}")
        return [("test", test)]
    if groups:
        of = np.array([row[groups] for row in examples.rows])
        names = sorted(set(of))
        if len(names) < 2:
            raise ValueError(f"expected at least two groups in column {groups!r}, got {', '.join(names)}")
        return [(name, of == name) for name in names]
    rarest = int(examples.truth.sum(axis=0).min())
    if not 2 <= folds <= len(examples.truth):
        raise ValueError(f"expected folds from 2 to the number of sources, {len(examples.truth)}, got {folds}")
    from sklearn.model_selection import KFold, StratifiedKFold

    # scikit-learn stratifies by one label, and wants as many examples of each as there are folds.
    single = (examples.truth.sum(axis=1) == 1).all() and rarest >= folds
    cutter = (StratifiedKFold if single else KFold)(folds, shuffle=True, random_state=how.seed)
    of = np.empty(len(examples.truth), int)
    for number, (_, test) in enumerate(cutter.split(examples.truth, examples.truth.argmax(axis=1))):
        of[test] = number
    return [(f"fold {number + 1}", of == number) for number in range(folds)]


def _save_head(
    result: TrainedHead, weights: Weights, data: JobVectors, made: dict[str, Any],
    opened: Callable[[Path], AbstractContextManager[BinaryIO]],
) -> None:  # fmt: skip
    """Write head.safetensors, metrics.json and confusion.png, and config.json last."""
    with opened(result.output / WEIGHTS) as file:
        file.write(save({name: np.ascontiguousarray(w) for name, w in weights.items()}))
    spec = data.spec
    told = {name: _metrics_to_json(metrics) for name, metrics in (("held_out", result.overall), *result.folds)}
    with opened(result.output / METRICS) as file:
        file.write(_json({"mean_accuracy_of_folds": result.mean_accuracy, **told}))
    if result.overall.confusion is not None:
        title = f"{spec.name}: {result.overall.accuracy:.1%} of {result.overall.count:,} held-out sources right"
        with opened(result.output / CONFUSION) as file:
            plots.plot_confusion(result.overall.confusion, result.labels, file, title=title)
    encoder = spec.weights[0] if is_hub_spec(spec) and spec.name not in list_models() else spec.name
    with opened(result.output / CONFIG) as file:
        file.write(_json({"model_type": MODEL_TYPE, "encoder": encoder, "labels": result.labels, **made}))


def _metrics_to_json(metrics: Metrics) -> dict[str, Any]:
    return {"sources": metrics.count, "accuracy": metrics.accuracy, "f1": metrics.f1,
            "mAP": metrics.mean_average_precision}  # fmt: skip


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
