"""Build the GE2E speaker network in torch, for export: 160 frames of 40 mel bands to one d-vector.

Wan et al. 2018 (arXiv 1710.10467) as Resemblyzer trained it: three LSTM layers, a linear layer, ReLU, length one.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

BANDS, HIDDEN, LAYERS, DIM = 40, 256, 3, 256


class DVector(nn.Module):
    """Network from (B, T, 40) mel power to (B, 256) of length one; zeros where the ReLU lets nothing through."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(BANDS, HIDDEN, LAYERS, batch_first=True)
        self.linear = nn.Linear(HIDDEN, DIM)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        """Return the d-vectors."""
        states, _ = self.lstm(mel)
        # The last state of the last layer, which Resemblyzer takes as hidden[-1].
        raw: torch.Tensor = torch.relu(self.linear(states[:, -1]))
        # Where the ReLU lets nothing through there is no direction: zeros stay zeros.
        length: torch.Tensor = raw.norm(dim=1, keepdim=True).clamp_min(1e-12)
        return raw / length


def load_network(path: Path) -> DVector:
    """Return the network with the weights of the checkpoint at `path`, in eval mode."""
    # Resemblyzer publishes a pickle: weights_only keeps it from running code.
    state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
    network = DVector()
    network.load_state_dict({name: state[name] for name in network.state_dict()})  # the rest is of the training loss
    return network.eval()
