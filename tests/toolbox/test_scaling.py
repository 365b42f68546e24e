from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_lm
import torch
from PIL import Image

from percepts.toolbox.scaling import (
    MODEL_SIZES,
    count_parameters,
    fit_power_law,
    plot_law,
    plot_model_sizes,
    training_flops,
)

X = np.geomspace(1e5, 1e9, 9)


@pytest.mark.parametrize("floor", [0.0, 0.5, 1.7])
@pytest.mark.parametrize("exponent", [0.05, 0.076, 0.3])
def test_a_law_without_noise_is_found(exponent: float, floor: float) -> None:
    found = fit_power_law(X, floor + 20 * X**-exponent, floor=floor > 0)
    assert found.exponent == pytest.approx(exponent, rel=1e-3)
    assert found.floor == pytest.approx(floor, rel=1e-3, abs=1e-12)
    assert found.predict(1e11) == pytest.approx(floor + 20 * 1e11**-exponent, rel=1e-4)
    assert found.r2 == pytest.approx(1)


@pytest.mark.parametrize("floor", [False, True])
def test_the_interval_holds_the_truth_as_often_as_it_says(floor: bool) -> None:
    rng, held, count = np.random.default_rng(0), 0, 120
    for _ in range(count):
        loss = (0.8 * floor + 30 * X**-0.2) * np.exp(0.01 * rng.standard_normal(len(X)))
        low, high = fit_power_law(X, loss, floor=floor).interval(0.9)
        held += low <= 0.2 <= high
    assert 0.82 < held / count < 0.97  # 90 %, give or take three deviations of 120 draws


def test_the_band_widens_beyond_what_was_measured() -> None:
    loss = 30 * X**-0.1 * np.exp(0.02 * np.random.default_rng(1).standard_normal(len(X)))
    law = fit_power_law(X, loss)
    low, high = law.band(np.array([1e7, 1e13]))
    assert (low < law.predict(np.array([1e7, 1e13]))).all() and high[1] / low[1] > high[0] / low[0]


def test_too_little_to_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 3 pairs"):
        fit_power_law([1, 2, 3], [3, 2, 1], floor=True)
    with pytest.raises(ValueError, match="above 0"):
        fit_power_law([0, 2, 3], [3, 2, 1])


def test_parameters_are_counted_without_embeddings_and_once() -> None:
    model = tiny_lm.llama()
    tokens = model.get_input_embeddings().weight.numel()
    every = sum(p.numel() for p in model.parameters())
    assert count_parameters(model) == every - tokens
    assert count_parameters(model, embeddings=True) == every
    model.lm_head.weight = model.get_input_embeddings().weight  # shared with the head
    assert count_parameters(model) == every - 2 * tokens
    by_hand = 2 * (32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 48 + 64) + 32
    assert count_parameters(model) == by_hand


def test_operations_are_six_a_parameter_and_token() -> None:
    assert training_flops(1e9, 2e10) == 1.2e20
    layer, x = torch.nn.Linear(64, 64, bias=False), torch.randn(10, 64, requires_grad=True)
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        layer(x).sum().backward()
    assert counter.get_total_flops() == training_flops(64 * 64, 10)


def test_pictures_are_drawn(tmp_path: Path) -> None:
    loss = 1 + 20 * X**-0.2
    plot_law(
        fit_power_law(X[:6], loss[:6], floor=True),
        X[:6],
        loss[:6],
        tmp_path / "law.png",
        upto=1e10,
        held_out=[(X[8], loss[8])],
    )
    plot_model_sizes(tmp_path / "sizes.png")
    for path in tmp_path.iterdir():
        with Image.open(path) as picture:
            assert picture.size[0] > 500
    assert [month for _, month, _ in MODEL_SIZES] == sorted(month for _, month, _ in MODEL_SIZES)
