"""Define `percepts train`, which fits heads, adapters and classifiers on the user's data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .errors import usage_errors
from .job_options import INTERRUPTED
from .media import Fps, Hop
from .memory import with_memory_limit
from .output import escape_text, format_count, format_duration, print_table
from .output_options import Overwrite
from .progress import Mode, show_job_progress, show_training_progress

if TYPE_CHECKING:
    from ..training.loop import FitResult
    from ..training.metrics import Metrics

BeginAnew = Annotated[
    bool, typer.Option("--overwrite", help="Start again and replace what the folder holds. An input is never replaced.")
]

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Train heads, adapters and classifiers on your own data."
)


@app.command()
def head(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Job directory of `percepts embed`.")],
    labels: Annotated[
        str,
        typer.Option(
            metavar="CSV|folders",
            help="Table with columns source and label; or folders, to label each file by the name of its folder.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write the head to.")],
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="NAME", help="Encoder whose vectors to use, if the directory holds several."
        ),
    ] = "",
    kind: Annotated[
        Literal["linear", "mlp"], typer.Option(help="Kind of head: logistic regression, or one hidden layer.")
    ] = "linear",
    task: Annotated[
        Literal["single", "multi"], typer.Option(help="Labels per file: one, or any number written a|b.")
    ] = "single",
    groups: Annotated[
        str, typer.Option(metavar="COLUMN", help="Column whose values are held out in turn, such as speaker.")
    ] = "",
    split: Annotated[
        str, typer.Option(metavar="COLUMN", help="Column that holds `test` in the rows to hold out.")
    ] = "",
    folds: Annotated[int, typer.Option(min=2, metavar="N", help="Number of folds, without --groups and --split.")] = 5,
    strength: Annotated[float, typer.Option(min=0.0001, metavar="N", help="L2 regularisation strength.")] = 1.0,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed of folds and initial weights.")] = 0,
    overwrite: Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Train a classifier on vectors and measure it on held-out files.

    percepts train head vectors/ --labels labels.csv --groups speaker -o head/
    """
    from ..training.heads import train_head

    def show_fold(name: str, metrics: Metrics) -> None:
        # Each fold as it ends, since the table comes only after the last.
        typer.echo(escape_text(f"{name}: {metrics.accuracy:.1%} of {metrics.count:,} files"), err=True)

    with _training_errors():
        result = train_head(
            directory, labels, output, model=model, kind=kind, task=task, groups=groups, split=split, folds=folds,
            strength=strength, seed=seed, overwrite=overwrite, on_fold=show_fold,
        )  # fmt: skip
    if as_json:
        # The file itself, so that both say the same to the last digit.
        typer.echo((output / "metrics.json").read_text("utf-8"), nl=False)
        return
    head_row = ("held out", "files", "accuracy", "F1", "mAP")
    rows = [_fold_row(name, metrics) for name, metrics in result.folds]
    # One fold would be repeated.
    if len(rows) > 1:
        rows.append(_fold_row("all together", result.overall))
    print_table(head_row, rows, right=head_row[1:])
    if len(result.folds) > 1:
        # Papers report this mean, which weights small and large folds alike; the row above counts files.
        typer.echo(f"mean over {len(result.folds)} folds: {result.mean_accuracy:.1%}")
    labels = format_count(len(result.labels), "label")
    data = f"{format_count(result.sources, 'file')} ({format_count(result.windows, 'window')})"
    typer.echo(escape_text(f"{labels}, trained on {data}, in {output}"))


def _fold_row(name: str, metrics: Metrics) -> tuple[str, ...]:
    figures = (f"{metrics.accuracy:.1%}", f"{metrics.f1:.3f}", f"{metrics.mean_average_precision:.3f}")
    return (name, f"{metrics.count:,}", *figures)


@app.command()
@with_memory_limit
def adapter(
    table: Annotated[
        Path, typer.Argument(metavar="CSV", help="Table with columns source and text, and transcript for --loss kl.")
    ],
    encoder: Annotated[
        str, typer.Option("--encoder", metavar="NAME", help="Encoder whose features the language model reads.")
    ],
    lm: Annotated[
        str, typer.Option("--lm", metavar="NAME", help="Causal language model, by folder or Hugging Face id.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write the adapter to.")],
    prompt: Annotated[
        str, typer.Option(metavar="TEXT", help="Prompt with <image>, <audio> or <video> where the soft tokens go.")
    ],
    kind: Annotated[
        str, typer.Option(help="Kind of adapter: linear, mlp2x_gelu, stack, conv, perceiver or qformer.")
    ] = "linear",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Setting of the adapter, such as k=5; repeatable."),
    ] = None,
    loss: Annotated[
        Literal["ce", "kl"],
        typer.Option(help="Target: ce learns the text, kl what the model would say after the transcript."),
    ] = "ce",
    steps: Annotated[int, typer.Option(min=0, metavar="N", help="Number of steps. [default: those of --epochs]")] = 0,
    epochs: Annotated[int, typer.Option(min=1, metavar="N", help="Passes over the data.")] = 10,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Files per step.")] = 16,
    lr: Annotated[float, typer.Option(min=0, metavar="N", help="Highest learning rate.")] = 1e-3,
    warmup: Annotated[
        float,
        typer.Option(min=0, max=0.99, metavar="N", help="Fraction of the steps in which the learning rate rises."),
    ] = 0.03,
    every: Annotated[int, typer.Option(min=0, metavar="N", help="Steps between checkpoints. [default: one epoch]")] = 0,
    patience: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Stop after this many checkpoints without a better score; 0 never stops early."
        ),
    ] = 0,
    held_out: Annotated[
        float, typer.Option(min=0, max=0.9, metavar="N", help="Fraction of the files held out for scoring.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed of weights, order and held-out files.")] = 0,
    fps: Fps = 1.0,
    hop: Hop = None,
    workers: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Number of worker processes; 0 decodes in this process.")
    ] = None,
    overwrite: BeginAnew = False,
    show: Annotated[
        Mode, typer.Option("--progress", help="How progress is shown on stderr; auto: a bar on a terminal, else lines.")
    ] = "auto",
) -> None:
    """Train an adapter between a frozen encoder and a frozen language model.

    Run it again to resume after an interruption: it ends with the same weights.

    percepts train adapter talks.csv --encoder melstats --lm ./llama --prompt "Say it: <audio>" -o adapter/
    """
    from ..training.adapter import train_adapter
    from ..training.plan import Plan

    with _training_errors(), show_job_progress(show) as on_progress, show_training_progress(show) as on_step:
        plan = Plan(steps=steps, epochs=epochs, batch_size=batch_size, lr=lr, warmup=warmup, every=every,
                    patience=patience, seed=seed)  # fmt: skip
        _, fit = train_adapter(
            table, output, encoder=encoder, lm=lm, prompt=prompt, kind=kind, settings=_parse_settings(settings or ()),
            objective=loss, plan=plan, held_out=held_out, fps=fps, hop=hop, workers=workers, overwrite=overwrite,
            on_step=on_step, on_progress=on_progress,
        )  # fmt: skip
    _print_result(fit, output)


@app.command()
def ast(
    table: Annotated[Path, typer.Argument(metavar="CSV", help="Table with columns source and label.")],
    base: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Model to start from, by folder or Hugging Face id; small is a small AST with random weights.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write the transformers model to.")
    ],
    recipe: Annotated[
        str, typer.Option(help="Settings of training: plain, audioset, audioset-balanced, esc-50 or speech-commands.")
    ] = "plain",
    task: Annotated[
        Literal["single", "multi", "regression"] | None, typer.Option(help="Kind of label. [default: the recipe's]")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Number of steps. [default: the recipe's epochs]")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Passes over the data. [default: the recipe's]")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Files per step. [default: the recipe's]")
    ] = None,
    lr: Annotated[
        float | None, typer.Option(min=0, metavar="N", help="Highest learning rate. [default: the recipe's]")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Stop after this many epochs without a better score.")
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            min=16, metavar="N", help="Window length in frames of 10 ms; position embeddings are cut or interpolated."
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(metavar="COLUMN", help="Column that holds `test` in the rows to hold out.")
    ] = "",
    held_out: Annotated[
        float, typer.Option(min=0, max=0.9, metavar="N", help="Fraction of the files held out, without --split.")
    ] = 0.1,
    lora: Annotated[
        int, typer.Option(min=0, metavar="RANK", help="Train LoRA adapters of this rank; 0 trains all weights.")
    ] = 0,
    norm: Annotated[
        Literal["exact", "authors"],
        typer.Option(help="How the mean and deviation of the data are measured, if the recipe has none."),
    ] = "exact",
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed of weights, order and augmentation.")] = 0,
    overwrite: BeginAnew = False,
    show: Annotated[
        Mode, typer.Option("--progress", help="How progress is shown on stderr; auto: a bar on a terminal, else lines.")
    ] = "auto",
) -> None:
    """Fine-tune an AST, or another classifier of audio or images.

    percepts train ast labels.csv --base small --recipe plain --lr 0.001 --split split -o digits/
    """
    from ..training.ast import train_ast
    from ..training.baselines import find_processes
    from ..training.initialise import SmallAst
    from ..training.recipes import RECIPES

    given: dict[str, Any] = {
        "steps": steps,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "patience": patience,
        "seed": seed,
    }
    with _training_errors(), show_training_progress(show) as on_step:
        # Not a Literal in the signature: the table of recipes is imported only here.
        if recipe not in RECIPES:
            raise ValueError(f"expected --recipe of {', '.join(RECIPES)}, got {recipe!r}")
        settings = RECIPES[recipe]
        # None: the recipe decides.
        plan = replace(settings.plan, **{name: value for name, value in given.items() if value is not None})
        changes: dict[str, Any] = {name: value for name, value in (("task", task), ("max_length", max_length)) if value}
        result = train_ast(
            table, output, base=SmallAst() if base == "small" else base, recipe=replace(settings, **changes), plan=plan,
            split=split, held_out=held_out, lora=lora, norm=norm, overwrite=overwrite, on_step=on_step,
        )  # fmt: skip
    if not find_processes().first:  # one of several processes prints the result
        return
    # 0 frames: the recipe brought its own mean and deviation.
    if result.stats and result.stats.frames:
        typer.echo(f"log filter banks: mean {result.stats.mean:.4f}, deviation {result.stats.std:.4f}")
    if result.before is not None:
        typer.echo(f"{result.metric} on held-out files: {result.before:.3f} before training, {result.after:.3f} after")
    _print_result(result.fitted, output)


@contextmanager
def _training_errors() -> Iterator[None]:
    """Turn a ValueError into an error of usage; on Ctrl-C say that the last checkpoint is kept, and exit with 130."""
    try:
        with usage_errors():
            yield
    except KeyboardInterrupt:
        typer.echo("Interrupted; the last checkpoint is kept. To resume, run the same command again.", err=True)
        raise typer.Exit(INTERRUPTED) from None  # the traceback of Ctrl-C tells a user nothing


def _parse_settings(words: Sequence[str]) -> dict[str, Any]:
    """Return `k=5 project=swiglu norm=false` as a dictionary of values."""
    settings: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"expected --set NAME=VALUE, got {word!r}")
        # Not bool(), to which "false" is true.
        plain = {"true": True, "false": False}.get(value.lower(), value)
        # The adapters take whole numbers, switches and names; no setting is a fraction.
        settings[name] = int(value) if value.isdigit() else plain
    return settings


def _print_result(fit: FitResult, output: Path) -> None:
    parts = [f"{fit.steps:,} steps", f"loss {fit.loss:.4g}"]
    if fit.best is not None:  # None: nothing was held out
        parts.append(f"best held-out score {fit.best:.3f}, after step {fit.best_step:,}")
    if fit.resumed_from:
        parts.append(f"resumed from step {fit.resumed_from:,}")
    if fit.stopped:
        parts.append("stopped early")
    typer.echo(escape_text(f"{', '.join(parts)} ({format_duration(fit.seconds)}), in {output}"))
