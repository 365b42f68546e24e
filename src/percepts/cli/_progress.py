"""A job's progress to a bar on a terminal, a line every few seconds elsewhere, or JSON lines; always on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Literal, TextIO

from ._print import span

if TYPE_CHECKING:
    from ..jobs.progress import Progress

Mode = Literal["auto", "plain", "json", "none"]
Callback = Callable[["Progress"], None]


def progress(mode: Mode, *, every: float = 5.0) -> AbstractContextManager[Callback | None]:
    """The callback for `embed(on_progress=…)`, drawn while the context lasts. `every`: seconds between lines."""
    if mode == "auto":
        return _bar() if sys.stderr.isatty() else _lines(_sentence, sys.stderr, every)
    if mode == "none":
        return nullcontext()
    return _lines(_sentence, sys.stderr, every) if mode == "plain" else _lines(_json, sys.stderr, every / 5)


def _json(now: Progress) -> str:
    return json.dumps(asdict(now))


def _sentence(now: Progress) -> str:
    """`412 of 1,000 sources, 3 failed, 52.1 a second, 11.3 s left; decoding 71 %, encoding 20 % of the time`."""
    handled = _handled(now)
    parts = [f"{handled:,} of {now.total:,} sources" if now.total is not None else f"{handled:,} sources"]
    if now.failed:
        parts.append(f"{now.failed:,} failed")
    parts.append(_rate(now.rate))
    if now.eta:
        parts.append(f"{span(now.eta)} left")
    return f"{', '.join(parts)}; {_shares(now)}"


def _handled(now: Progress) -> int:
    return now.done + now.failed + now.skipped + now.unchanged


def _rate(rate: float) -> str:
    return f"{rate:.1f} a second" if rate >= 1 or rate == 0 else f"{1 / rate:.1f} seconds each"


def _shares(now: Progress) -> str:
    return f"decode {now.decode_share:.0%}, encode {now.encode_share:.0%} of the time"


@contextmanager
def _lines(line: Callable[[Progress], str], stream: TextIO, every: float) -> Iterator[Callback]:
    """One line every `every` seconds, and the last state when the job ends."""
    latest: Progress | None = None
    printed: Progress | None = None
    due = time.monotonic() + every

    def show(now: Progress) -> None:
        nonlocal printed
        print(line(now), file=stream, flush=True)
        printed = now

    def update(now: Progress) -> None:
        nonlocal latest, due
        latest = now
        if time.monotonic() >= due:
            show(now)
            due = time.monotonic() + every

    try:
        yield update
    finally:
        if latest is not None and latest is not printed:
            show(latest)


@contextmanager
def _bar() -> Iterator[Callback]:
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
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, count="starting", rate="", left="", shares="", failed="")

        def update(now: Progress) -> None:
            handled = _handled(now)
            bar.update(
                task,
                total=now.total,
                completed=handled,
                count=f"{handled:,}/{now.total:,}" if now.total is not None else f"{handled:,}",
                rate=_rate(now.rate),
                left=f"{span(now.eta)} left" if now.eta else "",
                shares=f"decode {now.decode_share:.0%} encode {now.encode_share:.0%}",
                failed=f"{now.failed:,} failed" if now.failed else "",
            )

        yield update
