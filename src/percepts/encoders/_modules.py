"""transformers' models, loaded from a folder of safetensors and wrapped as networks of plain arrays. Needs torch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from ..errors import WeightsError
from ._picture import Pixels

SPARE = ("pooler.", "masked_spec_embed", "mask_token", "position_ids", "logit_scale", "logit_bias", "lm_head")
"""Parameters that no output here depends on: a checkpoint may lack them."""


def pretrained(kind: str, folder: Path, *, spare: Sequence[str] = (), **settings: Any) -> Any:
    """The model of that class with the checkpoint's weights, float32, eval. WeightsError where weights are missing.

    A parameter that is not in the checkpoint would be random, and another one at each load: transformers says so in a
    warning and goes on. Here it is an error, except where nothing depends on it.
    """
    with quiet():
        settings |= {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
        model, found = getattr(transformers, kind).from_pretrained(folder, dtype=torch.float32, **settings)
    missing = [key for key in found["missing_keys"] if not any(part in key for part in (*SPARE, *spare))]
    wrong = sorted(missing) + sorted(str(key[0]) for key in found["mismatched_keys"])
    if wrong:
        raise WeightsError(
            f"{folder}: {len(wrong)} parameters of {kind} are not in the checkpoint or of another shape, "
            f"the first is {wrong[0]}"
        )
    return model.eval().requires_grad_(False)


def tokenizer(folder: Path) -> Any:
    """The tokenizer of the checkpoint."""
    with quiet():
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and nothing below an error from transformers while this lasts; what it was set to comes back."""
    logs: Any = transformers.utils.logging
    level, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logs.set_verbosity(level)
            if bars:
                logs.enable_progress_bar()


class Normalise(nn.Module):
    """(B, ..., H, W, 3) uint8 to (B, ..., 3, H, W) float32, (x * scale - mean) / std."""

    def __init__(self, pixels: Pixels) -> None:
        super().__init__()
        mean, std = torch.tensor(pixels.mean, dtype=torch.float64), torch.tensor(pixels.std, dtype=torch.float64)
        self.register_buffer("factor", (pixels.scale / std).float())
        self.register_buffer("shift", (mean / std).float())

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Channels last in, channels first out."""
        return (pixels.float() * self.factor - self.shift).movedim(-1, -3)  # type: ignore[operator]


class Call(nn.Module):
    """A model called as its family says: `call(model, *inputs)` gives a tensor or a tuple of them."""

    def __init__(self, model: nn.Module, call: Callable[..., Any], first: nn.Module | None = None) -> None:
        super().__init__()
        self.model, self.first, self._call = model, first, call

    def forward(self, *inputs: torch.Tensor) -> Any:
        """The first input goes through `first`, if there is one."""
        if self.first is not None:
            inputs = (self.first(inputs[0]), *inputs[1:])
        return self._call(self.model, *inputs)
