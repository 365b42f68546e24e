"""Define the adapter `conv`: a convolution over time with a stride, then two linear layers (SLAM-LLM)."""

from __future__ import annotations

import torch
from torch import nn

from .base import Adapter, group_steps


class Conv(Adapter):
    """Conv1d (kernel = stride) → ReLU → Linear → ReLU → Linear, with zeros after the end, so that no step is lost.

    stride  steps per token
    hidden  width between the two linear layers
    """

    def __init__(self, in_dim: int, out_dim: int, *, stride: int = 5, hidden: int = 2048) -> None:
        super().__init__(in_dim, out_dim, stride=stride, hidden=hidden)
        # Kernel and stride are the same, as in SLAM-LLM's EncoderProjectorCov1d: no step is read twice.
        self.conv = nn.Conv1d(in_dim, in_dim, stride, stride)
        self.linear_1 = nn.Linear(in_dim, hidden)
        self.linear_2 = nn.Linear(hidden, out_dim)

    def out_len(self, length: int) -> int:
        """Return one token for each stride, and one for the rest."""
        return -(-length // int(self.settings["stride"]))  # rounds up, as the padding does

    def transform_steps(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Convolve over time, then project each step by itself."""
        stride, dim = self.settings["stride"], self.in_dim
        # Conv1d drops the steps that fill no kernel; padding to whole groups first keeps them.
        groups, mask = group_steps(x, mask, stride)
        steps = groups.reshape(len(x), -1, dim).transpose(1, 2)  # (B, D, T)
        x = torch.relu(self.conv(steps)).transpose(1, 2)  # (B, T / stride, D)
        return self.linear_2(torch.relu(self.linear_1(x))), mask

    @property
    def last(self) -> nn.Linear:
        """The second linear layer."""
        return self.linear_2
