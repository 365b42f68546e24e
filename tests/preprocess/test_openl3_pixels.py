"""Images as openl3 0.4.2 scales them, quirks included, and as its network was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from openl3_recipe import loaded

from percepts.preprocess.openl3_pixels import as_openl3, crop_centre, scale_to_trained_range


def test_pixels_are_openl3s(shared: Path) -> None:
    inputs, reference = (loaded(shared / "openl3" / name) for name in ("inputs_image.npz", "ref_image_512.npz"))
    for name in inputs:
        images = inputs[name] if inputs[name].ndim == 4 else inputs[name][None]
        ours = as_openl3(images)[:, ::7, ::7]
        # one unit in the last place of float32 at 1
        np.testing.assert_allclose(ours, reference[f"pre/{name}"], rtol=0, atol=1.2e-7, err_msg=name)


def bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Rescale as scikit-image does without smoothing, pixel by pixel."""
    out = np.empty((height, width, 3))
    for y in range(height):
        v = (y + 0.5) * image.shape[0] / height - 0.5
        for x in range(width):
            u = (x + 0.5) * image.shape[1] / width - 0.5
            (a, b), (p, q) = (int(v), v % 1), (int(u), u % 1)
            top = image[a, p] * (1 - q) + image[a, min(p + 1, image.shape[1] - 1)] * q
            below = image[min(a + 1, image.shape[0] - 1)]
            out[y, x] = top * (1 - b) + (below[p] * (1 - q) + below[min(p + 1, image.shape[1] - 1)] * q) * b
    return out


def test_a_large_picture_is_scaled_without_smoothing_and_cut() -> None:
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    scaled = bilinear(image / 255.0, 256, 341)
    np.testing.assert_allclose(as_openl3(image[None])[0], scaled[16:240, 58:282], rtol=0, atol=1e-6)


def test_the_range_depends_on_the_size_as_it_does_in_openl3() -> None:
    for side, low, high in ((224, -1, 1), (240, 0, 1), (300, 0, 1)):
        ramp = np.linspace(0, 255, side * side * 3).astype(np.uint8).reshape(1, side, side, 3)
        found = as_openl3(ramp)
        assert found.min() < low + 0.2
        assert found.max() > high - 0.2
        assert found.shape == (1, 224, 224, 3)
    dark = np.full((1, 230, 230, 3), 99, np.uint8)
    assert (as_openl3(dark) == 1).all()  # divided by its own largest value


def test_pictures_of_one_array_scale_one_another() -> None:
    pair = np.zeros((2, 230, 230, 3), np.uint8)
    pair[0], pair[1] = 50, 200
    np.testing.assert_allclose(as_openl3(pair)[0], 0.25)


def test_small_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 224"):
        as_openl3(np.zeros((1, 223, 300, 3), np.uint8))


@pytest.mark.parametrize("shape", [(1, 1), (50, 800), (224, 224), (481, 333)])
def test_any_picture_can_be_taken_as_in_training(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 255, np.uint8)
    assert (scale_to_trained_range(crop_centre(image)) == 1).all()
    assert crop_centre(image).shape == (224, 224, 3)


def test_both_ways_agree_where_openl3_keeps_to_its_training() -> None:
    image = np.random.default_rng(1).integers(0, 256, (224, 224, 3), np.uint8)
    np.testing.assert_allclose(
        scale_to_trained_range(crop_centre(image)), as_openl3(image[None])[0], rtol=0, atol=1.2e-7
    )
