"""Define the adapter `stack`: k steps side by side become one token (as in SLAM-LLM and Ultravox)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from .base import Adapter, group_steps


class Stack(Adapter):
    """Stacks `k` steps, with zeros after the end, and projects them.

    project  "linear": Linear → ReLU → Linear (SLAM-LLM, arXiv 2402.08846);
             "swiglu": RMSNorm → Linear → SwiGLU → RMSNorm → Linear, without biases (Ultravox)
    hidden   width between the two layers
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        k: int = 5,
        hidden: int = 2048,
        project: Literal["linear", "swiglu"] = "linear",
    ) -> None:
        super().__init__(in_dim, out_dim, k=k, hidden=hidden, project=project)
        if project not in ("linear", "swiglu"):
            raise ValueError(f"expected project of linear or swiglu, got {project!r}")
        gated = project == "swiglu"
        self.norm = _rms_norm(in_dim * k) if gated else nn.Identity()
        # Twice the width where it is gated: SwiGLU uses up one half as the gate.
        self.linear_1 = nn.Linear(in_dim * k, 2 * hidden if gated else hidden, bias=not gated)
        self.act: nn.Module = SwiGlu() if gated else nn.ReLU()
        # Ultravox added this norm in version 0.5 (`projector_ln_mid`).
        self.norm_mid = _rms_norm(hidden) if gated else nn.Identity()
        self.linear_2 = nn.Linear(hidden, out_dim, bias=not gated)

    def out_len(self, length: int) -> int:
        """Return one token for k steps, and one for the rest."""
        return -(-length // int(self.settings["k"]))  # rounds up, as the padding of group_steps does

    def transform_steps(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Project each group of k steps by itself."""
        x, mask = group_steps(x, mask, self.settings["k"])  # (B, T / k, k * D)
        return self.linear_2(self.norm_mid(self.act(self.linear_1(self.norm(x))))), mask

    @property
    def last(self) -> nn.Linear:
        """The second linear layer."""
        return self.linear_2


class SwiGlu(nn.Module):
    """The first half of the numbers, gated by the SiLU of the second (Shazeer 2020, arXiv 2002.05202)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Gate (…, 2 D) to (…, D)."""
        # Ultravox's order: SiLU is on the second half.
        value, gate = x.chunk(2, dim=-1)
        return nn.functional.silu(gate) * value


def _rms_norm(dim: int) -> nn.RMSNorm:
    return nn.RMSNorm(dim, eps=1e-6)
