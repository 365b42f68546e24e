"""Make adapters by the name of their kind, and store them as adapter.safetensors and adapter.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from ..errors import WeightsError
from ..support.checkpoint_settings import FLAG, OBJECT, TEXT, Rule, check_values, read_settings, whole_number
from ..support.outputs import check_output_files, output_file
from .base import Adapter, check_settings
from .conv import Conv
from .linear import Linear
from .mlp import Mlp2xGelu
from .qformer import QFormer
from .resampler import Perceiver
from .stack import Stack

KINDS: Mapping[str, type[Adapter]] = {
    "linear": Linear,
    "mlp2x_gelu": Mlp2xGelu,
    "stack": Stack,
    "conv": Conv,
    "perceiver": Perceiver,
    "qformer": QFormer,
}
"""Name → class; a new kind is one file and one row."""

WEIGHTS, FACTS = "adapter.safetensors", "adapter.json"


def make_adapter(kind: str, in_dim: int, out_dim: int, **settings: Any) -> Adapter:
    """Make a new adapter with random weights.

    Raises ValueError for an unknown kind or setting; the message lists those there are.

    >>> make_adapter("stack", 80, 64, k=4).out_len(10)
    3
    """
    check_adapter_settings(kind, settings)
    return KINDS[kind](in_dim, out_dim, **settings)


def check_adapter_settings(kind: str, settings: Mapping[str, Any]) -> None:
    """Raise ValueError for an unknown kind or setting, before anything is computed for the adapter."""
    if kind not in KINDS:
        raise ValueError(f"expected an adapter of {', '.join(KINDS)}, got {kind!r}")
    check_settings(KINDS[kind], settings)


def adapter_kind(adapter: Adapter) -> str:
    """Return the name of an adapter's kind."""
    return next(name for name, kind in KINDS.items() if type(adapter) is kind)


def save_adapter(adapter: Adapter, folder: str | Path, *, overwrite: bool = False) -> None:
    """Write an adapter's weights, and what is needed to make it again; nothing of the encoder or the language model.

    FileExistsError where the folder holds an adapter, unless `overwrite`.
    """
    files = {Path(folder) / name: data for name, data in as_files(adapter).items()}
    check_output_files(files, overwrite=overwrite)
    for path, data in files.items():
        with output_file(path, overwrite=overwrite) as file:
            file.write(data)


def as_files(adapter: Adapter) -> dict[str, bytes]:
    """Return the files of an adapter by name."""
    facts = {"kind": adapter_kind(adapter), "in_dim": adapter.in_dim, "out_dim": adapter.out_dim,
             "settings": adapter.settings, "about": adapter.about}  # fmt: skip
    # safetensors refuses views that share memory or are not contiguous.
    weights = {name: value.detach().cpu().contiguous() for name, value in adapter.state_dict().items()}
    return {WEIGHTS: to_bytes(weights), FACTS: (json.dumps(facts, indent=2) + "\n").encode()}


def load_adapter(folder: str | Path) -> Adapter:
    """Load an adapter that `save_adapter` wrote, in eval mode. WeightsError where there is none, or it is damaged."""
    folder = Path(folder)
    missing = [name for name in (WEIGHTS, FACTS) if not (folder / name).is_file()]
    if missing:
        raise WeightsError(f"{folder}: no {' and no '.join(missing)}; `percepts train adapter` makes such a folder")
    facts = read_settings(folder / FACTS)
    check_values(facts, folder / FACTS, rules=_RULES)
    try:
        made = (facts["kind"], facts["in_dim"], facts["out_dim"])
        weights = load_file(folder / WEIGHTS)
        with torch.device("meta"):  # shapes alone: settings that are not of these weights allocate nothing
            make_adapter(*made, **facts["settings"]).load_state_dict(weights, assign=True)
        # Now that shapes and settings agree, memory is allocated for real.
        adapter = make_adapter(*made, **facts["settings"])
        adapter.load_state_dict(weights)
    except (ValueError, KeyError, TypeError, RuntimeError, ArithmeticError, SafetensorError) as error:
        # torch lists every tensor that does not fit, a line each.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{folder}: its adapter cannot be read: {reason}") from error
    adapter.about = dict(facts.get("about") or {})
    return adapter.eval()


_RULES: Mapping[str, Rule] = {
    "kind": TEXT,
    "settings": OBJECT,
    "about": OBJECT,
    # Bounds far above real models, so that a hostile file cannot ask for terabytes.
    **dict.fromkeys(("in_dim", "out_dim", "hidden", "width", "latents", "queries"), whole_number(1, 1 << 18)),
    **dict.fromkeys(("heads", "head_dim", "k", "stride", "every"), whole_number(1, 1 << 14)),
    "depth": whole_number(1, 256),
    **dict.fromkeys(("norm", "bias"), FLAG),
    "project": TEXT,
}
"""What adapter.json may say, whatever the kind."""
