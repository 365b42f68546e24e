"""Run the parts of a batch on a GPU: one is copied in while another computes and a third is copied out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

Call = Callable[..., tuple[torch.Tensor, ...]]


class Streams:
    """Three queues of work on a device: copies in, computing (the current queue), copies out.

    Host memory is pinned on both ways; without that a copy waits for the device. `torch.cpu` has queues of the same
    names that do nothing, so tests run the same lines without a GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._queues = device, _make_queues(device)
        self._in, self._out = self._queues.Stream(), self._queues.Stream()

    def map(self, call: Call, parts: Sequence[dict[str, np.ndarray]]) -> list[tuple[np.ndarray, ...]]:
        """Call `call` with the tensors of each part; return its outputs in order. Two parts must fit on the device."""
        results = []
        ahead = self._upload(parts[0])
        for following in (*parts[1:], None):
            now = self._queues.current_stream()
            now.wait_stream(self._in)
            outputs = call(*(_keep_until_used(tensor, now) for tensor in ahead))  # returns as soon as it is queued
            if following is not None:
                ahead = self._upload(following)
            results.append(self._download(outputs))
        self._queues.synchronize()  # until here the host memory may be incomplete
        return [tuple(output.numpy() for output in outputs) for outputs in results]

    def _upload(self, part: dict[str, np.ndarray]) -> list[torch.Tensor]:
        with self._queues.stream(self._in):
            tensors = [torch.from_numpy(np.ascontiguousarray(value)) for value in part.values()]
            return [self._pin_memory(tensor).to(self._device, non_blocking=True) for tensor in tensors]

    def _download(self, outputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        self._out.wait_stream(self._queues.current_stream())
        with self._queues.stream(self._out):
            return [self._copy_to_host(_keep_until_used(output, self._out)) for output in outputs]

    def _copy_to_host(self, output: torch.Tensor) -> torch.Tensor:
        pinned = torch.empty(output.shape, dtype=torch.float32, pin_memory=self._device.type == "cuda")
        return pinned.copy_(output, non_blocking=True)  # bfloat16 becomes float32 on the way

    def _pin_memory(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.pin_memory() if self._device.type == "cuda" else tensor


def _make_queues(device: torch.device) -> Any:
    return torch.cuda if device.type == "cuda" else torch.cpu


def _keep_until_used(tensor: torch.Tensor, stream: Any) -> torch.Tensor:
    """Keep the memory of a tensor until `stream`, on which it was not made, has used it."""
    if tensor.is_cuda:
        tensor.record_stream(stream)
    return tensor
