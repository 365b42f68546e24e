"""Steps of a training run to a bar on a terminal, or to a line every few seconds; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ._print import format_duration
from ._progress import Mode

if TYPE_CHECKING:
    from ..training.loop import FitProgress

Callback = Callable[["FitProgress"], None]


@contextmanager
def show_training_progress(mode: Mode, *, every: float = 5.0) -> Iterator[Callback | None]:
    """The callback for `on_step`, drawn while the context lasts."""
    if mode == "none":
        yield None
    elif mode == "auto" and sys.stderr.isatty():
        with _bar() as update:
            yield update
    else:
        yield _lines(every)


def _sentence(now: FitProgress) -> str:
    """`step 40 of 150, epoch 3, loss 0.412, held out 0.875, lr 0.0008, 12.1 s left`."""
    parts = [f"step {now.step:,} of {now.steps:,}", f"epoch {now.epoch + 1}", f"loss {now.loss:.4g}"]
    if now.score is not None:
        parts.append(f"held out {now.score:.3f}")
    left = now.seconds / now.step * (now.steps - now.step)
    return ", ".join([*parts, f"lr {now.lr:.2g}", f"{format_duration(left)} left"])


def _lines(every: float) -> Callback:
    due = 0.0

    def update(now: FitProgress) -> None:
        nonlocal due
        if time.monotonic() >= due or now.step == now.steps:
            print(_sentence(now), file=sys.stderr, flush=True)
            due = time.monotonic() + every

    return update


@contextmanager
def _bar() -> Iterator[Callback]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (BarColumn(bar_width=24), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda now: bar.update(task, total=now.steps, completed=now.step, description=_sentence(now))
