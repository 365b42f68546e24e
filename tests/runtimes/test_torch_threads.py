"""Parts of a batch side by side on threads of their own: the same numbers, and nobody else's settings touched."""

from __future__ import annotations

import numpy as np
import torch

from percepts.runtimes.torch import TorchRunner, make_thread_pool


def test_a_pool_computes_with_one_thread_each_and_leaves_the_process_as_it_was() -> None:
    before = torch.get_num_threads()
    pool = make_thread_pool(2)
    assert set(pool.map(lambda _: torch.get_num_threads(), range(8))) == {1}
    assert torch.get_num_threads() == before


def test_parts_side_by_side_give_the_batch_in_its_order() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.GELU()).eval()
    batch = {"x": np.random.default_rng(0).standard_normal((13, 16)).astype(np.float32)}
    alone = TorchRunner(module, 1)(batch)[0]
    for rows, threads in ((4, 3), (8, 2), (32, 2), (2, 1)):
        together = TorchRunner(module, rows, threads=threads)(batch)[0]
        np.testing.assert_allclose(together, alone, atol=1e-6)  # another number of rows is summed in another order
