"""Check the arguments of OpenL3's functions in openl3's order and with its messages."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from ...preprocess.openl3 import FRONTENDS
from .models import (
    VALID_AUDIO_EMBEDDING_SIZES,
    VALID_CONTENT_TYPES,
    VALID_IMAGE_EMBEDDING_SIZES,
    VALID_INPUT_REPRS,
    EmbeddingModel,
)
from .openl3_exceptions import OpenL3Error


def check_model_type(model: Any, modality: str) -> None:
    """Check that a model is None or comes from load_audio_embedding_model or load_image_embedding_model."""
    if model is not None and not isinstance(model, EmbeddingModel):
        raise OpenL3Error(f"Invalid model provided. Must be of type EmbeddingModel but got {type(model)}")
    if model is not None and model.modality != modality:
        raise OpenL3Error(f"Invalid model provided. Must be an {modality} model but got {model}")


def check_frontend_and_repr(frontend: Any, input_repr: Any, model: EmbeddingModel | None) -> str:
    """Return the input representation; None means mel256, but is refused for librosa, as in openl3."""
    if frontend not in FRONTENDS:
        raise OpenL3Error(f"Invalid frontend {frontend!r}. Must be one of {', '.join(FRONTENDS)}")
    # kapre and trained take the same input, so that either model fits either name.
    if model is not None and (model.frontend == "librosa") != (frontend == "librosa"):
        expected = 4 if frontend == "librosa" else 3
        raise OpenL3Error(
            f"Invalid model provided. The {frontend} frontend needs an input of {expected} axes, "
            f"got one of {len(model.input_shape)}: the model was loaded with frontend={model.frontend!r}"
        )
    if input_repr is None and frontend == "librosa":
        raise OpenL3Error("input_repr must be given where the frontend is librosa")
    if input_repr is None:
        return model.input_repr if model and model.input_repr else "mel256"
    if str(input_repr) not in VALID_INPUT_REPRS:
        raise OpenL3Error(f'Invalid input representation "{input_repr}"')
    if model is not None and frontend == "librosa" and model.input_repr != str(input_repr):
        raise OpenL3Error(f"Invalid input representation {input_repr!r} for a model of {model.input_repr}")
    return str(input_repr)


def check_audio_options(content_type: Any, embedding_size: Any, verbose: Any) -> None:
    """Check options as get_audio_embedding does, whether or not a model is given."""
    _check_options(content_type, embedding_size, VALID_AUDIO_EMBEDDING_SIZES, verbose)


def check_image_options(input_repr: Any, content_type: Any, embedding_size: Any, verbose: Any) -> None:
    """Check options as get_image_embedding does, whether or not a model is given."""
    if str(input_repr) not in VALID_INPUT_REPRS:
        raise OpenL3Error(f'Invalid input representation "{input_repr}"')
    _check_options(content_type, embedding_size, VALID_IMAGE_EMBEDDING_SIZES, verbose)


def _check_options(content_type: Any, embedding_size: Any, sizes: Sequence[int], verbose: Any) -> None:
    if str(content_type) not in VALID_CONTENT_TYPES:
        raise OpenL3Error(f'Invalid content type "{content_type}"')
    if embedding_size not in sizes:
        raise OpenL3Error(f'Invalid embedding size "{embedding_size}". Must be one of {", ".join(map(str, sizes))}')
    if verbose not in (0, 1):  # True and False are equal to them
        raise OpenL3Error(f"Invalid verbosity level {verbose}")


def as_arrays(values: Any, what: str) -> list[np.ndarray]:
    """Return one array or a list of arrays as a list."""
    if isinstance(values, np.ndarray):
        return [values]
    if not isinstance(values, list):
        raise OpenL3Error(f"{what} must be type list[np.ndarray] or np.ndarray. Got {type(values)}")
    for value in values:
        if not isinstance(value, np.ndarray):
            raise OpenL3Error(f"{what} must be type list[np.ndarray] or np.ndarray. Got a list with {type(value)}")
    return values


def as_rates(values: Any, what: str, count: int, things: str, *, optional: bool = False) -> list[Any]:
    """Return a rate for each input: the same for all, or those of a list of the same length."""
    if isinstance(values, Real) or (optional and values is None):
        return [values] * count
    if not isinstance(values, list):
        raise OpenL3Error(f"{what} must be type list[numbers.Real] or numbers.Real. Got {type(values)}")
    if len(values) != count:
        raise OpenL3Error(
            f"Mismatch between number of {things} inputs ({count}) and number of {what} values ({len(values)})"
        )
    return values


def hop_samples(hop_size: Any, center: Any) -> int:
    """Return the hop in samples at 48 kHz."""
    if not _is_positive(hop_size):
        raise OpenL3Error(f"Invalid hop size {hop_size}")
    if center not in (True, False):
        raise OpenL3Error(f"Invalid center value {center}")
    samples = int(hop_size * 48_000)  # rounded down, as in openl3
    if not samples:
        raise OpenL3Error(f"Invalid hop size {hop_size}: less than one sample at 48 kHz")
    return samples


def sample_rate(sr: Any) -> float:
    """Return a sample rate, which must be above 0."""
    if not _is_positive(sr):
        raise OpenL3Error(f"Invalid sample rate {sr}")
    return float(sr)


def check_frame_rate(rate: Any) -> None:
    """Check that a frame rate is None or above 0."""
    if rate is not None and not _is_positive(rate):
        raise OpenL3Error(f"Invalid frame rate {rate}")


def check_batch_size(size: Any) -> int:
    """Return the number of windows per batch, which does not affect results."""
    # bool is an int in Python.
    if not isinstance(size, int | np.integer) or isinstance(size, bool) or size < 1:
        raise OpenL3Error(f"Invalid batch size {size!r}. Must be a whole number above 0")
    return int(size)


def as_paths(filepath: Any) -> list[str]:
    """Return one path or a list of paths as a list of strings; unlike openl3, also for Path objects."""
    if isinstance(filepath, str | Path):
        return [str(filepath)]
    if not isinstance(filepath, list):
        raise OpenL3Error(f"filepath should be type str or list[str], but got {filepath}.")
    return [str(path) for path in filepath]


def _is_positive(value: Any) -> bool:
    # NaN fails both comparisons.
    return isinstance(value, Real) and 0 < float(value) < float("inf")
