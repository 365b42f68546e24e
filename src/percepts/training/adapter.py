"""Train an adapter between a frozen encoder and a frozen language model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, get_args

import numpy as np
import torch

from .. import adapters
from ..adapters import MARKERS, Adapter, Splicer, token_rms
from ..encoders import model_spec as find
from ..errors import MediaError, WeightsError
from ..support.outputs import RECORD, OutputFolder
from ..weights.checkpoint import local_path as checkpoint_folder
from ..weights.checkpoint import resolve_name
from . import plots
from .features import CachedFeatures, cache_features
from .label_table import Row, read_label_table
from .loop import LOG, FitProgress, FitResult, check_run, fit
from .plan import Plan
from .plots import CURVE

if TYPE_CHECKING:
    from ..jobs.progress import Progress

Objective = Literal["ce", "kl"]
TEMPERATURE = 2.0
"""Of both distributions under "kl", as Ultravox has it: small probabilities say more."""


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A causal language model of transformers with its tokenizer; `name` is written into what is saved."""

    model: Any
    tokenizer: Any
    name: str

    @classmethod
    def load(cls, name: str) -> LanguageModel:
        """Load a model from a folder or a Hugging Face id, as float32. WeightsError where it is not there."""
        from ..weights import pretrained

        where = resolve_name(name)
        if where is None:
            raise WeightsError(f"{name!r} is neither the folder of a checkpoint nor a hub id (owner/name)")
        path = checkpoint_folder(where)
        return cls(pretrained.load_pretrained("AutoModelForCausalLM", path), pretrained.load_tokenizer(path), where)

    def digest(self) -> str:
        """Return the sha256 of every tensor, bit by bit."""
        sums = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            # The name too, so that two tensors that change places are noticed.
            sums.update(name.encode())
            # As bytes, because NumPy has no bfloat16.
            sums.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return sums.hexdigest()


class AdapterKeywords(TypedDict, total=False):
    """The fields of AdapterOptions as keyword arguments: `**options: Unpack[AdapterKeywords]`."""

    kind: str
    settings: Mapping[str, Any] | None
    objective: Objective
    plan: Plan | None
    held_out: float
    fps: float
    hop: float | None
    workers: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterOptions:
    """Which adapter is fitted, and how; `train_adapter` says what each field means."""

    kind: str = "linear"
    settings: Mapping[str, Any] | None = None
    objective: Objective = "ce"
    plan: Plan | None = None
    held_out: float = 0.1
    fps: float = 1.0
    hop: float | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.objective not in get_args(Objective):
            raise ValueError(f"expected an objective of ce or kl, got {self.objective!r}")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"expected held_out from 0 to 1, got {self.held_out}")
        adapters.check_adapter_settings(self.kind, self.settings or {})


def train_adapter(
    table: str | Path,
    output: str | Path,
    *,
    encoder: str,
    lm: str | LanguageModel,
    prompt: str,
    overwrite: bool = False,
    on_step: Callable[[FitProgress], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    **options: Unpack[AdapterKeywords],
) -> tuple[Adapter, FitResult]:
    """Fit an adapter with encoder and language model frozen; killed and called again, it goes on where it was.

    Args:
        table: a CSV with columns `source` and `text`, what the model is to say; with "kl" also `transcript`.
        output: the adapter's folder: adapter.safetensors and .json, curve.png, features/ (a job directory), run/.
        encoder: whose frames.
        lm: a folder or hub id of a causal language model, or one that is loaded.
        prompt: with one marker, `<image>`, `<audio>` or `<video>`, where the soft tokens stand.
        overwrite: begin anew, and replace what `output` holds; the table and the sources are never replaced.
        on_step: called after every step.
        on_progress: called while features are computed.
        options: any of the following.

    Keyword Args:
        kind (str): of adapter: one of `percepts.adapters.KINDS`. Default "linear".
        settings (Mapping[str, Any] | None): of that kind.
        objective (Objective): "ce" (the default): cross-entropy of `text`. "kl": the model is to say `text` as it would
            after reading `transcript` in the marker's place (Ultravox's idea): its own distribution is the target.
        plan (Plan | None): how long, how fast; None: `Plan()`.
        held_out (float): share of the sources that the score, the share of right tokens of `text`, is measured on; 0:
            none. Default 0.1.
        fps (float): frames read per second of video. Default 1.0.
        hop (float | None): seconds from one audio window to the next; None: windows touch.
        workers (int | None): processes that decode.

    Raises ValueError where table, prompt or settings are not as they must be, SettingsDiffer where `output` holds a run
    with others, FileExistsError where it holds a file of one of these names that no run wrote.
    """
    how = AdapterOptions(**options)
    plan, output, objective = how.plan or Plan(), Path(output), how.objective
    marker = _find_marker(prompt)
    rows = read_label_table(table, ["text", *(["transcript"] if objective == "kl" else [])])
    folder = OutputFolder(output, inputs=[table, *(row["source"] for row in rows)], overwrite=overwrite,
                          record=f"run/{RECORD}")  # fmt: skip
    folder.check([adapters.WEIGHTS, adapters.FACTS, CURVE])
    # Before the language model is loaded, which may take minutes.
    check_run(output / "run", overwrite=overwrite)
    speaker = lm if isinstance(lm, LanguageModel) else LanguageModel.load(lm)
    # Part of the settings of the run, and compared at the end: the model must stay as it is.
    before = speaker.digest()
    cache = cache_features([row["source"] for row in rows], output / "features", encoder, fps=how.fps, hop=how.hop,
                           workers=how.workers, overwrite=overwrite, on_progress=on_progress)  # fmt: skip
    # A broken file is in the ledger of features/ and must not end the training of the others.
    rows = [row for row in rows if row["source"] in cache.rows]
    if not rows:
        raise MediaError(f"none of the sources of {table} could be used; the reasons are in {output}/features/ledger")
    learned, kept = _split_rows(rows, how.held_out, plan.seed)
    # Initial weights come from torch's global generator.
    torch.manual_seed(plan.seed)
    dim = speaker.model.get_input_embeddings().embedding_dim
    adapter = adapters.make_adapter(how.kind, cache.data.shape[2], dim, **dict(how.settings or {}))
    # Else the first steps only undo the wrong scale of the soft tokens.
    _match_scale(adapter, speaker, cache, learned)
    adapter.about = {"encoder": find(encoder).name, "lm": speaker.name, "prompt": prompt}
    work = _AdapterTraining(
        adapter, speaker, cache, prompt, marker, objective, Splicer(speaker.model, speaker.tokenizer)
    )
    told = {"encoder": adapter.about["encoder"], "lm": before, "prompt": prompt, "kind": how.kind,
            "settings": adapter.settings, "objective": objective, "held_out": how.held_out,
            "table": _digest_rows(rows)}  # fmt: skip
    done = fit(
        adapter, lambda batch, _: work.loss([learned[i] for i in batch]), len(learned), plan, output / "run",
        settings=told, validate=(lambda: work.score(kept, plan.batch_size)) if kept else None, on_step=on_step,
        overwrite=overwrite,
    )  # fmt: skip
    # A buffer that the forward pass updates would change without any gradient.
    if speaker.digest() != before:
        raise RuntimeError("the frozen language model changed while the adapter was trained")
    for name, data in adapters.as_files(adapter).items():
        with folder.file(name) as file:
            file.write(data)
    with folder.file(CURVE) as file:
        plots.plot_curve(output / "run" / LOG, file, score="held-out tokens right")
    return adapter, done


@dataclass(frozen=True, slots=True, eq=False)
class _AdapterTraining:
    """Computes the loss and the score of rows of the table."""

    adapter: Adapter
    lm: LanguageModel
    cache: CachedFeatures
    prompt: str
    marker: str
    objective: Objective
    splicer: Splicer

    def loss(self, rows: Sequence[Row]) -> torch.Tensor:
        logits, targets = self._target_logits(rows)
        if self.objective == "ce":
            return torch.nn.functional.cross_entropy(logits, targets)
        with torch.no_grad():
            wanted = self._read(rows)
        log = torch.nn.functional.log_softmax(logits / TEMPERATURE, -1)
        goal = torch.nn.functional.log_softmax(wanted / TEMPERATURE, -1)
        # The square keeps the size of gradients the same at every temperature (Hinton et al. 2015, arXiv 1503.02531).
        return torch.nn.functional.kl_div(log, goal, log_target=True, reduction="batchmean") * TEMPERATURE**2

    def score(self, rows: Sequence[Row], size: int) -> float:
        """Return the share of tokens that are predicted right when the tokens before them are given."""
        right = total = 0
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            logits, targets = self._target_logits(part)
            # Under "kl" right is what the model itself would say after reading the transcript.
            wanted = targets if self.objective == "ce" else self._read(part).argmax(-1)
            right, total = right + int((logits.argmax(-1) == wanted).sum()), total + len(targets)
        return right / total

    def _target_logits(self, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the (n, V) logits at the positions of the texts' tokens, and those tokens."""
        data, mask, counts = self.cache.of([row["source"] for row in rows])
        device = next(self.lm.model.parameters()).device
        self.adapter.to(device)
        soft = self.adapter(torch.from_numpy(data).to(device), torch.from_numpy(mask).to(device))
        ends = np.cumsum(counts)
        # One source may have several windows; their tokens stand one after the other in its prompt.
        flat = [soft.embeds[a:b][soft.mask[a:b]] for a, b in zip(ends - counts, ends, strict=True)]
        return self._logits([self.prompt] * len(rows), [{self.marker: [part]} for part in flat], rows)

    def _read(self, rows: Sequence[Row]) -> torch.Tensor:
        """Return the same logits when the model reads the transcript in words instead of the soft tokens."""
        texts = [self.prompt.replace(self.marker, row["transcript"]) for row in rows]
        return self._logits(texts, [{}] * len(rows), rows)[0]

    def _logits(self, texts: Sequence[str], media: Any, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
        batch = self.splicer(texts, media, answers=[row["text"] for row in rows])
        # Shifted here: logits at one position predict the token of the next, and the loss is not transformers' own.
        targets = batch.pop("labels")[:, 1:]
        logits = self.lm.model(**batch, use_cache=False).logits[:, :-1]
        # Padding differs between the prompt with soft tokens and the one with words; the answer's tokens do not.
        due = targets != -100
        # In float32, since a softmax over a vocabulary is too coarse in half precision.
        return logits[due].float(), targets[due]


def _find_marker(prompt: str) -> str:
    held = [marker for marker in MARKERS for _ in range(prompt.count(marker))]
    if len(held) != 1:
        raise ValueError(f"expected one marker of {', '.join(MARKERS)} in the prompt, got {len(held)} in {prompt!r}")
    return held[0]


def _split_rows(rows: list[Row], share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Split rows into those to learn from and those to hold out, at least one each where the share is above 0."""
    order = np.random.default_rng(seed).permutation(len(rows))
    # At least one row is kept to learn from.
    count = 0 if not share or len(rows) < 2 else min(len(rows) - 1, max(1, round(share * len(rows))))
    return [rows[i] for i in sorted(order[count:])], [rows[i] for i in sorted(order[:count])]


def _match_scale(adapter: Adapter, lm: LanguageModel, cache: CachedFeatures, rows: Sequence[Row]) -> None:
    # A root mean square needs no more than a few windows.
    data, mask, _ = cache.of([row["source"] for row in rows[:64]])
    adapter.match_scale(token_rms(lm.model), torch.from_numpy(data), torch.from_numpy(mask))


def _digest_rows(rows: Sequence[Row]) -> str:
    return hashlib.sha256(repr([sorted(row.items()) for row in rows]).encode()).hexdigest()
