"""Fit a model in batches: warm-up, decay, validation and early stopping. A run that was killed resumes without loss.

Everything random in a step comes from the seed and the number of the step, so a resumed run takes the very steps that
it would have taken, and on one CPU with as many threads it ends at the very same weights.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import nn

from ..errors import JobDamaged, SettingsDiffer
from ..support.files import atomic_file, is_file, remove_file
from ..support.outputs import check_output_file
from .baselines import find_processes
from .plan import Plan

CHECKPOINT, LOG = "checkpoint.safetensors", "log.csv"
COLUMNS = ("step", "epoch", "lr", "loss", "score", "seconds")

Loss = Callable[[Sequence[int], torch.Generator], torch.Tensor]
"""Numbers of examples and a source of randomness to the mean loss of the batch."""


@dataclass(frozen=True, slots=True)
class FitProgress:
    """The state of a run after a step. `loss` is the mean since the last validation, `score` the last one."""

    step: int
    steps: int
    epoch: int
    lr: float
    loss: float
    score: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class FitResult:
    """The result of a run. `best` is the highest score, at `best_step`; `stopped`: patience ended it."""

    steps: int
    loss: float
    score: float | None
    best: float | None
    best_step: int
    stopped: bool
    seconds: float
    resumed_from: int


class FitKeywords(TypedDict, total=False):
    """The fields of FitOptions as keyword arguments: `**options: Unpack[FitKeywords]`."""

    validate: Callable[[], float] | None
    on_step: Callable[[FitProgress], None] | None
    draw: np.ndarray | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitOptions:
    """How a run is scored, watched and fed.

    validate   returns a score, higher is better. None: no validation; the last weights stay
    on_step    called after every step
    draw       (count,) weights by which examples are drawn with replacement; None: each once per epoch
    """

    validate: Callable[[], float] | None = None
    on_step: Callable[[FitProgress], None] | None = None
    draw: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.draw is not None and (self.draw.ndim != 1 or not self.draw.min(initial=0) >= 0):
            raise ValueError(f"expected draw as (count,) weights of 0 or more, got {self.draw!r}")


@dataclass
class _State:
    """What a checkpoint holds beside the weights."""

    step: int = 0
    best: float | None = None
    best_step: int = 0
    averaged: int = 0
    seconds: float = 0.0
    log: list[list[Any]] = field(default_factory=list)


def fit(
    model: nn.Module,
    loss: Loss,
    count: int,
    plan: Plan,
    folder: str | Path,
    *,
    settings: Mapping[str, Any],
    overwrite: bool = False,
    **options: Unpack[FitKeywords],
) -> FitResult:
    """Fit the parameters of `model` that need gradients; afterwards they are the best ones, or the mean.

    Args:
        model: what is trained; nothing else is changed.
        loss: computes the loss of a batch.
        count: number of examples.
        plan: how long and how fast.
        folder: for log.csv and the checkpoint. A run with the same settings resumes there; another one is refused.
        settings: everything else that changes the result, as JSON.
        overwrite: start again, whatever the folder holds.
        options: any of the following.

    Keyword Args:
        validate (Callable[[], float] | None): returns a score, higher is better. None: no validation; the last weights
            stay.
        on_step (Callable[[FitProgress], None] | None): called after every step.
        draw (np.ndarray | None): (count,) weights by which examples are drawn with replacement; None: each once per
            epoch.

    Raises FileExistsError where log.csv is not that of a run, SettingsDiffer with the name of the setting that differs,
    ValueError where there is nothing to train on.
    """
    checked = FitOptions(**options)
    if count < 1:
        raise ValueError("expected at least one example to train on, got none")
    folder = Path(folder)
    check_run(folder, overwrite=overwrite)
    # The checkpoint alone: log.csv is replaced at the first validation.
    if overwrite and find_processes().first:
        remove_file(folder / CHECKPOINT)
    find_processes().wait_for_all()
    return _Fit(model, loss, count, plan.of(count), folder, dict(settings), checked).run()


def check_run(folder: Path, *, overwrite: bool = False) -> None:
    """Raise FileExistsError where the folder holds a log.csv that is not that of a run."""
    check_output_file(folder / CHECKPOINT, overwrite=True)  # `_resume` tells whose it is
    check_output_file(folder / LOG, overwrite=overwrite or _is_log(folder / LOG))


def _is_log(path: Path) -> bool:
    head = ",".join(COLUMNS).encode()
    if not is_file(path):
        return False
    with path.open("rb") as file:
        return file.read(len(head)) == head


class _Fit:
    def __init__(
        self, model: nn.Module, loss: Loss, count: int, plan: Plan, folder: Path, settings: dict[str, Any],
        options: FitOptions,
    ) -> None:  # fmt: skip
        self.model, self.loss, self.count, self.plan, self.folder = model, loss, count, plan, folder
        self.validate, self.on_step, self.draw = options.validate, options.on_step, options.draw
        # Through JSON and back, so that tuples compare equal to the lists of a stored run.
        self.settings = json.loads(json.dumps({**settings, **asdict(plan), "examples": count}))
        self.weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not self.weights:
            raise ValueError("expected a model with parameters to train, all of them are frozen")
        # Buffers, such as running means, are no parameters, but are part of the state to restore.
        self.buffers = dict(model.named_buffers())
        self.optimizer = torch.optim.AdamW(self.weights.values(), plan.lr, weight_decay=plan.weight_decay)
        self.best: dict[str, torch.Tensor] = {}
        self.mean: dict[str, torch.Tensor] = {}
        self.state, self.peers = _State(), find_processes()
        folder.mkdir(parents=True, exist_ok=True)

    def run(self) -> FitResult:
        self._resume()
        # Earlier than now by what former runs took, so that seconds add up over restarts.
        begun, state, plan = time.monotonic() - self.state.seconds, self.state, self.plan
        resumed, losses, stopped = state.step, list[float](), self._is_out_of_patience()
        for step, batch in self._batches(state.step):
            if stopped:
                break
            losses.append(self._step(step, batch))
            state.step, state.seconds = step + 1, time.monotonic() - begun
            last = state.step == plan.steps
            if plan.average_from is not None and (self._is_epoch_end() or last):
                self._average()
            if state.step % plan.every == 0 or last:
                self._validate_and_log(float(np.mean(losses)))
                losses = []
                stopped = self._is_out_of_patience()
            if self.on_step:
                self.on_step(self._format_losses(losses))
        self._finish()
        final = state.log[-1]
        return FitResult(state.step, final[3], final[4], state.best, state.best_step, stopped, state.seconds, resumed)

    def _step(self, step: int, batch: Sequence[int]) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.lr * self.plan.factor(step, self.count)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        # A process without an example takes the first and counts it 0: all must meet in `mean`.
        own = batch[self.peers.rank :: self.peers.count] or batch[:1]
        # So that the mean over processes is the mean over examples, where shares are uneven.
        share = len(own) * self.peers.count / len(batch) if len(batch) > self.peers.rank else 0.0
        generator = torch.Generator().manual_seed(self._seed_step(step))
        # Dropout draws from the global generator: seeded for each step, and put back afterwards.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed_step(step))
            value = self.loss(own, generator) * share
        if not value.isfinite():
            raise FloatingPointError(
                f"the loss is {value.item()} in step {step}: try a smaller --lr than {self.plan.lr:g}"
            )
        value.backward()  # type: ignore[no-untyped-call]
        for weight in self.weights.values():
            if weight.grad is not None:
                # Gradients and not weights are averaged, so every process takes the same step.
                weight.grad = self.peers.mean(weight.grad)
        self.optimizer.step()
        return self.peers.mean(value.detach()).item()

    def _seed_step(self, step: int) -> int:
        # SeedSequence mixes both numbers: seed + step would give the runs of two seeds the same draws.
        return int(np.random.SeedSequence([self.plan.seed, step]).generate_state(1)[0])

    def _batches(self, first: int) -> Iterator[tuple[int, list[int]]]:
        """Yield batches from step number `first` on; the order of an epoch comes from the seed and its number alone."""
        size = self.plan.batch_size
        each = -(-self.count // size)
        order, of = np.empty(0, int), -1
        for step in range(first, self.plan.steps):
            epoch, place = divmod(step, each)
            if epoch != of:
                rng, of = np.random.default_rng([self.plan.seed, epoch]), epoch
                # As many draws as there are examples, so that an epoch is as long with weights as without.
                order = rng.permutation(self.count) if self.draw is None else rng.choice(
                    self.count, self.count, p=self.draw / self.draw.sum()
                )  # fmt: skip
            yield step, order[place * size : (place + 1) * size].tolist()

    def _is_epoch_end(self) -> bool:
        return self.state.step % -(-self.count // self.plan.batch_size) == 0

    def _current_epoch(self) -> int:
        return (self.state.step - 1) // -(-self.count // self.plan.batch_size)

    def _average(self) -> None:
        """Update the running mean of the weights after every epoch that counts."""
        if self._current_epoch() < (self.plan.average_from or 0):
            return
        self.state.averaged += 1
        for name, value in self.weights.items():
            old = self.mean.setdefault(name, torch.zeros_like(value))
            # A running mean needs one copy of the weights, however many epochs it is taken over.
            old += (value.detach() - old) / self.state.averaged

    def _validate_and_log(self, loss: float) -> None:
        """Validate, write the log and save the checkpoint."""
        state, score = self.state, None
        if self.validate:
            self.model.eval()
            with torch.no_grad():
                score = float(self.validate())
            if state.best is None or score > state.best:
                state.best, state.best_step = score, state.step
                # A clone, because the optimiser changes weights in place.
                self.best = {name: value.detach().clone() for name, value in self._collect_tensors().items()}
        lr = self.optimizer.param_groups[0]["lr"]
        state.log.append([state.step, self._current_epoch(), lr, loss, score, round(state.seconds, 3)])
        if self.peers.first:
            # Written as a whole, so that lines of steps that a killed run did not save are dropped.
            with atomic_file(self.folder / LOG) as file:
                file.write(_format_csv(state.log))
            self._save()
        self.peers.wait_for_all()

    def _is_out_of_patience(self) -> bool:
        """Return True after `patience` validations in a row without a better score."""
        # Counted from the log, which the checkpoint holds, so a resumed run stops at the same step.
        waited = sum(row[0] > self.state.best_step for row in self.state.log)
        return bool(self.validate) and 0 < self.plan.patience <= waited

    def _format_losses(self, losses: Sequence[float]) -> FitProgress:
        state, log = self.state, self.state.log
        loss = float(np.mean(losses)) if losses else log[-1][3]
        score = log[-1][4] if log else None
        lr = self.optimizer.param_groups[0]["lr"]
        return FitProgress(state.step, self.plan.steps, self._current_epoch(), lr, loss, score, state.seconds)

    def _collect_tensors(self) -> dict[str, torch.Tensor]:
        return {**self.weights, **self.buffers}

    def _finish(self) -> None:
        # A mean goes before the best score, as AST's authors take it for AudioSet.
        kept = self.mean if self.mean else self.best
        with torch.no_grad():
            for name, value in self._collect_tensors().items():
                if name in kept:
                    value.copy_(kept[name])
        self.model.eval()

    def _save(self) -> None:
        tensors = {f"weights.{name}": value.detach() for name, value in self._collect_tensors().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        tensors |= {f"mean.{name}": value for name, value in self.mean.items()}
        for name, value in self.weights.items():
            # Adam's moments are saved, else the first steps after a restart would differ.
            tensors |= {f"adam.{part}.{name}": t for part, t in self.optimizer.state[value].items()}
        facts = {"settings": json.dumps(self.settings), "state": json.dumps(asdict(self.state))}
        data = to_bytes({name: value.cpu().contiguous() for name, value in tensors.items()}, facts)
        with atomic_file(self.folder / CHECKPOINT) as file:
            file.write(data)

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        if not path.is_file():
            return
        try:
            with safe_open(path, "pt") as file:
                facts = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
            settings, state = json.loads(facts["settings"]), _State(**json.loads(facts["state"]))
        # A damaged file can fail anywhere: in safetensors, in JSON, or for a field that is missing.
        except Exception as error:
            raise JobDamaged(f"{path}: cannot be read as the checkpoint of a run ({error}); delete it to begin again, "
                             "or move it away if it is something else") from error  # fmt: skip
        _check_same(settings, self.settings, self.folder)
        self.state = state
        parts = {part: _select_prefix(tensors, part) for part in ("weights", "best", "mean")}
        self.best, self.mean = parts["best"], parts["mean"]
        with torch.no_grad():
            for name, value in self._collect_tensors().items():
                value.copy_(parts["weights"][name])
        for name, value in self.weights.items():
            self.optimizer.state[value] = {
                part: tensors[f"adam.{part}.{name}"] for part in ("step", "exp_avg", "exp_avg_sq")
                if f"adam.{part}.{name}" in tensors
            }  # fmt: skip


def _select_prefix(tensors: Mapping[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")}


def _check_same(old: Mapping[str, Any], new: Mapping[str, Any], folder: Path) -> None:
    differ = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if differ:
        name = differ[0]
        raise SettingsDiffer(
            f"{folder} holds a run with {name} = {old.get(name)!r}, asked for is {new.get(name)!r}; "
            "say it as before to go on, take another folder, or begin anew with --overwrite"
        )


def _format_csv(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    return text.getvalue().encode()
