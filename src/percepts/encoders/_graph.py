"""Which graph an encoder runs: a fact for the reader of a manifest."""

from __future__ import annotations

from ..runtimes import Deferred
from ..types import Encoder


def graph_of(encoder: Encoder) -> str:
    """Return the sha256 of the ONNX graph that made an encoder's last vectors; "" where torch or numpy did."""
    inner = getattr(encoder, "encoder", encoder)  # of a head, which runs on another encoder's vectors
    for name in ("_leading", "_head", "_run"):
        if isinstance(runner := vars(inner).get(name), Deferred) and runner.graph:
            return runner.graph
    return ""
