"""Find the graph that an encoder runs, so that a manifest can name it."""

from __future__ import annotations

from ..runtimes import DeferredRunner
from ..types import Encoder


def find_graph_digest(encoder: Encoder) -> str:
    """Return the sha256 of the ONNX graph that made an encoder's last vectors; "" where torch or numpy did."""
    inner = getattr(encoder, "encoder", encoder)  # of a head, which runs on another encoder's vectors
    # By vars: getattr would compute a cached_property, which builds the network.
    for name in ("_leading", "_head", "_run"):
        if isinstance(runner := vars(inner).get(name), DeferredRunner) and runner.graph:
            return runner.graph
    return ""
