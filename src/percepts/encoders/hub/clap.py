"""Encode audio and text in one space with CLAP, as vectors of length one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ...preprocess.mel import MelOptions, log_mel
from ...types import Clip, Features, Inputs, Spec
from ...weights.checkpoint import Checkpoint
from ..scores import LogitScale
from ..validation import check_clips
from . import audio as audio_module
from .base import TextTower, TokenGrid, Transformer

if TYPE_CHECKING:
    import torch

RATE = 48_000
# Of ClapFeatureExtractor in transformers 5.23.
DEFAULTS = {"feature_size": 64, "hop_length": 480, "fft_window_size": 1024, "max_length_s": 10, "frequency_min": 0,
            "frequency_max": 14_000, "truncation": "fusion", "padding": "repeatpad"}  # fmt: skip


class Clap(Transformer):
    """Wu et al. 2022 (arXiv 2211.06687). Windows have the length that the model takes, so none is "longer" and fused.

    transformers marks one clip of each batch as longer, at random, when none is: those vectors change from run to run.
    """

    pools = ("l2mean",)
    outputs = ("vectors", "states")
    template = "This is a sound of {}."

    def __init__(self, spec: Spec, *, runtime: str = "auto", threads: int | None = None) -> None:
        super().__init__(spec, runtime=runtime, threads=threads)
        self._text: TextTower | None = None

    @classmethod
    def describe(cls, checkpoint: Checkpoint) -> dict[str, Any]:
        """Return the fields of a Spec that the settings of a checkpoint tell, without its weights."""
        processor = {**DEFAULTS, **checkpoint.processor}
        mels = checkpoint.section("audio_config").get("num_mel_bins", 64)
        audio_module.check_equal(checkpoint, "the number of mels", processor["feature_size"], mels)
        return {"kind": "audio", "rate": audio_module.read_rate(checkpoint, RATE),
                "window": float(processor["max_length_s"]),
                "dim": int(checkpoint.config.get("projection_dim", 512)), "pool": "l2mean"}  # fmt: skip

    @cached_property
    def logit_scale(self) -> LogitScale:
        """Factor of cosines of audio with texts, before a softmax."""
        return LogitScale.from_checkpoint(self.checkpoint, "logit_scale_a")

    @property
    def grid(self) -> TokenGrid:
        """Bands by times of the last stage."""
        audio = self.checkpoint.section("audio_config")
        stride = audio.get("patch_stride", 4)
        stride = stride[0] if isinstance(stride, list) else stride
        spec_size, mels = audio.get("spec_size", 256), audio.get("num_mel_bins", 64)
        # Each stage but the last halves the grid.
        side = spec_size // stride // 2 ** (len(audio.get("depths", [2, 2, 6, 2])) - 1)
        folds = spec_size // mels  # the spectrogram is folded into a square, this often
        return TokenGrid(("band", "time"), (side // folds, side * folds), self.spec.window / (side * folds))

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Turn audio into {"mel": (B, 1 or 4, T, M) float32}; a short clip repeats while it fits, then zeros."""
        check_clips(clips, "audio", self.spec)
        total = round(self.spec.window * self.spec.rate)
        samples, lengths = audio_module.stack_samples(clips, total)
        filled = np.stack(
            [self._fill_window(row[:length], total) for row, length in zip(samples, lengths, strict=True)]
        )
        settings, fused = self._settings, self._settings["truncation"] == "fusion"
        # ClapFeatureExtractor has two sets of filters: fused models were trained on HTK's.
        options = MelOptions(
            n_fft=settings["fft_window_size"], hop=settings["hop_length"], n_mels=settings["feature_size"],
            low=settings["frequency_min"], high=settings["frequency_max"], scale="htk" if fused else "slaney",
            norm=None if fused else "slaney", pad="reflect",
        )  # fmt: skip
        mel = log_mel(filled, self.spec.rate, options, log="db")
        mel = mel.transpose(0, 2, 1)[:, None]  # (B, 1, T, M)
        # A fused model takes four views, which are the same for a clip that is not longer than its window.
        return {"mel": np.ascontiguousarray(np.repeat(mel, 4, axis=1) if fused else mel)}

    def encode(self, inputs: Inputs) -> Features:
        """Return (B, 1, D) features, the projected vector of each clip."""
        vectors = self._run(inputs)[0]
        return Features(vectors[:, None], np.ones((len(vectors), 1), bool), 0.0)

    def tokens(self, inputs: Inputs) -> Features:
        """Return (B, T, D) states of the last stage, band by band; a short clip is in them several times."""
        states = self._run(inputs)[1]
        return Features(states, np.ones(states.shape[:2], bool), 0.0)

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Return (B, D) vectors of texts, of length one, in the space of the audio."""
        if self._text is None:
            length = self.checkpoint.section("text_config").get("max_position_embeddings", 514)
            self._text = TextTower(self, self.build_text, length - 2)  # RoBERTa counts positions from 2
        return self._text(texts)

    def example(self) -> Inputs:
        """Return noise of the right shape."""
        settings = self._settings
        frames = round(self.spec.window * self.spec.rate) // settings["hop_length"] + 1
        shape = (1, 4 if settings["truncation"] == "fusion" else 1, frames, settings["feature_size"])
        return {"mel": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}

    def build(self) -> torch.nn.Module:
        """Build the tower of audio and its projection."""
        from ...weights import pretrained

        model = pretrained.load_pretrained("ClapModel", self.checkpoint.folder)
        # Each tower is loaded when it is first needed; together they would take twice the memory.
        model.text_model = None
        return pretrained.WrappedModel(model, _encode_audio)

    def build_text(self) -> torch.nn.Module:
        """Build the tower of text and its projection."""
        from ...weights import pretrained

        model = pretrained.load_pretrained("ClapModel", self.checkpoint.folder)
        model.audio_model = None
        return pretrained.WrappedModel(model, lambda m, ids: m.get_text_features(input_ids=ids).pooler_output)

    @cached_property
    def _settings(self) -> dict[str, Any]:
        return {**DEFAULTS, **self.checkpoint.processor}

    def _fill_window(self, sound: np.ndarray, total: int) -> np.ndarray:
        times = {"repeat": -(-total // len(sound)), "repeatpad": total // len(sound)}.get(self._settings["padding"], 1)
        repeated = np.tile(sound, times)[:total]
        return np.pad(repeated, (0, total - len(repeated)))


def _encode_audio(model: Any, mel: Any) -> tuple[Any, Any]:
    # is_longer is False for every clip, or transformers would choose one at random.
    found = model.get_audio_features(input_features=mel, is_longer=mel.new_zeros(len(mel), 1, dtype=bool))
    return found.pooler_output, found.last_hidden_state.flatten(2).transpose(1, 2)
