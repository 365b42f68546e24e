"""`percepts train`: a head on vectors, an adapter to a language model, a classifier of sound or pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import PerceptsError
from .job_options import INTERRUPTED
from .output import escape_text, format_duration, print_table
from .output_options import Overwrite
from .progress import Mode, show_job_progress, show_training_progress

if TYPE_CHECKING:
    from ..training.loop import FitResult
    from ..training.metrics import Metrics

BeginAnew = Annotated[
    bool, typer.Option("--overwrite", help="Begin anew and replace what the folder holds; an input is never replaced.")
]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Fit the small parts on your own data.")


@app.command()
def head(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory that `percepts embed` wrote.")],
    labels: Annotated[
        str,
        typer.Option(
            metavar="CSV|folders", help="Columns source and label; or folders: the name of each file's folder."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The head's folder.")],
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="NAME", help="Whose vectors, where there are several.")
    ] = "",
    kind: Annotated[
        Literal["linear", "mlp"], typer.Option(help="Logistic regression, or one hidden layer.")
    ] = "linear",
    task: Annotated[
        Literal["single", "multi"], typer.Option(help="One label a source, or any number, written a|b.")
    ] = "single",
    groups: Annotated[
        str, typer.Option(metavar="COLUMN", help="Hold out each value of this column in turn: speaker, say.")
    ] = "",
    split: Annotated[str, typer.Option(metavar="COLUMN", help="Hold out the rows with `test` in this column.")] = "",
    folds: Annotated[int, typer.Option(min=2, metavar="N", help="Folds, where neither is said.")] = 5,
    strength: Annotated[float, typer.Option(min=0.0001, metavar="N", help="Of the pull towards small weights.")] = 1.0,
    seed: Annotated[int, typer.Option(metavar="N", help="Of folds and initial weights.")] = 0,
    overwrite: Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Fit a classifier on vectors, and say how good it is on sources it did not see.

    percepts train head vectors/ --labels labels.csv --groups speaker -o head/
    """
    from ..training.heads import train_head

    def told(name: str, found: Metrics) -> None:
        typer.echo(escape_text(f"{name}: {found.accuracy:.1%} of {found.count:,}"), err=True)

    with _training_errors():
        done = train_head(
            directory, labels, output, model=model, kind=kind, task=task, groups=groups, split=split, folds=folds,
            strength=strength, seed=seed, overwrite=overwrite, on_fold=told,
        )  # fmt: skip
    if as_json:
        typer.echo((output / "metrics.json").read_text("utf-8"), nl=False)
        return
    head_row = ("held out", "sources", "accuracy", "F1", "mAP")
    rows = [_fold_row(name, found) for name, found in done.folds]
    if len(rows) > 1:
        rows.append(_fold_row("all together", done.overall))
    print_table(head_row, rows, right=head_row[1:])
    if len(done.folds) > 1:
        typer.echo(f"mean over {len(done.folds)} folds: {done.mean_accuracy:.1%}")
    typer.echo(
        escape_text(
            f"{len(done.labels)} labels, fitted to {done.sources:,} sources ({done.windows:,} windows), in {output}"
        )
    )


def _fold_row(name: str, found: Metrics) -> tuple[str, ...]:
    return (name, f"{found.count:,}", f"{found.accuracy:.1%}", f"{found.f1:.3f}", f"{found.mean_average_precision:.3f}")


@app.command()
def adapter(
    table: Annotated[Path, typer.Argument(metavar="CSV", help="Columns source and text; with kl also transcript.")],
    encoder: Annotated[str, typer.Option("--encoder", metavar="NAME", help="Whose frames the model is to read.")],
    lm: Annotated[str, typer.Option("--lm", metavar="NAME", help="A causal language model: a folder or a hub id.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The adapter's folder.")],
    prompt: Annotated[
        str, typer.Option(metavar="TEXT", help="With one of <image>, <audio>, <video> where the soft tokens stand.")
    ],
    kind: Annotated[str, typer.Option(help="linear, mlp2x_gelu, stack, conv, perceiver or qformer.")] = "linear",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting of that kind: k=5, say.")
    ] = None,
    loss: Annotated[
        Literal["ce", "kl"], typer.Option(help="The text itself, or what the model would say after the transcript.")
    ] = "ce",
    steps: Annotated[int, typer.Option(min=0, metavar="N", help="In all. [default: as many as --epochs has]")] = 0,
    epochs: Annotated[int, typer.Option(min=1, metavar="N", help="Times through the data.")] = 10,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Sources a step.")] = 16,
    lr: Annotated[float, typer.Option(min=0, metavar="N", help="Highest learning rate.")] = 1e-3,
    warmup: Annotated[
        float, typer.Option(min=0, max=0.99, metavar="N", help="Share of steps in which it rises.")
    ] = 0.03,
    every: Annotated[
        int, typer.Option(min=0, metavar="N", help="Steps from one checkpoint to the next. [default: an epoch]")
    ] = 0,
    patience: Annotated[
        int, typer.Option(min=0, metavar="N", help="Stop after so many checkpoints without a better score; 0: never.")
    ] = 0,
    held_out: Annotated[float, typer.Option(min=0, max=0.9, metavar="N", help="Share of sources to score on.")] = 0.1,
    seed: Annotated[int, typer.Option(metavar="N", help="Of weights, order and what is held out.")] = 0,
    fps: Annotated[
        float, typer.Option(min=0.001, metavar="N", help="Frames looked at in each second of a film.")
    ] = 1.0,
    hop: Annotated[
        float | None, typer.Option(min=0.001, metavar="SECONDS", help="From one window of sound to the next.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=0, metavar="N", help="Processes that decode.")] = None,
    overwrite: BeginAnew = False,
    show: Annotated[
        Mode, typer.Option("--progress", help="A bar on a terminal and lines elsewhere, or as said.")
    ] = "auto",
) -> None:
    """Fit an adapter between a frozen encoder and a frozen language model.

    Run it again to go on after an interruption: it ends at the same weights.

    percepts train adapter talks.csv --encoder melstats --lm ./llama --prompt "Say it: <audio>" -o adapter/
    """
    from ..training.adapter import train_adapter
    from ..training.plan import Plan

    with _training_errors(), show_job_progress(show) as on_progress, show_training_progress(show) as on_step:
        plan = Plan(steps=steps, epochs=epochs, batch_size=batch_size, lr=lr, warmup=warmup, every=every,
                    patience=patience, seed=seed)  # fmt: skip
        _, done = train_adapter(
            table, output, encoder=encoder, lm=lm, prompt=prompt, kind=kind, settings=_parse_settings(settings or ()),
            objective=loss, plan=plan, held_out=held_out, fps=fps, hop=hop, workers=workers, overwrite=overwrite,
            on_step=on_step, on_progress=on_progress,
        )  # fmt: skip
    _print_result(done, output)


@app.command()
def ast(
    table: Annotated[Path, typer.Argument(metavar="CSV", help="Columns source and label.")],
    base: Annotated[
        str, typer.Option(metavar="NAME", help="A checkpoint's folder or hub id; small: a small AST from nothing.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="A transformers directory.")],
    recipe: Annotated[
        str, typer.Option(help="plain, audioset, audioset-balanced, esc-50 or speech-commands.")
    ] = "plain",
    task: Annotated[
        Literal["single", "multi", "regression"] | None, typer.Option(help="What a label is. [default: the recipe's]")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="In all. [default: the recipe's epochs]")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, metavar="N", help="[default: the recipe's]")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, metavar="N", help="[default: the recipe's]")] = None,
    lr: Annotated[float | None, typer.Option(min=0, metavar="N", help="[default: the recipe's]")] = None,
    patience: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Stop after so many epochs without a better score.")
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(min=16, metavar="N", help="Frames of 10 ms in a window; positions are cut or stretched."),
    ] = None,
    split: Annotated[str, typer.Option(metavar="COLUMN", help="Hold out the rows with `test` in this column.")] = "",
    held_out: Annotated[float, typer.Option(min=0, max=0.9, metavar="N", help="Share held out, else.")] = 0.1,
    lora: Annotated[int, typer.Option(min=0, metavar="RANK", help="Train adapters of this rank; 0: all weights.")] = 0,
    norm: Annotated[
        Literal["exact", "authors"],
        typer.Option(help="How mean and deviation are measured, where the recipe has none."),
    ] = "exact",
    seed: Annotated[int, typer.Option(metavar="N", help="Of weights, order and augmentation.")] = 0,
    overwrite: BeginAnew = False,
    show: Annotated[
        Mode, typer.Option("--progress", help="A bar on a terminal and lines elsewhere, or as said.")
    ] = "auto",
) -> None:
    """Fine-tune an AST, or another classifier of sound or pictures.

    percepts train ast labels.csv --base small --recipe plain --lr 0.001 --split split -o digits/
    """
    from ..training.ast import train_ast
    from ..training.baselines import find_processes
    from ..training.initialise import SmallAst
    from ..training.recipes import RECIPES

    asked: dict[str, Any] = {
        "steps": steps,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "patience": patience,
        "seed": seed,
    }
    with _training_errors(), show_training_progress(show) as on_step:
        if recipe not in RECIPES:
            raise ValueError(f"expected --recipe of {', '.join(RECIPES)}, got {recipe!r}")
        chosen = RECIPES[recipe]
        plan = replace(chosen.plan, **{name: value for name, value in asked.items() if value is not None})
        changes: dict[str, Any] = {name: value for name, value in (("task", task), ("max_length", max_length)) if value}
        done = train_ast(
            table, output, base=SmallAst() if base == "small" else base, recipe=replace(chosen, **changes), plan=plan,
            split=split, held_out=held_out, lora=lora, norm=norm, overwrite=overwrite, on_step=on_step,
        )  # fmt: skip
    if not find_processes().first:
        return
    if done.stats and done.stats.frames:
        typer.echo(f"log filter banks: mean {done.stats.mean:.4f}, deviation {done.stats.std:.4f}")
    if done.before is not None:
        typer.echo(f"{done.metric} on held-out sources: {done.before:.3f} before training, {done.after:.3f} after")
    _print_result(done.fitted, output)


@contextmanager
def _training_errors() -> Iterator[None]:
    """A ValueError is a command typed wrongly; those of media are not. Ctrl-C leaves what there is, and says so."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("Interrupted; the last checkpoint is kept. To go on, run the same command again.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except PerceptsError:
        raise
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _parse_settings(words: Sequence[str]) -> dict[str, Any]:
    """`k=5 project=swiglu norm=false` as values."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"expected --set NAME=VALUE, got {word!r}")
        plain = {"true": True, "false": False}.get(value.lower(), value)
        found[name] = int(value) if value.isdigit() else plain
    return found


def _print_result(done: FitResult, output: Path) -> None:
    told = [f"{done.steps:,} steps", f"loss {done.loss:.4g}"]
    if done.best is not None:
        told.append(f"best on what was held out {done.best:.3f}, after step {done.best_step:,}")
    if done.resumed_from:
        told.append(f"gone on from step {done.resumed_from:,}")
    if done.stopped:
        told.append("stopped early")
    typer.echo(escape_text(f"{', '.join(told)} ({format_duration(done.seconds)}), in {output}"))
