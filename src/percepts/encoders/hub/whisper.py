"""Encode speech with Whisper's encoder: 50 states a second, cut to the true length of the clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...preprocess.mel import WHISPER_HOP, whisper_log_mel
from ...types import Clip, Features, Inputs
from ...weights.checkpoint import Checkpoint
from ..validation import check_clips
from . import audio
from .base import TokenGrid
from .classifier import WithClassifier

if TYPE_CHECKING:
    import torch

RATE = 16_000
SAMPLES_A_STEP = 2 * WHISPER_HOP  # the second convolution has a stride of 2


class Whisper(WithClassifier):
    """Radford et al. 2022 (arXiv 2212.04356). A shorter window has the first of the trained positions."""

    pools = ("mean",)
    head_classes: ClassVar[tuple[str, ...]] = ("WhisperForAudioClassification",)

    @classmethod
    def describe(cls, checkpoint: Checkpoint) -> dict[str, Any]:
        """Return the fields of a Spec that the settings of a checkpoint tell, without its weights."""
        config = checkpoint.config
        audio.check_equal(
            checkpoint, "the number of mels", checkpoint.processor.get("feature_size", 80), config["num_mel_bins"]
        )
        window = config["max_source_positions"] * SAMPLES_A_STEP / RATE
        return {"kind": "audio", "rate": float(RATE), "window": window, "dim": config["d_model"], "pool": "mean"}

    @property
    def grid(self) -> TokenGrid:
        """Steps of 20 ms."""
        return TokenGrid(("time",), (self._step_count,), SAMPLES_A_STEP / RATE)

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Turn audio into {"mel": (B, M, T) float32, "lengths": (B,) samples}."""
        check_clips(clips, "audio", self.spec)
        samples, lengths = audio.stack_samples(clips, self._step_count * SAMPLES_A_STEP)
        seconds = self._step_count * SAMPLES_A_STEP / RATE
        return {"mel": whisper_log_mel(samples, self.config["num_mel_bins"], seconds=seconds), "lengths": lengths}

    def tokens(self, inputs: Inputs) -> Features:
        """Return (B, T, D) states, a step every 20 ms; the mask is False after the end of the clip."""
        states = self._run(self.select_inputs(inputs))[0]
        steps = np.maximum(-(-inputs["lengths"] // SAMPLES_A_STEP), 1)
        return Features(states, np.arange(states.shape[1]) < steps[:, None], SAMPLES_A_STEP / RATE)

    def example(self) -> Inputs:
        """Return silence."""
        # Two frames to a step.
        return {"mel": np.zeros((1, self.config["num_mel_bins"], 2 * self._step_count), np.float32)}

    def build(self) -> torch.nn.Module:
        """Build the encoder alone, its positions cut to the window."""
        from ...weights import pretrained

        model = pretrained.load_pretrained("WhisperModel", self.checkpoint.folder)
        self.fit_window(model)
        return pretrained.WrappedModel(model.encoder, lambda m, mel: m(mel).last_hidden_state)

    def select_inputs(self, inputs: Inputs) -> Inputs:
        """Return the spectrogram, which is all that the network takes."""
        return {"mel": inputs["mel"]}

    def fit_window(self, model: Any) -> None:
        """Keep the first of the positions, as many as the window has."""
        encoder = model.encoder
        # The model refuses spectrograms of another length than this.
        encoder.config.max_source_positions = self._step_count
        # A clone: a slice alone would keep all trained positions in memory.
        encoder.embed_positions.weight.data = encoder.embed_positions.weight.data[: self._step_count].clone()
        encoder.embed_positions.num_embeddings = self._step_count

    @property
    def _step_count(self) -> int:
        steps, trained = round(self.spec.window * RATE / SAMPLES_A_STEP), self.config["max_source_positions"]
        if not 0 < steps <= trained:
            raise ValueError(
                f"{self.spec.name}: expected a window of at most {trained * SAMPLES_A_STEP / RATE:g} s, "
                f"got {self.spec.window:g}"
            )
        return steps
