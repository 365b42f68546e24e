"""The lines that overlap copying and computing, walked on a CPU, where every queue is the same one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from percepts.runtimes import Network
from percepts.runtimes.streams import Streams
from percepts.runtimes.torch import TorchRunner, choose_device
from percepts.support.machine import is_out_of_memory


def test_parts_come_back_in_order_as_float32() -> None:
    rng = np.random.default_rng(0)
    parts = [{"x": rng.random((n, 5), np.float32), "y": rng.random((n, 1), np.float32)} for n in (4, 4, 3)]

    def call(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return x * y, (x + y).bfloat16()

    found = Streams(torch.device("cpu")).map(call, parts)
    assert [product.shape for product, _ in found] == [(4, 5), (4, 5), (3, 5)]
    for part, (product, total) in zip(parts, found, strict=True):
        np.testing.assert_array_equal(product, part["x"] * part["y"])
        assert total.dtype == np.float32
        np.testing.assert_allclose(total, part["x"] + part["y"], rtol=2**-8)  # bfloat16 has eight bits


class Hungry(torch.nn.Module):
    """Has memory for two rows."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error, self.calls = error, list[int]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(x))
        if len(x) > 2:
            raise self.error
        return x + 1


ALLOCATOR = RuntimeError(
    "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried to allocate"
)


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), ALLOCATOR])
def test_a_call_that_does_not_fit_is_halved_and_that_is_remembered(error: Exception) -> None:
    module = Hungry(error)
    run = TorchRunner(module, rows=8, threads=1)
    batch = {"x": np.arange(8, dtype=np.float32)[:, None]}
    assert np.array_equal(run(batch)[0], batch["x"] + 1)
    assert module.calls[0] == 8
    assert module.calls[-4:] == [2, 2, 2, 2]
    module.calls.clear()
    run(batch)
    assert module.calls == [2, 2, 2, 2]


def test_another_error_is_no_reason_to_try_again() -> None:
    module = Hungry(RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        TorchRunner(module, rows=8, threads=1)({"x": np.zeros((8, 1), np.float32)})
    assert module.calls == [8]
    assert not is_out_of_memory(ValueError("not enough memory"))


@pytest.mark.parametrize(
    ("rows", "precision", "where"),
    [(8, "float32", "cuda"), (8, "bfloat16", "cuda"), (8, "int8", "cpu"), (1, "float32", "cpu")],
)
def test_a_gpu_gets_what_fills_it(rows: int, precision: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    network = Network("n", "k", torch.nn.Identity, {}, (), rows=rows, precision=precision)
    assert choose_device(network) == where


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler about itself
def test_a_compiled_network_gives_the_modules_numbers(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shutil import which

    from percepts.runtimes import start_runner

    if which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler on a CPU")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.GELU(), torch.nn.Linear(8, 3)).eval()
    batch = {"x": np.random.default_rng(0).random((9, 6), np.float32)}
    network = Network("n", "k", lambda: module, {"x": batch["x"][:1]}, ("y",), rows=4)
    name, run = start_runner(network, "compile")
    assert name == "compile"
    with torch.no_grad():
        np.testing.assert_allclose(run(batch)[0], module(torch.from_numpy(batch["x"])), atol=1e-6)
