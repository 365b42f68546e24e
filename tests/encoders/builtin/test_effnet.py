from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from make_reference_effnet import pixels

from percepts.encoders import load_encoder, pooling
from percepts.media.image import open_image

REFERENCE = Path(__file__).parents[2] / "reference/effnet.npz"
# Other kernels, other order of summing; batch norm folded into the convolutions. Features reach 6, scores 7.
TOLERANCE = 2e-4


@pytest.mark.parametrize("runtime", ["onnx", "openvino", "torch"])
def test_the_network_is_the_packages(runtime: str, have: Callable[[str], None]) -> None:
    have("effnet-lite0")
    if runtime == "openvino":
        pytest.importorskip("openvino")
    encoder, reference = load_encoder("effnet-lite0", runtime=runtime), np.load(REFERENCE)
    frames = encoder.encode({"pixels": pixels()})
    assert frames.data.shape == (2, 49, 1280)
    np.testing.assert_allclose(pooling.pool(frames, "mean"), reference["features"], atol=TOLERANCE)
    np.testing.assert_allclose(frames.data[:, 6], reference["corner"], atol=TOLERANCE)
    expected = np.exp(reference["scores"].astype(float))
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.classify({"pixels": pixels()}), expected, atol=TOLERANCE)  # type: ignore[attr-defined]
    assert encoder.runtime == runtime  # type: ignore[attr-defined]


@pytest.mark.parametrize(("picture", "label"), [("coffee.png", "espresso"), ("chelsea.png", "cat")])
def test_real_pictures_get_their_labels(picture: str, label: str, have: Callable[[str], None]) -> None:
    have("effnet-lite0")
    clip = open_image(Path(pytest.importorskip("skimage").__file__).parent / "data" / picture)
    encoder = load_encoder("effnet-lite0")
    found = encoder.classify(encoder.prepare([clip]))[0]  # type: ignore[attr-defined]
    assert label in encoder.labels[found.argmax()]  # type: ignore[attr-defined]
