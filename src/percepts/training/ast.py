"""Fine-tune a classifier on labelled audio or images, and write it as an ordinary transformers directory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, get_args

import numpy as np
import torch

from ..encoders import load_encoder
from ..encoders import model_spec as find
from ..encoders.hub.ast import Ast
from ..encoders.hub.classifier import WithClassifier
from ..encoders.scores import scores_to_probabilities
from ..errors import MediaError, MissingExtra
from ..support.files import write_file
from ..support.outputs import RECORD, OutputFolder
from ..weights import pretrained
from ..weights.checkpoint import hash_checkpoint
from . import plots
from .augment import Norm, draw_mixing, mix_examples, mix_spectra, shake_spectra, spec_augment
from .baselines import find_processes
from .examples import HeadExamples, build_examples
from .initialise import SmallAst, is_ast, write_initial_ast
from .label_table import Row, read_label_table
from .loop import LOG, FitProgress, FitResult, check_run, fit
from .metrics import measure_predictions
from .plan import Plan
from .plots import CURVE
from .recipes import RECIPES, Recipe
from .stats import NormStats, compute_norm_stats

NormWay = Literal["exact", "authors"]
"""The choices of `way` in `percepts.training.stats.compute_norm_stats`."""
CHECKPOINT = ("config.json", "model.safetensors", "preprocessor_config.json")
"""The files of a transformers directory that are written."""
START = "run/start/"
"""Where the checkpoint is kept that training begins with."""


@dataclass(frozen=True, slots=True)
class FineTuned:
    """The result of a fine-tuning. `before` and `after` are the score on held-out sources that `metric` names."""

    output: Path
    labels: tuple[str, ...]
    fitted: FitResult
    metric: str
    before: float | None
    after: float | None
    stats: NormStats | None
    parameters: int


class AstKeywords(TypedDict, total=False):
    """The fields of AstOptions as keyword arguments: `**options: Unpack[AstKeywords]`."""

    split: str
    held_out: float
    lora: int
    norm: NormWay


@dataclass(frozen=True, slots=True, kw_only=True)
class AstOptions:
    """What is held out, and which weights are trained; `train_ast` says what each field means."""

    split: str = ""
    held_out: float = 0.1
    lora: int = 0
    norm: NormWay = "exact"

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise ValueError(f"expected held_out from 0 to 1, got {self.held_out}")
        if self.lora < 0:
            raise ValueError(f"expected a rank of lora of 0 or more, got {self.lora}")
        if self.norm not in get_args(NormWay):
            raise ValueError(f"expected norm of exact or authors, got {self.norm!r}")


def train_ast(
    table: str | Path,
    output: str | Path,
    *,
    base: str | SmallAst,
    recipe: Recipe | str = "plain",
    plan: Plan | None = None,
    overwrite: bool = False,
    on_step: Callable[[FitProgress], None] | None = None,
    **options: Unpack[AstKeywords],
) -> FineTuned:
    """Fine-tune an AST, or another classifier of sound or pictures; killed and called again, it goes on where it was.

    Args:
        table: a CSV with columns `source` and `label`: a name, `a|b` where the task is multi, a number for regression.
        output: a transformers directory: `percepts classify --model` and transformers take it; run/ has the log.
        base: a checkpoint's folder or hub id, or `SmallAst()`, which begins from nothing.
        recipe: a name of `RECIPES`, or your own. Its task decides the loss, at every step, and nothing else does.
        plan: how long and how fast, instead of the recipe's.
        overwrite: begin anew, and replace what `output` holds; table, sources and `base` are never replaced.
        on_step: called after every step.
        options: any of the following.

    Keyword Args:
        split (str): a column; its rows with `test` are held out.
        held_out (float): share of sources held out where there is no such column; 0: none. Default 0.1.
        lora (int): rank of the adapters that are trained in place of the weights, through peft; 0, the default: all
            weights.
        norm (NormWay): how mean and deviation are measured where the recipe has none, "exact" (the default) or
            "authors": see `compute_norm_stats`.

    A source longer than the window gives several, all with its label; its score is that of their mean. Sources that
    cannot be used are logged and left out. Raises ValueError for labels that do not fit the task, FileExistsError where
    `output` holds a file of one of these names that no run wrote.
    """
    how = AstOptions(**options)
    recipe = _find_recipe(recipe)
    plan, output = plan or recipe.plan, Path(output)
    rows = read_label_table(table, ["label", *([how.split] if how.split else [])])
    learned, kept = _split_rows(rows, how.split, how.held_out, plan.seed)
    labels = _collect_labels(learned, recipe)
    # Before any model, because accelerate has to choose the device of this process first.
    among = find_processes()
    # Inputs are never overwritten, so that `base` stays even where `output` is the same folder.
    based = Path(base).iterdir() if isinstance(base, str) and Path(base).is_dir() else ()
    folder = OutputFolder(output, inputs=[table, *(row["source"] for row in rows), *based], overwrite=overwrite,
                          record=f"run/{RECORD}")  # fmt: skip
    if among.first:
        folder.check([*(f"{below}{name}" for below in ("", START) for name in CHECKPOINT), CURVE])
        check_run(output / "run", overwrite=overwrite)
    stats = None
    if is_ast(base):
        known = recipe.mean is not None and recipe.std is not None
        mels = base.n_mels if isinstance(base, SmallAst) else int(_read_config(base)["num_mel_bins"])
        stats = (NormStats(recipe.mean or 0.0, recipe.std or 1.0, 0) if known
                 else compute_norm_stats([r["source"] for r in learned], n_mels=mels, way=how.norm))  # fmt: skip
    start = (output / START).resolve()
    if among.first:
        with folder.staging(START) as made:
            write_initial_ast(made, base, labels, recipe, stats, plan.seed)
    # The other processes read the checkpoint that the first one has just written.
    among.wait_for_all()
    # Loaded like any user's model, so that training and `percepts classify` prepare inputs in the same way.
    encoder = load_encoder(find(str(start)))
    assert isinstance(encoder, WithClassifier)
    work = _AstTraining(encoder, recipe, labels, how.lora)
    train, test = (work.examples(part, output / "run") for part in (learned, kept))
    if not len(train):
        raise MediaError(f"none of the sources of {table} could be used; the log says why")
    before = work.score(test) if len(test) else None
    told = {"start": hash_checkpoint(str(start)), "recipe": {k: v for k, v in asdict(recipe).items() if k != "plan"},
            "lora": how.lora, "sources": sorted(row["source"] for row in learned)}  # fmt: skip
    draw = _balance_weights(train.truth) if recipe.balanced else None
    done = fit(
        work.model, lambda batch, rng: work.loss(train, batch, rng), len(train), plan, output / "run",
        settings=told, validate=(lambda: work.score(test)) if len(test) else None, on_step=on_step, draw=draw,
        overwrite=overwrite,
    )  # fmt: skip
    after = work.score(test) if len(test) else None
    if among.first:
        with folder.staging() as made:
            work.save(made, start)
        with folder.file(CURVE) as file:
            plots.plot_curve(output / "run" / LOG, file, score=work.metric)
    return FineTuned(output, tuple(labels), done, work.metric, before, after, stats, work.parameters)


class _AstTraining:
    """A classifier with its recipe: computes losses and scores of examples."""

    def __init__(self, encoder: WithClassifier, recipe: Recipe, labels: list[str], lora: int) -> None:
        self.encoder, self.recipe, self.names = encoder, recipe, labels
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        import transformers

        folder = encoder.checkpoint.folder
        # Loaded again, because the encoder's own network may run in another runtime or precision.
        with pretrained.silence_transformers(), pretrained.raise_weights_error(folder, encoder.head):
            whole = getattr(transformers, encoder.head).from_pretrained(folder, dtype=torch.float32)
        self.full_model = whole
        self.model = (_add_lora(whole, lora) if lora else whole).to(self.device)
        # After LoRA has frozen the rest.
        self.parameters = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        self.first = encoder.first.to(self.device) if encoder.first is not None else None
        self.call_kwargs = encoder.call_kwargs
        # Only inputs that are log filter banks can be masked and mixed as spectra.
        self.norm = Norm(*encoder.norm) if isinstance(encoder, Ast) else None
        # Negative, since a score is better when it is higher.
        self.metric = {"single": "accuracy", "multi": "mAP", "regression": "-mean squared error"}[recipe.task]

    def examples(self, rows: Sequence[Row], folder: Path) -> HeadExamples:
        return build_examples(self.encoder, rows, lambda label: _encode_labels(label, self.names, self.recipe), folder)

    def loss(self, data: HeadExamples, batch: Sequence[int], rng: torch.Generator) -> torch.Tensor:
        recipe = self.recipe
        # Fancy indexing of the memory map reads only the windows of this batch.
        x, target = torch.from_numpy(data.inputs[batch]), torch.from_numpy(data.truth[batch])
        if recipe.mixup:
            partner, own = draw_mixing(len(batch), recipe.mixup, rng)
            frames = torch.from_numpy(data.frames[batch])
            x = mix_spectra(x, frames, partner, own, self.norm) if self.norm else mix_examples(x, partner, own)
            # Labels are mixed in the same shares as recordings, which makes them soft targets.
            target = mix_examples(target, partner, own)
        if self.norm:
            # The fill is 0 before the normalisation, as the authors mask before they normalise.
            x = spec_augment(x, recipe.freq_mask, recipe.time_mask, self.norm(0.0), rng)
            x = shake_spectra(x, rng) if recipe.noise else x
        return self._pair_with_target(self._logits(x), target.to(self.device))

    def _pair_with_target(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        measured = torch.nn.functional
        if self.recipe.task == "regression":
            return measured.mse_loss(logits, target)
        # AST's authors train Speech Commands so, too, although each recording has one label.
        if self.recipe.task == "multi" or self.recipe.binary:
            return measured.binary_cross_entropy_with_logits(logits, target)
        return measured.cross_entropy(logits, target)

    @torch.no_grad()
    def score(self, data: HeadExamples) -> float:
        """Return the score by source: each counts with the mean over its windows."""
        self.model.eval()
        # A copy, because the map is read-only and torch warns about such arrays.
        parts = (torch.from_numpy(data.inputs[i : i + 32].copy()) for i in range(0, len(data), 32))
        said = np.concatenate([self._logits(part).cpu().numpy() for part in parts])
        sources = np.unique(data.owner)
        # Sources and not windows: a long recording must not count more than a short one.
        rows = [data.owner == source for source in sources]
        truth = np.stack([data.truth[row][0] for row in rows])
        if self.recipe.task == "regression":
            return -float(np.mean((np.stack([said[row].mean(0) for row in rows]) - truth) ** 2))
        chances = scores_to_probabilities(said, self.recipe.task == "multi")
        found = measure_predictions(truth.astype(bool), np.stack([chances[row].mean(0) for row in rows]))
        return found.accuracy if self.recipe.task == "single" else found.mean_average_precision

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        # bfloat16 and not float16: it needs no scaling of the loss.
        half = torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda")
        with half:
            x = x.to(self.device)
            logits: torch.Tensor = self.model(x if self.first is None else self.first(x), **self.call_kwargs).logits
        return logits.float()

    def save(self, output: Path, start: Path) -> None:
        """Write the full weights: LoRA adapters are added to the weights that they adapt."""
        model = self.model.merge_and_unload() if self.model is not self.full_model else self.model
        with pretrained.silence_transformers():
            model.to("cpu").save_pretrained(output)
        write_file(output / "preprocessor_config.json", (start / "preprocessor_config.json").read_bytes())


def _add_lora(model: Any, rank: int) -> Any:
    try:
        import peft
    except ModuleNotFoundError as error:
        raise MissingExtra("--lora needs peft: pip install 'percepts[lora]'") from error
    # Queries and values, as in the LoRA paper (Hu et al. 2021, arXiv 2106.09685, section 7.1).
    ends = ("q_proj", "v_proj", "query", "value")
    config = peft.LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=[name for name, part in model.named_modules()
                                                     if isinstance(part, torch.nn.Linear) and name.endswith(ends)],
        # The new classifier is random: it is trained in full.
        modules_to_save=["classifier"],
    )  # fmt: skip
    with pretrained.silence_transformers():  # of what peft asks transformers for and transformers calls old
        return peft.get_peft_model(model, config)


def _find_recipe(recipe: Recipe | str) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise ValueError(f"expected a recipe of {', '.join(RECIPES)}, got {recipe!r}")
    return RECIPES[recipe]


def _read_config(base: str) -> dict[str, Any]:
    encoder = load_encoder(find(base))
    assert isinstance(encoder, WithClassifier)
    return encoder.config


def _split_rows(rows: list[Row], split: str, share: float, seed: int) -> tuple[list[Row], list[Row]]:
    if split:
        kept = [row for row in rows if row[split] == "test"]
        if not kept or len(kept) == len(rows):
            raise ValueError(f"expected some rows with `test` in column {split!r}, got {len(kept)} of {len(rows)}")
        return [row for row in rows if row[split] != "test"], kept
    order = np.random.default_rng(seed).permutation(len(rows))
    count = round(share * len(rows))
    return [rows[i] for i in sorted(order[count:])], [rows[i] for i in sorted(order[:count])]


def _collect_labels(rows: Sequence[Row], recipe: Recipe) -> list[str]:
    if recipe.task == "regression":
        return ["value"]
    names = chain.from_iterable(row["label"].split("|") if recipe.task == "multi" else [row["label"]] for row in rows)
    # Sorted, so that the numbers of the labels do not depend on the order of the table.
    found = sorted(set(names))
    if len(found) < 2:
        raise ValueError(f"expected at least two labels, got {', '.join(found) or 'none'}")
    return found


def _encode_labels(label: str, names: Sequence[str], recipe: Recipe) -> np.ndarray:
    if recipe.task == "regression":
        return np.array([float(label)], np.float32)
    there = label.split("|") if recipe.task == "multi" else [label]
    return np.array([name in there for name in names], np.float32)


def _balance_weights(truth: np.ndarray) -> np.ndarray:
    """Return how often to draw each example: the sum over its labels of 1 / (examples with the label)."""
    # 1e-9, so that an example without a label can be drawn at all.
    return np.asarray((truth / np.maximum(truth.sum(0), 1)).sum(1) + 1e-9)
