"""Export a model to ONNX for other runtimes and machines, and compare its output with ours before keeping it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...support.outputs import check_output_file, output_file
from .models import EmbeddingModel
from .openl3_exceptions import OpenL3Error

LARGEST_ERROR = 1e-3
"""Largest allowed difference from our output on noise: both are float32 in another order, and values reach 20."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """The exported file: the name and shape of its input, and the largest difference from our output on noise."""

    path: Path
    input: str
    shape: tuple[int | str, ...]
    error: float


def export(model: EmbeddingModel, path: str | Path, *, overwrite: bool = False) -> ExportReport:
    """Write the model as ONNX (opset 17, weights inside) with the frontend it was loaded with.

    An audio model takes `audio` (B, 48000), one second at 48 kHz, its frontend inside; one loaded with the librosa
    frontend takes `spectrogram` (B, F, T, 1), as in openl3. An image model takes `image` (B, 224, 224, 3), -1 to 1.
    All give `embedding` (B, D).

    Raises:
        OpenL3Error: the output of the exported model differs from ours; nothing is written.
        FileExistsError: there is such a file, and `overwrite` is not set.
    """
    check_output_file(path, overwrite=overwrite)
    # An extra, which only exporting needs.
    import onnxruntime

    from ...networks.openl3.onnx_graph import build_embedding_model

    inside = model.frontend if model.modality == "audio" and model.frontend != "librosa" else ""
    made = build_embedding_model(model.weights, model.input_repr, model.embedding_size, str(inside or ""))
    path = Path(path)
    data = made.SerializeToString()
    with output_file(path, overwrite=overwrite) as file:
        file.write(data)
        # The CPU alone: the sums of a GPU would add a difference of their own.
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        (told,) = session.get_inputs()
        x = _example_input(model)
        # The file takes (B, 48000), where Keras has an axis of one channel more.
        theirs = session.run(None, {told.name: x[:, 0] if inside else x})[0]
        error = float(np.abs(theirs - model.predict(x)).max())
        if not error < LARGEST_ERROR:  # not `>=`, which lets NaN pass; raised in here, no file is kept
            raise OpenL3Error(f"{path.name} differs from our embeddings by {error:.2g} on noise; the file was not kept")
    return ExportReport(path, told.name, tuple(told.shape), error)


def _example_input(model: EmbeddingModel) -> np.ndarray:
    """Return two items of noise as `predict` takes them, float32."""
    shape = (2, *(side or 1 for side in model.input_shape[1:]))
    low = -80.0 if model.frontend == "librosa" else -1.0  # decibels of a spectrogram, or samples and pixels
    return np.random.default_rng(0).uniform(low, 0 if low < -1 else 1, shape).astype(np.float32)
