"""Makes tests/reference/effnet.npz with the package efficientnet-lite-pytorch 0.1.0 on the checkpoint's weights.

python tests/make_reference_effnet.py efficientnet_lite_pytorch-0.1.0-py3-none-any.whl
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from percepts import weights

TARGET = Path(__file__).parent / "reference/effnet.npz"


def pixels() -> np.ndarray:
    """Two pictures: noise, and a slope of colours."""
    noise = np.random.default_rng(7).integers(0, 256, (224, 224, 3), np.uint8)
    rows, columns = np.mgrid[:224, :224]
    slope = np.stack([rows, columns, 223 - rows], axis=-1).astype(np.uint8)
    return np.stack([noise, slope])


def main(wheel: Path) -> None:
    sys.path.insert(0, str(wheel))
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights.local_path("effnet-lite0"), map_location="cpu", weights_only=True))
    network.eval()
    x = (torch.from_numpy(pixels()).permute(0, 3, 1, 2).float() - 127) / 128
    with torch.no_grad():
        patches, scores = network.extract_features(x), network(x)
    np.savez_compressed(
        TARGET, features=patches.mean((2, 3)).numpy(), corner=patches[:, :, 0, 6].numpy(), scores=scores.numpy()
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
