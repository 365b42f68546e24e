"""Show the progress of jobs, transcriptions and training: a bar on a terminal, lines elsewhere, or JSON; on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Literal, TextIO, TypeVar

from .output import format_clock, format_duration

if TYPE_CHECKING:
    from ..jobs.progress import Progress
    from ..speech.results import TranscribeProgress
    from ..training.loop import FitProgress

T = TypeVar("T")
Mode = Literal["auto", "plain", "json", "none"]
Callback = Callable[["Progress"], None]


def show_job_progress(mode: Mode, *, every: float = 5.0) -> AbstractContextManager[Callback | None]:
    """Yield the callback for `embed(on_progress=…)`; the display lasts as long as the context.

    Args:
        mode: auto is a bar on a terminal and lines elsewhere.
        every: seconds between lines; JSON lines come five times as often.
    """
    if mode == "auto":
        return _make_bar() if sys.stderr.isatty() else _print_lines(_describe_progress, sys.stderr, every)
    if mode == "none":
        return nullcontext()
    return (
        _print_lines(_describe_progress, sys.stderr, every)
        if mode == "plain"
        else _print_lines(_progress_json, sys.stderr, every / 5)
    )


def show_transcribe_progress(
    mode: Mode, *, every: float = 5.0
) -> AbstractContextManager[Callable[[TranscribeProgress], None] | None]:
    """Yield the callback for `transcribe(on_progress=…)`, which shows how far one file has been read.

    It cannot show how much is left: the length of a stream is unknown before its end.
    """
    if mode == "none" or (mode == "auto" and not sys.stderr.isatty()):
        return nullcontext()
    return _print_lines(
        _describe_listening if mode != "json" else _listening_json, sys.stderr, every if mode == "plain" else every / 5
    )


def _describe_listening(now: TranscribeProgress) -> str:
    return f"{format_clock(now.heard)} heard" + (f", {now.language}" if now.language else "")


def _listening_json(now: TranscribeProgress) -> str:
    return json.dumps(asdict(now))


def _progress_json(now: Progress) -> str:
    return json.dumps(asdict(now))


def _describe_progress(now: Progress) -> str:
    """Return `412 of 1,000 files, 3 failed, 52.1 per second, 11.3 s left; decode 71%, encode 20% of the time`."""
    handled = _count_handled(now)
    parts = [f"{handled:,} of {now.total:,} files" if now.total is not None else f"{handled:,} files"]
    if now.failed:
        parts.append(f"{now.failed:,} failed")
    parts.append(_format_rate(now.rate))
    if now.eta:
        parts.append(f"{format_duration(now.eta)} left")
    return f"{', '.join(parts)}; {_format_shares(now)}"


def _count_handled(now: Progress) -> int:
    return now.done + now.failed + now.skipped + now.unchanged


def _format_rate(rate: float) -> str:
    # Long videos take seconds each, which "0.0 per second" would hide.
    return f"{rate:.1f} per second" if rate >= 1 or rate == 0 else f"{1 / rate:.1f} seconds each"


def _format_shares(now: Progress) -> str:
    return f"decode {now.decode_share:.0%}, encode {now.encode_share:.0%} of the time"


@contextmanager
def _print_lines(line: Callable[[T], str], stream: TextIO, every: float) -> Iterator[Callable[[T], None]]:
    """Yield a callback that prints a line every `every` seconds, and the last state when the context ends."""
    latest: T | None = None
    printed: T | None = None
    due = time.monotonic() + every

    def show(now: T) -> None:
        nonlocal printed
        print(line(now), file=stream, flush=True)
        printed = now

    def update(now: T) -> None:
        nonlocal latest, due
        latest = now
        if time.monotonic() >= due:
            show(now)
            due = time.monotonic() + every

    try:
        yield update
    finally:
        # Also after an error: the last line says how far it came.
        if latest is not None and latest is not printed:
            show(latest)


@contextmanager
def _make_bar() -> Iterator[Callback]:
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[count]}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[rate]}"),
        TextColumn("[cyan]{task.fields[left]}"),
        TextColumn("[dim]{task.fields[shares]}"),
        TextColumn("[red]{task.fields[failed]}"),
    )
    # Gone at the end, where the report says the same.
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        # None: the number of files is unknown until the folders have been walked.
        task = bar.add_task("", total=None, count="starting", rate="", left="", shares="", failed="")

        def update(now: Progress) -> None:
            handled = _count_handled(now)
            bar.update(
                task,
                total=now.total,
                completed=handled,
                count=f"{handled:,}/{now.total:,}" if now.total is not None else f"{handled:,}",
                rate=_format_rate(now.rate),
                left=f"{format_duration(now.eta)} left" if now.eta else "",
                shares=f"decode {now.decode_share:.0%} encode {now.encode_share:.0%}",
                failed=f"{now.failed:,} failed" if now.failed else "",
            )

        yield update


StepCallback = Callable[["FitProgress"], None]


@contextmanager
def show_training_progress(mode: Mode, *, every: float = 5.0) -> Iterator[StepCallback | None]:
    """Yield the callback for `on_step`; the display lasts as long as the context."""
    if mode == "none":
        yield None
    elif mode == "auto" and sys.stderr.isatty():
        with _draw_steps() as update:
            yield update
    else:
        yield _print_steps(every)


def _describe_step(now: FitProgress) -> str:
    """Return `step 40 of 150, epoch 3, loss 0.412, held out 0.875, lr 0.0008, 12.1 s left`."""
    parts = [f"step {now.step:,} of {now.steps:,}", f"epoch {now.epoch + 1}", f"loss {now.loss:.4g}"]
    if now.score is not None:
        parts.append(f"held out {now.score:.3f}")
    # Steps cost much the same, so the mean so far is a fair guess.
    left = now.seconds / now.step * (now.steps - now.step)
    return ", ".join([*parts, f"lr {now.lr:.2g}", f"{format_duration(left)} left"])


def _print_steps(every: float) -> StepCallback:
    due = 0.0  # the first step is printed at once: it tells that training runs

    def update(now: FitProgress) -> None:
        nonlocal due
        # The last one always, since it has the final loss.
        if time.monotonic() >= due or now.step == now.steps:
            print(_describe_step(now), file=sys.stderr, flush=True)
            due = time.monotonic() + every

    return update


@contextmanager
def _draw_steps() -> Iterator[StepCallback]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (BarColumn(bar_width=24), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda now: bar.update(task, total=now.steps, completed=now.step, description=_describe_step(now))
