from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from percepts.preprocess.pixels import center_crop, normalise, resize, resize_and_crop, scale_shorter_side, to_square

settings.load_profile("ci")  # no deadlines: a loaded machine is no failure


def noise(height: int, width: int) -> np.ndarray:
    """Return the hardest image: each pixel is unlike its neighbours."""
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)


def in_two_steps(image: np.ndarray, size: int, crop: int, resample: Image.Resampling) -> np.ndarray:
    """Resize the image across, then down, and cut the middle."""
    height, width = scale_shorter_side(*image.shape[:2], size)
    across = Image.fromarray(image).resize((width, image.shape[0]), resample)
    return center_crop(np.asarray(across.resize((width, height), resample)), crop, crop)


@settings(max_examples=60)
@given(
    st.integers(20, 900),
    st.integers(20, 900),
    st.sampled_from([(256, 224), (224, 224), (64, 64)]),
    st.sampled_from(["bilinear", "bicubic", "lanczos"]),
)
def test_one_pass_is_within_a_level_of_resizing_and_then_cutting(height, width, sizes, resample):
    image = noise(height, width)
    got = resize_and_crop(image, *sizes, resample)
    expected = in_two_steps(image, *sizes, Image.Resampling[resample.upper()])
    # The same filter at the same places, rounded to 8 bits after each direction: a sum at a half falls either way.
    assert np.abs(got.astype(int) - expected).max() <= 1


@given(st.integers(1, 60), st.integers(1, 60))
def test_any_picture_can_be_cropped(height, width):
    got = resize_and_crop(np.full((height, width, 3), (1, 100, 255), np.uint8), 32, 28)
    assert got.shape == (28, 28, 3)
    assert (got == (1, 100, 255)).all()  # of one colour: it stays


def test_the_crop_is_the_middle():
    image = np.zeros((100, 300, 3), np.uint8)
    image[:, 100:200] = 255
    assert (resize_and_crop(image, 50, 50, "nearest") == 255).all()
    np.testing.assert_array_equal(center_crop(image, 100, 100), image[:, 100:200])


@pytest.mark.parametrize(
    ("size", "expected"), [((480, 640), (256, 341)), ((640, 480), (341, 256)), ((7, 7), (256, 256))]
)
def test_the_longer_side_is_rounded_down(size, expected):
    assert scale_shorter_side(*size, 256) == expected


def test_resize_is_pillow_s_and_leaves_alone_what_fits():
    image = noise(30, 40)
    expected = np.asarray(Image.fromarray(image).resize((20, 10), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(resize(image, 10, 20, "bilinear"), expected)
    assert resize(image, 30, 40) is image


def test_squares_are_padded_cropped_or_stretched():
    image = np.full((10, 30, 3), 200, np.uint8)
    padded = to_square(image, 30, "pad", fill=(9, 8, 7))
    assert padded.shape == (30, 30, 3)
    assert (padded[10:20] == 200).all() and (padded[:10] == (9, 8, 7)).all() and (padded[20:] == (9, 8, 7)).all()
    assert (to_square(image, 30, "crop") == 200).all()
    assert (to_square(image, 30, "stretch") == 200).all()


@pytest.mark.parametrize("channels_first", [True, False])
def test_normalise_is_its_formula(channels_first):
    pixels, mean, std = noise(5, 6)[None].repeat(2, axis=0), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    got = normalise(pixels, mean, std, scale=1 / 255, channels_first=channels_first)
    expected = (pixels / 255 - mean) / std
    assert got.dtype == np.float32 and got.flags.c_contiguous
    # Three roundings of float32, of numbers up to 3.
    np.testing.assert_allclose(got.transpose(0, 2, 3, 1) if channels_first else got, expected, rtol=0, atol=1e-6)


def test_effnet_s_numbers_are_exact():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    got = normalise(levels, (127.0,) * 3, (128.0,) * 3)
    np.testing.assert_array_equal(got[0].ravel(), (np.arange(256) - 127) / 128)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: resize_and_crop(np.zeros((5, 5, 3), np.float32)),
        lambda: resize_and_crop(np.zeros((5, 5), np.uint8)),
        lambda: resize_and_crop(np.zeros((0, 5, 3), np.uint8)),
        lambda: resize_and_crop(noise(5, 5), 10, 11),
        lambda: resize_and_crop(noise(5, 5), resample="cubic"),
        lambda: center_crop(noise(5, 5), 6, 5),
        lambda: resize(noise(5, 5), 0, 5),
        lambda: to_square(noise(5, 5), 4, "fit"),
        lambda: normalise(np.zeros((2, 2, 3), np.float32), (0,) * 3, (1,) * 3),
        lambda: normalise(noise(2, 2), (0,) * 3, (0,) * 3),
        lambda: normalise(noise(2, 2), (0,), (1,)),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(wrong):
    with pytest.raises(ValueError, match="expected"):
        wrong()
