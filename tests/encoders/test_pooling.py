from __future__ import annotations

import numpy as np
import pytest

from percepts.encoders.pooling import POOLERS, normalise, pool
from percepts.types import Features


@pytest.fixture
def frames() -> Features:
    data = np.random.default_rng(0).standard_normal((3, 5, 4)).astype(np.float32)
    return Features(data, np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], bool), 0.5)


def test_steps_outside_the_mask_do_not_count(frames: Features) -> None:
    found = pool(frames, "mean")
    np.testing.assert_allclose(found[0], frames.data[0].mean(axis=0), rtol=1e-6)  # float32 against float64 sums
    np.testing.assert_allclose(found[1], frames.data[1, :2].mean(axis=0), rtol=1e-6)
    assert not found[2].any()


@pytest.mark.parametrize("name", POOLERS)
def test_what_masked_steps_hold_changes_nothing(name: str, frames: Features) -> None:
    other = np.where(frames.mask[..., None], frames.data, np.float32(99))
    found = pool(Features(other, frames.mask, 0.5), name)
    assert np.array_equal(found[:2], pool(frames, name)[:2])


@pytest.mark.parametrize("name", POOLERS)
def test_a_batch_is_its_singles(name: str, frames: Features) -> None:
    alone = [pool(Features(frames.data[i : i + 1], frames.mask[i : i + 1], 0.5), name) for i in range(3)]
    assert np.array_equal(pool(frames, name), np.concatenate(alone))


def test_the_mean_of_a_long_sound_does_not_drift() -> None:
    data = np.full((1, 1_000_000, 1), 0.1, np.float32)  # float32 sums are off by 1e-2 here
    found = pool(Features(data, np.ones((1, 1_000_000), bool), 0.01), "mean")
    assert found[0, 0] == np.float32(0.1)


def test_one_step_is_its_own_mean() -> None:
    data = np.random.default_rng(0).standard_normal((2, 1, 9)).astype(np.float32)
    assert np.array_equal(pool(Features(data, np.ones((2, 1), bool), 0.0), "mean"), data[:, 0])


def test_length_one_and_zeros_stay_zeros(frames: Features) -> None:
    found = pool(frames, "l2mean")
    np.testing.assert_allclose(np.linalg.norm(found[:2], axis=1), 1, atol=1e-6)  # float32 rounding
    assert not found[2].any()
    assert np.isfinite(normalise(np.full((1, 4), 1e-38, np.float32))).all()


def test_concat_keeps_the_order_of_steps(frames: Features) -> None:
    assert np.array_equal(pool(frames, "concat")[0], frames.data[0].ravel())


def test_an_unknown_pooling_is_named() -> None:
    with pytest.raises(ValueError, match=r"pooling of mean, l2mean, cls, l2cls, concat, max, got 'avg'"):
        pool(Features(np.zeros((1, 1, 1), np.float32), np.ones((1, 1), bool), 0.0), "avg")
