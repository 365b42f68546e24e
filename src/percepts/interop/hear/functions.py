"""Make HEAR's three functions for an audio encoder: load it, and embed scenes and moments of audio."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...encoders import load_encoder, model_spec
from ...encoders.pooling import encode_vectors
from ...preprocess.resample import resample_clip
from ...types import Clip, Encoder

RATES = (16_000, 22_050, 32_000, 44_100, 48_000)
"""Sample rates at which HEAR can deliver audio."""
HOP = 0.05
"""Seconds between moments: the longest that HEAR's validator accepts without a warning."""
BATCH = 32


# HEAR's validator refuses a model that is no Module of torch or TensorFlow.
class HearModel(nn.Module):
    """An encoder with the attributes that HEAR reads, as `load_model` returns it. It has no trainable parameters."""

    def __init__(self, encoder: Encoder, hop: float) -> None:
        super().__init__()
        self.encoder, self.hop = encoder, hop
        rate = int(encoder.spec.rate)
        # The lowest rate that loses nothing of what the encoder hears.
        self.sample_rate = next((known for known in RATES if known >= rate), RATES[-1])
        self.scene_embedding_size = self.timestamp_embedding_size = encoder.spec.dim

    def vectors(self, audio: np.ndarray, hop: float) -> tuple[np.ndarray, np.ndarray]:
        """Embed samples (N,): return vectors (T, D) of windows centred on k * hop, and those times in seconds (T,)."""
        clip = resample_clip(
            Clip(np.asarray(audio, np.float32)[None], "audio", self.sample_rate), self.encoder.spec.rate
        )
        times = np.arange(1 + int(len(audio) / self.sample_rate / hop)) * hop
        windows = self._windows(clip, times)
        parts = []
        while batch := list(islice(windows, BATCH)):
            parts.append(encode_vectors(self.encoder, self.encoder.prepare(batch)))
        return np.concatenate(parts), times

    def _windows(self, clip: Clip, times: np.ndarray) -> Iterator[Clip]:
        row = self.encoder.spec
        length = round(row.rate * row.window)
        starts = np.rint(times * row.rate).astype(int)
        # Half a window before, since HEAR's times are centres; after it, enough to fill the last one.
        padded = np.pad(clip.data[0], (length // 2, length))
        for start in starts:
            yield Clip(padded[None, start : start + length], "audio", row.rate)


def make_module(
    name: str,
) -> tuple[Callable[..., HearModel], Callable[..., tuple[Tensor, Tensor]], Callable[..., Tensor]]:
    """Return HEAR's load_model, get_timestamp_embeddings and get_scene_embeddings for a named encoder."""

    def load_model(model_file_path: str = "", *, hop: float = HOP, **options: Any) -> HearModel:
        """Load the model.

        model_file_path  weight file, for encoders whose weights are one file of the user's; "" finds the weights
        hop              seconds between moments
        options          of `percepts.load`: runtime, threads
        """
        encoder = load_encoder(name, **options)
        if model_file_path:
            if not hasattr(encoder, "file"):
                raise ValueError(f"{name} finds its own weights; expected no model_file_path, got {model_file_path!r}")
            encoder.file = Path(model_file_path)
        return HearModel(encoder, hop)

    load_model.__doc__ = f"{load_model.__doc__}\n        The encoder is {model_spec(name).summary}.\n        "
    return load_model, get_timestamp_embeddings, get_scene_embeddings


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Embed the moments of audio.

    Args:
        audio: (S, N) samples in [-1, 1] at `model.sample_rate`.
        model: from `load_model`.

    Returns:
        vectors (S, T, D) float32, and the times of the moments (S, T) in milliseconds.
    """
    found = [model.vectors(sound, model.hop) for sound in _check_sounds(audio)]
    vectors = torch.from_numpy(np.stack([made for made, _ in found]))
    return vectors, torch.from_numpy(np.stack([times * 1000 for _, times in found]))


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """Embed whole audio files: return (S, D) float32, the mean of the vectors of windows that overlap by half.

    Args:
        audio: (S, N) samples in [-1, 1] at `model.sample_rate`.
        model: from `load_model`.
    """
    # At HEAR's hop of 50 ms every moment would be embedded many times for one mean.
    hop = model.encoder.spec.window / 2
    return torch.from_numpy(np.stack([model.vectors(sound, hop)[0].mean(axis=0) for sound in _check_sounds(audio)]))


def _check_sounds(audio: Tensor) -> np.ndarray:
    if audio.ndim != 2 or audio.shape[1] == 0:
        raise ValueError(f"expected sounds of shape (n_sounds, n_samples), got {tuple(audio.shape)}")
    return audio.detach().cpu().numpy()  # numpy takes no tensor of a GPU or with a gradient
