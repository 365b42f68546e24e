"""Load one linear layer out of a checkpoint's safetensors, without reading the rest."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn

from ..errors import WeightsError


class ScaledLinear(nn.Module):
    """Linear layer from (B, N, P) uint8, times a factor plus a shift, to (B, N, D)."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, factor: float, shift: float) -> None:
        super().__init__()
        self.linear = nn.Linear(weight.shape[1], weight.shape[0])
        self.linear.load_state_dict({"weight": weight.float(), "bias": bias.float()})
        self.factor, self.shift = factor, shift

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Return the embeddings of patches."""
        found: torch.Tensor = self.linear(patches.float() * self.factor + self.shift)
        return found


def load_linear(folder: Path, name: str, factor: float, shift: float) -> ScaledLinear:
    """Return the layer whose parameters end in `name`.weight and .bias. WeightsError where they are not there."""
    found: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for key in file.keys():  # noqa: SIM118  # safe_open is no mapping
                if key.rpartition(".")[0].endswith(name):
                    found[key.rpartition(".")[2]] = file.get_tensor(key)
    if set(found) != {"weight", "bias"}:
        raise WeightsError(f"{folder}: expected {name}.weight and .bias among the weights, found {sorted(found)}")
    return ScaledLinear(found["weight"], found["bias"], factor, shift).requires_grad_(False)
