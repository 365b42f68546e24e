"""Encode speech of any length with wav2vec 2.0, HuBERT and WavLM: a state every 20 ms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...runtimes import DeferredRunner
from ...types import Clip, Features, Inputs, Spec
from ...weights.checkpoint import Checkpoint
from ..validation import check_clips
from . import audio
from .base import TokenGrid, run_by_length
from .classifier import WithClassifier

if TYPE_CHECKING:
    import torch

RATE = 16_000
WINDOW = 20.0  # seconds: these models take any length, at a cost that grows with its square
MODELS = {"wav2vec2": "Wav2Vec2Model", "hubert": "HubertModel", "wavlm": "WavLMModel"}


class Wav2Vec2(WithClassifier):
    """Baevski et al. 2020 (arXiv 2006.11477), Hsu et al. 2021 (2106.07447), Chen et al. 2021 (2110.13900).

    Each clip runs in a batch of its own length: some of these networks normalise over time and were never trained with
    padding, so padding would change every state.
    """

    pools = ("mean",)
    dynamic_axes: ClassVar[Mapping[str, Mapping[int, str]]] = {"samples": {1: "samples"}}

    def __init__(self, spec: Spec, *, runtime: str = "auto", threads: int | None = None) -> None:
        super().__init__(spec, runtime=runtime, threads=threads)
        self._run: DeferredRunner = self._defer_network(
            "media", self.build, self.example, self.outputs, self.dynamic_axes
        )

    @classmethod
    def describe(cls, checkpoint: Checkpoint) -> dict[str, Any]:
        """Return the fields of a Spec that the settings of a checkpoint tell, without its weights."""
        return {"kind": "audio", "rate": audio.read_rate(checkpoint, RATE), "window": WINDOW,
                "dim": checkpoint.config["hidden_size"], "pool": "mean"}  # fmt: skip

    @property
    def grid(self) -> TokenGrid:
        """Steps of 20 ms in all published checkpoints."""
        return TokenGrid(("time",), (self.count_steps(round(self.spec.window * self.spec.rate)),), self._step_s)

    def count_steps(self, samples: int) -> int:
        """Return the number of states of so many samples; the convolutions pad nothing."""
        for kernel, stride in self._convolutions:
            samples = (samples - kernel) // stride + 1
        return max(samples, 0)

    @property
    def min_samples(self) -> int:
        """Samples that give one state; shorter clips are filled with zeros to so many."""
        samples = 1
        for kernel, stride in reversed(self._convolutions):
            samples = (samples - 1) * stride + kernel
        return samples

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Turn audio into {"samples": (B, N) float32, "lengths": (B,)}, normalised if the model was trained so."""
        check_clips(clips, "audio", self.spec)
        samples, lengths = audio.stack_samples(clips, round(self.spec.window * self.spec.rate))
        if samples.shape[1] < self.min_samples:
            samples = np.pad(samples, ((0, 0), (0, self.min_samples - samples.shape[1])))
        lengths = np.maximum(lengths, self.min_samples)
        if self.checkpoint.processor.get("do_normalize", True):
            for row, length in zip(samples, lengths, strict=True):
                sound = row[:length]
                # The constant is that of transformers' Wav2Vec2FeatureExtractor.
                row[:length] = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
        return {"samples": samples, "lengths": lengths}

    def tokens(self, inputs: Inputs) -> Features:
        """Return (B, T, D) states; the mask is False after the end of each clip."""
        samples, lengths = inputs["samples"], inputs["lengths"]
        steps = np.array([self.count_steps(int(length)) for length in lengths])
        data = np.zeros((len(samples), steps.max(), self.spec.dim), np.float32)
        for length in np.unique(lengths):
            same = np.flatnonzero(lengths == length)
            states = self._run({"samples": samples[same, :length]})[0]
            data[same, : states.shape[1]] = states
        return Features(data, np.arange(data.shape[1]) < steps[:, None], self._step_s)

    def logits(self, inputs: Inputs) -> np.ndarray:
        """Return (B, labels) float32 scores, each clip at its own length."""
        sounds = [row[:length] for row, length in zip(inputs["samples"], inputs["lengths"], strict=True)]
        return run_by_length(sounds, lambda samples: self._head({"samples": samples})[0])

    @property
    def head(self) -> str:
        """Class of the classifier, named after the family in config.json."""
        return MODELS[self.checkpoint.model_type].replace("Model", "ForSequenceClassification")

    def example(self) -> Inputs:
        """Return a second of noise."""
        return {"samples": np.random.default_rng(0).standard_normal((1, int(self.spec.rate))).astype(np.float32)}

    def build(self) -> torch.nn.Module:
        """Load the model of transformers."""
        from ...weights import pretrained

        model = pretrained.load_pretrained(MODELS[self.checkpoint.model_type], self.checkpoint.folder)
        return pretrained.WrappedModel(model, lambda m, samples: m(samples).last_hidden_state)

    @cached_property
    def _convolutions(self) -> list[tuple[int, int]]:
        return list(zip(self.config["conv_kernel"], self.config["conv_stride"], strict=True))

    @property
    def _step_s(self) -> float:
        return prod(stride for _, stride in self._convolutions) / self.spec.rate
