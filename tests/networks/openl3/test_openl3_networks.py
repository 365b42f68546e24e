"""One list of steps, four runtimes: the same grids, from the 48 arrays as Keras would use them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import openl3_recipe as recipe
import pytest
import torch
from torch.nn import functional

from percepts.errors import MissingExtra
from percepts.networks.openl3.plan import (
    INPUT_SHAPES,
    PUBLISHED,
    Conv,
    OpenL3Weights,
    Scale,
    build_steps,
    embedding_sizes,
    fold_steps,
    last_pool_size,
)
from percepts.networks.openl3.runner import build_grid, choose_runtime, list_runtimes, pool_grids


def weights(what: str) -> OpenL3Weights:
    return OpenL3Weights("image" if what == "image" else "audio", tuple(recipe.arrays(what)))


def keras(arrays: Sequence[np.ndarray], x: np.ndarray, pools: list[tuple[int, int]], image: bool) -> list[np.ndarray]:
    """The network layer by layer, as its papers and its package write it. (B, C, H, W) to an embedding a pooling."""
    held = iter(torch.from_numpy(np.asarray(array, np.float64)) for array in arrays)

    def norm(x: torch.Tensor) -> torch.Tensor:
        gamma, beta, mean, variance = (next(held) for _ in range(4))
        return functional.batch_norm(x, mean, variance, gamma, beta, False, 0.0, 1e-3)

    def conv(x: torch.Tensor) -> torch.Tensor:
        kernel, bias = next(held), next(held)
        return functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias, padding="same")

    y = norm(torch.from_numpy(x.astype(np.float64)))
    for block in range(4):
        y = norm(conv(y)).relu()
        if block == 3:
            break
        y = norm(conv(y).relu()) if image and block == 0 else norm(conv(y)).relu()
        y = functional.max_pool2d(y, 2)
    y = conv(y)
    return [functional.max_pool2d(y, pool).permute(0, 2, 3, 1).flatten(1).numpy() for pool in pools]


def item(what: str, count: int = 1) -> np.ndarray:
    rng = np.random.default_rng(0)
    if what == "image":
        return rng.uniform(-1, 1, (count, 3, 224, 224)).astype(np.float32)
    return rng.uniform(-80, 0, (count, 1, *INPUT_SHAPES[what])).astype(np.float32)  # type: ignore[index]


@pytest.fixture(scope="module", params=["linear", "mel128", "mel256", "image"])
def case(request: pytest.FixtureRequest) -> tuple[str, OpenL3Weights, np.ndarray, dict[int, np.ndarray]]:
    what = request.param
    held, x = weights(what), item(what)
    shape = x.shape[2:]
    pools = [last_pool_size(held.modality, shape), (shape[0] // 8, shape[1] // 8)]
    references = keras(held.arrays, x, pools, what == "image")
    return what, held, x, dict(zip(embedding_sizes(held.modality), references, strict=True))


@pytest.mark.parametrize("runtime", ["ncnn", "onnx", "openvino", "torch"])
def test_every_runtime_gives_both_sizes_in_one_pass(case: tuple, runtime: str, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PERCEPTS_CACHE", str(tmp_path))
    if runtime not in list_runtimes():
        pytest.skip(f"{runtime} is not installed")
    _, held, x, expected = case
    found = build_grid(held, x.shape[2:], runtime, 1)(x)
    for size, reference in expected.items():
        # float32 against float64 over eight layers, Winograd included: measured 3e-5 on values up to 25
        np.testing.assert_allclose(pool_grids(found, size), reference, rtol=0, atol=1e-4)


def test_folding_changes_no_number_to_speak_of(case: tuple) -> None:
    what, held, _, _ = case
    plan = build_steps(held, (1, 1))
    folded = fold_steps(plan)
    assert sum(isinstance(step, Conv) for step in folded) == 8
    # a scale stays at the input, and one behind the relu of the pictures' first block
    assert sum(isinstance(step, Scale) for step in folded) == (2 if what == "image" else 1)


@pytest.mark.parametrize("runtime", ["ncnn", "onnx", "torch"])
def test_a_batch_is_its_items_to_the_bit(runtime: str, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PERCEPTS_CACHE", str(tmp_path))
    if runtime not in list_runtimes():
        pytest.skip(f"{runtime} is not installed")
    x = item("mel128", 3)
    run = build_grid(weights("mel128"), INPUT_SHAPES["mel128"], runtime, 2)
    np.testing.assert_array_equal(run(x), np.concatenate([run(x[i : i + 1]) for i in range(3)]))


def test_memory_that_is_not_contiguous_is_taken_as_well(monkeypatch, tmp_path) -> None:
    x = np.random.default_rng(1).uniform(-1, 1, (2, 224, 224, 3)).astype(np.float32)
    run = build_grid(weights("image"), (224, 224), threads=1)
    np.testing.assert_array_equal(run(np.moveaxis(x, -1, 1)), run(np.ascontiguousarray(np.moveaxis(x, -1, 1))))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_bfloat16_is_refused_where_it_would_be_slower() -> None:
    assert "torch-bf16" not in list_runtimes()
    with pytest.raises(ValueError, match="needs a GPU"):
        build_grid(weights("mel128"), INPUT_SHAPES["mel128"], "torch-bf16")


def test_embeddings_of_a_size_that_is_not_published_are_refused() -> None:
    with pytest.raises(ValueError, match="6144 or 512"):
        pool_grids(np.zeros((1, 12, 512), np.float32), 100)


def test_a_network_of_another_shape_is_refused_by_name() -> None:
    arrays = list(recipe.arrays("mel256"))
    arrays[4] = arrays[4][:, :, :, :-1]
    with pytest.raises(ValueError, match=r"array 4 is \(3, 3, 1, 63\), expected \(3, 3, 1, 64\)"):
        OpenL3Weights("audio", tuple(arrays))
    with pytest.raises(ValueError, match="47 arrays, expected 48"):
        OpenL3Weights("audio", tuple(recipe.arrays("mel256")[:-1]))
    arrays = [array * np.nan for array in recipe.arrays("mel256")]
    with pytest.raises(ValueError, match="not finite"):
        OpenL3Weights("audio", tuple(arrays))


def test_there_are_twelve_published_networks() -> None:
    assert len({model.name for model in PUBLISHED}) == len({model.stem for model in PUBLISHED}) == 12
    assert PUBLISHED[-1].stem == "openl3_image_mel256_env"


def test_runtimes_are_chosen_by_what_is_installed(monkeypatch) -> None:
    from percepts.networks.openl3 import runner

    monkeypatch.setattr(runner, "find_spec", lambda name: None if name == "ncnn" else name)
    monkeypatch.setattr(runner, "_has_gpu", lambda: False)
    assert choose_runtime() == "onnx"
    with pytest.raises(MissingExtra, match=r"pip install 'percepts\[ncnn\]'"):
        choose_runtime("ncnn")
    with pytest.raises(ValueError, match="auto, ncnn, onnx, openvino, torch, torch-bf16"):
        choose_runtime("tensorflow")
