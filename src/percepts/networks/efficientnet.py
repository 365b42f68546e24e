"""Build EfficientNet-Lite0 in torch, for export: pixels as bytes to patch features and class scores.

Tan & Le 2019 (arXiv 1905.11946) without squeeze-and-excitation and with ReLU6, as in TensorFlow's "Lite" release:
padding is TensorFlow's SAME, which at stride 2 pads right and bottom more. Parameters are named as in the checkpoint.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

# repeats, kernel, stride, expansion, channels out
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, HEAD, CLASSES, SIZE = 32, 1280, 1000, 224
EPS = 1e-3  # TensorFlow's release; torch's default is 1e-5
MEAN, SCALE = 127.0, 128.0  # MEAN_RGB and STDDEV_RGB of TensorFlow's Lite release


class SameConv(nn.Conv2d):
    """A convolution without bias and with SAME padding for an input of `size` pixels."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, size: int, groups: int = 1) -> None:
        super().__init__(inside, outside, kernel, stride, groups=groups, bias=False)
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        # Left, right, top, bottom.
        self.pad = (total // 2, total - total // 2) * 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run (B, C, H, W) float32."""
        padded = F.pad(x, self.pad) if any(self.pad) else x
        return F.conv2d(padded, self.weight, stride=self.stride, groups=self.groups)


class InvertedResidual(nn.Module):
    """Expand, convolve each channel, project; added to its input where the shapes allow it."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, expansion: int, size: int) -> None:
        super().__init__()
        wide = inside * expansion
        self.expands, self.skips = expansion > 1, inside == outside and stride == 1
        if self.expands:
            self._expand_conv = SameConv(inside, wide, 1, 1, size)
            self._bn0 = nn.BatchNorm2d(wide, EPS)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride, size, groups=wide)
        self._bn1 = nn.BatchNorm2d(wide, EPS)
        self._project_conv = SameConv(wide, outside, 1, 1, -(-size // stride))
        self._bn2 = nn.BatchNorm2d(outside, EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run (B, C, H, W) float32."""
        y: torch.Tensor = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skips else y


class EfficientNetLite0(nn.Module):
    """Network from (B, 224, 224, 3) uint8 to patches (B, 49, 1280) and class scores (B, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv(3, STEM, 3, 2, SIZE)
        self._bn0 = nn.BatchNorm2d(STEM, EPS)
        blocks: list[InvertedResidual] = []
        inside, size = STEM, SIZE // 2
        for repeats, kernel, stride, expansion, outside in STAGES:
            for i in range(repeats):
                blocks.append(InvertedResidual(inside, outside, kernel, 1 if i else stride, expansion, size))
                size = -(-size // blocks[-1]._depthwise_conv.stride[0])
                inside = outside
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = SameConv(inside, HEAD, 1, 1, size)
        self._bn1 = nn.BatchNorm2d(HEAD, EPS)
        self._fc = nn.Linear(HEAD, CLASSES)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return patches and class scores."""
        x = (pixels.permute(0, 3, 1, 2).float() - MEAN) / SCALE
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = F.relu6(self._bn1(self._conv_head(x))).flatten(2)  # (B, 1280, 49)
        return x.transpose(1, 2), self._fc(x.mean(2))


def load_network(path: Path) -> EfficientNetLite0:
    """Return the network with the weights of the checkpoint at `path`, in eval mode."""
    network = EfficientNetLite0()
    # The checkpoint is a pickle: weights_only keeps it from running code.
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()
