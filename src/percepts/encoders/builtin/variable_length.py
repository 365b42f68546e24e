"""Run texts of several lengths through a network, each at its own length."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...types import Features, Inputs


def encode_by_length(run: Callable[[Inputs], tuple[np.ndarray, ...]], inputs: Inputs, dim: int) -> Features:
    """Return (B, T, dim) states of {"ids": (B, T), "lengths": (B,)}; the mask is False after the end of each text.

    Texts of one length share a call, so what a text is padded to, and beside whom, changes nothing.
    """
    ids, lengths = inputs["ids"], inputs["lengths"]
    data = np.zeros((*ids.shape, dim), np.float32)
    for length in np.unique(lengths):
        same = np.flatnonzero(lengths == length)
        data[same, :length] = run({"ids": ids[same, :length]})[0]
    return Features(data, np.arange(ids.shape[1]) < lengths[:, None], 0.0)
