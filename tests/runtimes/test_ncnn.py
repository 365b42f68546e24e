"""The ncnn runtime on a small graph: its numbers, its rows, its errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from percepts.errors import EncodeError
from percepts.networks.openl3 import ncnn_graph as graphs
from percepts.networks.openl3.plan import Conv, Pool, Relu, Scale, Step

ncnn = pytest.importorskip("ncnn", reason="ncnn is not installed")
from percepts.runtimes.ncnn import NcnnRunner, save_ncnn  # noqa: E402


def small(seed: int = 0) -> list[Step]:
    rng = np.random.default_rng(seed)

    def conv(before: int, after: int, relu: bool) -> Conv:
        return Conv(rng.normal(0, 0.3, (3, 3, before, after)), rng.normal(0, 0.1, after), relu)

    scale = Scale(rng.uniform(0.5, 1.5, 1), rng.normal(0, 1, 1))
    after = Scale(rng.uniform(-1, 1, 16), rng.normal(0, 1, 16))
    return [scale, conv(1, 16, True), conv(16, 16, False), Relu(), after, Pool(2, 2), conv(16, 20, True), Pool(4, 3)]


def plainly(plan: list[Step], x: np.ndarray) -> np.ndarray:
    """(C, H, W) through the steps in float64."""
    for step in plan:
        match step:
            case Scale():
                x = x * step.scale[:, None, None] + step.shift[:, None, None]
            case Conv():
                cut = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1))), (3, 3), (1, 2))
                x = np.einsum("chwij,ijco->ohw", cut, step.kernel) + step.bias[:, None, None]
                x = np.maximum(x, 0) if step.relu else x
            case Relu():
                x = np.maximum(x, 0)
            case Pool():
                channels, height, width = x.shape
                rows, columns = height // step.height, width // step.width
                kept = x[:, : rows * step.height, : columns * step.width]
                x = kept.reshape(channels, rows, step.height, columns, step.width).max(axis=(2, 4))
    return x


@pytest.mark.parametrize("strips", [(), (4,), (8, 4), (2, 0)])
@pytest.mark.parametrize("shape", [(24, 19), (25, 18), (16, 7)])
def test_a_graph_gives_what_its_steps_say_in_strips_or_whole(strips: tuple[int, ...], shape: tuple[int, int]) -> None:
    x = np.random.default_rng(1).normal(0, 1, (2, 1, *shape)).astype(np.float32)
    run = NcnnRunner(*graphs.build_files(small(), shape[0], strips), output="grid", threads=1)
    (found,) = run({"x": x})
    expected = np.stack([plainly(small(), item.astype(np.float64)) for item in x])
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=1e-4
    )  # float32, Winograd included: measured 3e-5, values up to 10


def test_one_graph_takes_any_width() -> None:
    run = NcnnRunner(*graphs.build_files(small(), 16), output="grid", threads=1)
    for width in (6, 18, 50):
        x = np.random.default_rng(2).normal(0, 1, (1, 1, 16, width)).astype(np.float32)
        np.testing.assert_allclose(run({"x": x})[0][0], plainly(small(), x[0].astype(np.float64)), rtol=0, atol=1e-4)


def test_a_batch_is_its_rows_to_the_bit_on_any_threads() -> None:
    x = np.random.default_rng(3).normal(0, 1, (5, 1, 24, 18)).astype(np.float32)
    one, many = (NcnnRunner(*graphs.build_files(small(), 24), output="grid", threads=n) for n in (1, 3))
    alone = np.concatenate([one({"x": x[i : i + 1]})[0] for i in range(5)])
    np.testing.assert_array_equal(many({"x": x})[0], alone)


def test_a_graph_that_is_none_and_a_blob_that_is_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot read this graph"):
        NcnnRunner("7767517\n1 1\nNoSuchLayer x 0 1 x\n", b"", output="grid")
    run = NcnnRunner(*graphs.build_files(small(), 24), output="other", threads=1)
    with pytest.raises(EncodeError, match="could not compute 'other'"):
        run({"x": np.zeros((1, 1, 24, 18), np.float32)})
    with pytest.raises(ValueError, match="at least one"):
        run({"x": np.zeros((0, 1, 24, 18), np.float32)})


def test_saved_files_are_ncnns_own(tmp_path: Path) -> None:
    param, weights = graphs.build_files(small(), 24)
    save_ncnn(tmp_path / "net", param, weights)
    net = ncnn.Net()
    assert net.load_param(str(tmp_path / "net.param")) == 0
    assert net.load_model(str(tmp_path / "net.bin")) == 0
