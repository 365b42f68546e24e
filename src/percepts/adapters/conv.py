"""`conv`: a convolution over time with a stride, then two layers: SLAM-LLM's other projector."""

from __future__ import annotations

import torch
from torch import nn

from .base import Adapter, group_steps


class Conv(Adapter):
    """Conv1d (kernel = stride) → ReLU → Linear → ReLU → Linear; zeros after the end, so that no step is lost.

    stride  steps to one token
    hidden  numbers between the two layers
    """

    def __init__(self, in_dim: int, out_dim: int, *, stride: int = 5, hidden: int = 2048) -> None:
        super().__init__(in_dim, out_dim, stride=stride, hidden=hidden)
        self.conv = nn.Conv1d(in_dim, in_dim, stride, stride)
        self.linear_1 = nn.Linear(in_dim, hidden)
        self.linear_2 = nn.Linear(hidden, out_dim)

    def out_len(self, length: int) -> int:
        """One token for each stride, and one for what is left over."""
        return -(-length // int(self.settings["stride"]))

    def transform_steps(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Over time, then each step by itself."""
        stride, dim = self.settings["stride"], self.in_dim
        groups, mask = group_steps(x, mask, stride)
        steps = groups.reshape(len(x), -1, dim).transpose(1, 2)  # (B, D, T)
        x = torch.relu(self.conv(steps)).transpose(1, 2)
        return self.linear_2(torch.relu(self.linear_1(x))), mask

    @property
    def last(self) -> nn.Linear:
        """The second linear one."""
        return self.linear_2
