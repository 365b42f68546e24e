"""One contract: the same numbers from every runtime, and a row that does not know its batch."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from percepts import runtimes
from percepts.errors import MissingExtra, WeightsError
from percepts.runtimes import RUNTIMES, DeferredRunner, Network, Runtime, export_graph, graph_path, start_runner
from percepts.types import Inputs

HERE = [name for name, row in RUNTIMES.items() if row.is_installed and row.measured]


class Tiny(torch.nn.Module):
    """Two inputs, two outputs, one length that varies."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.near, self.far = torch.nn.Linear(12, 7), torch.nn.Linear(12, 300)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mixed = torch.softmax(x.float() / 255, dim=2)
        return self.near(mixed), self.far(mixed.mean(1)) + bias


def inputs(batch: int, length: int = 5, seed: int = 0) -> Inputs:
    rng = np.random.default_rng(seed)
    return {"x": rng.integers(0, 256, (batch, length, 12), np.uint8), "bias": rng.random((batch, 1), np.float32)}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    monkeypatch.setenv("PERCEPTS_CACHE", str(cache))
    return Network("tiny", "key-1", Tiny, inputs(1), ("near", "far"), {"x": {1: "length"}})


@pytest.mark.parametrize("name", HERE)
def test_every_runtime_gives_the_modules_numbers(name: str, network: Network) -> None:
    _, run = start_runner(network, name)
    for length in (5, 9):
        found = run(inputs(3, length))
        with torch.no_grad():
            expected = Tiny()(*(torch.from_numpy(value) for value in inputs(3, length).values()))
        assert [value.shape for value in found] == [(3, length, 7), (3, 300)]
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours, theirs, atol=1e-6)  # sums of twelve in another order


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("threads", [None, 1, 4])
def test_a_row_does_not_know_its_batch(name: str, threads: int | None, network: Network) -> None:
    _, run = start_runner(network, name, threads)
    whole = inputs(33)
    together = run(whole)
    for size in (1, 8, 32):
        parts = [run({key: value[at : at + size] for key, value in whole.items()}) for at in range(0, 33, size)]
        for i, output in enumerate(together):
            assert np.array_equal(output, np.concatenate([part[i] for part in parts]))


@pytest.mark.parametrize("name", HERE)
def test_threads_may_share_a_runner(name: str, network: Network) -> None:
    _, run = start_runner(network, name)
    batches = [inputs(4, seed=seed) for seed in range(8)]
    expected = [run(batch)[1] for batch in batches]
    found: dict[int, np.ndarray] = {}

    def work(i: int) -> None:
        found[i] = run(batches[i])[1]

    together([threading.Thread(target=work, args=(i,)) for i in range(8)])
    assert all(np.array_equal(found[i], expected[i]) for i in range(8))


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_results_are_the_callers_to_keep(name: str, network: Network) -> None:
    if name not in HERE:
        pytest.skip(f"{name} is not installed")
    _, run = start_runner(network, name)
    first = run(inputs(1))[1]
    kept = first.copy()
    run(inputs(1, seed=1))
    assert np.array_equal(first, kept)
    first += 1  # writable


def test_a_graph_is_exported_once_and_kept_by_its_key(network: Network) -> None:
    path = export_graph(network)
    made = path.stat().st_mtime_ns
    assert export_graph(network) == path == graph_path(network)
    assert path.stat().st_mtime_ns == made
    other = Network("tiny", "key-2", Tiny, inputs(1), ("near", "far"))
    assert graph_path(other) != path


def test_a_graph_needs_its_weights_only_once(network: Network) -> None:
    def gone() -> torch.nn.Module:
        raise WeightsError("the weights are not here any more")

    export_graph(network)
    later = Network("tiny", "key-1", gone, inputs(1), ("near", "far"), {"x": {1: "length"}})
    assert len(start_runner(later, "onnx")[1](inputs(2))) == 2
    with pytest.raises(WeightsError):
        start_runner(later, "torch")


def test_an_export_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERCEPTS_CACHE", str(tmp_path))

    def broken() -> torch.nn.Module:
        raise WeightsError("not to be had")

    with pytest.raises(WeightsError, match="not to be had"):
        export_graph(Network("broken", "key", broken, inputs(1), ("y",)))
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".lock"]


def test_exporting_leaves_the_global_state_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERCEPTS_CACHE", str(tmp_path))

    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)

    def state() -> tuple[object, ...]:
        drawn = torch.random.get_rng_state().numpy().tobytes()
        return torch.get_num_threads(), torch.is_grad_enabled(), drawn, dict(os.environ)

    torch.rand(1)  # else the seed that Tiny sets would leave the generator as it was
    before = state()
    export_graph(Network("tiny", "key-3", Tiny, inputs(1), ("near", "far")))
    assert state() == before
    start_runner(Network("tiny", "key-3", Tiny, inputs(1), ("near", "far")), "torch")
    assert state() == before


def test_many_threads_load_once(network: Network) -> None:
    made: list[int] = []

    def make() -> Network:
        made.append(1)
        return network

    run = DeferredRunner(make, "onnx")
    assert not made
    together([threading.Thread(target=run, args=(inputs(1),)) for _ in range(6)])
    assert len(made) == 1
    assert run.runtime == "onnx"


def test_auto_runs_and_says_which(network: Network) -> None:
    run = DeferredRunner(lambda: network)
    assert run.runtime in HERE
    again = DeferredRunner(lambda: network)
    assert again.runtime == run.runtime
    assert np.array_equal(run(inputs(3))[1], again(inputs(3))[1])


def test_unknown_runtimes_are_refused_at_once(network: Network) -> None:
    with pytest.raises(ValueError, match="expected a runtime of auto, onnx, openvino, torch, compile, got 'tensorrt'"):
        DeferredRunner(lambda: network, "tensorrt")


def test_a_runtime_that_is_not_installed_says_the_command(monkeypatch: pytest.MonkeyPatch, network: Network) -> None:
    row = Runtime("no_such_module", "openvino", RUNTIMES["openvino"].make)
    monkeypatch.setattr(runtimes, "RUNTIMES", {**RUNTIMES, "openvino": row})
    with pytest.raises(
        MissingExtra, match=r"runtime openvino needs no_such_module: pip install 'percepts\[openvino\]'"
    ):
        DeferredRunner(lambda: network, "openvino")


@pytest.mark.parametrize("name", HERE)
def test_nonsense_is_named(name: str, network: Network) -> None:
    with pytest.raises(ValueError, match="at least one item"):
        start_runner(network, name, 3)[1](inputs(0))
    with pytest.raises(ValueError, match="threads >= 1"):
        start_runner(network, name, 0)
    with pytest.raises(ValueError, match="threads >= 1"):
        DeferredRunner(lambda: network, name, 0)


def together(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
