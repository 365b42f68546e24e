"""Load models of transformers from a folder of safetensors, and wrap them as networks of arrays. Needs torch."""

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
from ..preprocess.image_processor import ImageProcessor
from ..support.machine import is_out_of_memory
from .checkpoint import Checkpoint

UNUSED_PARAMETERS = (
    "pooler.",
    "masked_spec_embed",
    "mask_token",
    "position_ids",
    "logit_scale",
    "logit_bias",
    "lm_head",
)
"""Parameters that no output here depends on, so that a checkpoint may lack them."""


def load_pretrained(
    kind: str,
    folder: Path,
    *,
    spare: Sequence[str] = (),
    needed: Sequence[str] = (),
    precision: str = "float32",
    **settings: Any,
) -> Any:
    """Return the model of a class of transformers with the weights of a checkpoint, in eval mode.

    A parameter that is not in the checkpoint would be random, and another one at each load: transformers says so in a
    warning and goes on. Here it is a WeightsError, except where nothing depends on it: UNUSED_PARAMETERS and `spare`,
    less `needed`.
    """
    # Before transformers allocates what config.json describes.
    Checkpoint(folder).check_size()
    # Neither the network nor pickles are used, whatever the folder says.
    settings |= {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
    with silence_transformers(), raise_weights_error(folder, kind):
        # The dtype is always given: transformers 5 would take that of config.json.
        model, found = getattr(transformers, kind).from_pretrained(folder, dtype=getattr(torch, precision), **settings)
    idle = [part for part in (*UNUSED_PARAMETERS, *spare) if part not in needed]
    missing = [key for key in found["missing_keys"] if not any(part in key for part in idle)]
    # A mismatched key is (name, shape in the file, shape in the model).
    wrong = sorted(missing) + sorted(str(key[0]) for key in found["mismatched_keys"])
    if wrong:
        raise WeightsError(
            f"{folder}: {len(wrong)} parameters of {kind} are not in the checkpoint or of another shape, "
            f"the first is {wrong[0]}"
        )
    return model.eval().requires_grad_(False)


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of the checkpoint."""
    with silence_transformers(), raise_weights_error(folder, "the tokenizer"):
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


@contextmanager
def raise_weights_error(folder: Path, what: str) -> Iterator[None]:
    """Turn what transformers raises while it reads a checkpoint into a WeightsError that names the folder.

    Settings that do not go together, weights that are cut and tokenizers of other formats end in whatever its code runs
    into: KeyError, TypeError, RuntimeError, ZeroDivisionError and SafetensorError were all seen.
    """
    try:
        yield
    except (WeightsError, ImportError):
        raise
    except Exception as error:
        if is_out_of_memory(error):  # of the machine
            raise
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(
            f"{folder}: transformers cannot read {what} of it: {type(error).__name__}: {reason}"
        ) from error


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Silence progress bars and warnings of transformers inside the block; its settings are restored after it."""
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


class NormalisePixels(nn.Module):
    """Module from (B, ..., H, W, 3) uint8 to (B, ..., 3, H, W) float32, (x * scale - mean) / std."""

    def __init__(self, pixels: ImageProcessor) -> None:
        super().__init__()
        mean, std = torch.tensor(pixels.mean, dtype=torch.float64), torch.tensor(pixels.std, dtype=torch.float64)
        # Divided in float64, so that both numbers are rounded once.
        self.register_buffer("factor", (pixels.scale / std).float())
        self.register_buffer("shift", (mean / std).float())

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalise pixels, and move the channels first."""
        return (pixels.float() * self.factor - self.shift).movedim(-1, -3)  # type: ignore[operator]


class WrappedModel(nn.Module):
    """Module that calls a model as its family says: `call(model, *inputs)` gives a tensor or a tuple of them."""

    def __init__(self, model: nn.Module, call: Callable[..., Any], first: nn.Module | None = None) -> None:
        super().__init__()
        self.model, self.first, self._call = model, first, call

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Call the model; the first input goes through `first`, if there is one."""
        if self.first is not None:
            inputs = (self.first(inputs[0]), *inputs[1:])
        return self._call(self.model, *inputs)


class FirstSteps(nn.Module):
    """Last layer of a tower that computes its first steps only: (B, T, D) to (B, count, D).

    They attend to all others; five sixths of a layer's work are what the others would do afterwards. It is for the
    layers of CLIP, ViT, DeiT, DINOv2 and AST: a norm, attention without positions or mask, a norm, two linear layers,
    each half perhaps scaled.
    """

    def __init__(self, layer: nn.Module, count: int = 1) -> None:
        super().__init__()
        self.count = count
        # The names are those of ViT and AST, of CLIP, and of DINOv2, in this order.
        self.before = _find_part(layer, "layernorm_before", "layer_norm1", "norm1")
        self.attention = _find_part(layer, "attention", "self_attn")
        self.out = _find_part(self.attention, "o_proj", "out_proj")
        self.after = _find_part(layer, "layernorm_after", "layer_norm2", "norm2")
        self.mlp = _find_part(layer, "mlp")
        # Of these families only DINOv2 scales the halves.
        self.scale1, self.scale2 = (getattr(layer, f"layer_scale{n}", nn.Identity()) for n in (1, 2))

    def forward(self, states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Run the layer; masks and settings, which these towers do not have, are ignored."""
        attention = self.attention

        def heads(x: torch.Tensor) -> torch.Tensor:
            return x.view(*x.shape[:2], -1, attention.head_dim).transpose(1, 2)  # (B, H, T, D / H)

        x = self.before(states)
        queries, keys, values = attention.q_proj(x[:, : self.count]), attention.k_proj(x), attention.v_proj(x)
        seen = nn.functional.scaled_dot_product_attention(heads(queries), heads(keys), heads(values))
        first = states[:, : self.count] + self.scale1(self.out(seen.transpose(1, 2).flatten(2)))
        return first + self.scale2(self.mlp(self.after(first)))  # type: ignore[no-any-return]


def _find_part(module: nn.Module, *names: str) -> Any:
    """Return the part that has one of these names."""
    return getattr(module, next(name for name in names if hasattr(module, name)))
