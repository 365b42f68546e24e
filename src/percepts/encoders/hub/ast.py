"""Encode audio of 10.24 s with the Audio Spectrogram Transformer: a class vector, and a grid of bands by times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...preprocess.fbank import AST_MEAN, AST_STD, ast_features
from ...types import Clip, Features, Inputs
from ...weights.checkpoint import Checkpoint
from ..validation import check_clips
from . import audio
from .base import TokenGrid
from .class_token import ClassTokenModel

if TYPE_CHECKING:
    import torch

RATE = 16_000
HOP = 0.010  # seconds from a spectrum to the next


class Ast(ClassTokenModel):
    """Gong et al. 2021 (arXiv 2104.01778). The vector is the mean of the class and the distillation token.

    Another window has the positions cut to their middle or stretched, as in the authors' ast_models.py.
    """

    prefix = vector_steps = 2
    head_classes: ClassVar[tuple[str, ...]] = ("ASTForAudioClassification",)

    @classmethod
    def describe(cls, checkpoint: Checkpoint) -> dict[str, Any]:
        """Return the fields of a Spec that the settings of a checkpoint tell, without its weights."""
        config, processor = checkpoint.config, checkpoint.processor
        audio.check_equal(checkpoint, "the number of mels", processor.get("num_mel_bins", 128), config["num_mel_bins"])
        audio.check_equal(checkpoint, "the number of frames", processor.get("max_length", 1024), config["max_length"])
        return {"kind": "audio", "rate": audio.read_rate(checkpoint, RATE), "window": config["max_length"] * HOP,
                "dim": config["hidden_size"], "pool": "cls"}  # fmt: skip

    @property
    def grid(self) -> TokenGrid:
        """Bands, low ones first, by times."""
        config = self.config
        # Patches overlap: the stride is 10 of 16 in the published checkpoints.
        bands = (config["num_mel_bins"] - config["patch_size"]) // config["frequency_stride"] + 1
        return TokenGrid(("band", "time"), (bands, self._count_times(self._frame_count)), config["time_stride"] * HOP)

    @property
    def norm(self) -> tuple[float, float]:
        """Mean and deviation of log energies: (x - mean) / (2 std) is what the network takes."""
        processor = self.checkpoint.processor
        if not processor.get("do_normalize", True):
            return 0.0, 0.5  # (x - 0) / (2 * 0.5) is x
        return processor.get("mean", AST_MEAN), processor.get("std", AST_STD)

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Turn audio into {"fbank": (B, T, M) float32, "frames": (B,) frames that hold audio and not padding}."""
        check_clips(clips, "audio", self.spec)
        samples, lengths = audio.stack_samples(clips, self._frame_count * int(HOP * RATE))
        mean, std = self.norm
        fbank, mask = ast_features(
            samples,
            [int(n) for n in lengths],
            n_mels=self.config["num_mel_bins"],
            max_length=self._frame_count,
            mean=mean,
            std=std,
        )
        return {"fbank": fbank, "frames": mask.sum(axis=1)}

    def encode(self, inputs: Inputs) -> Features:
        """Return (B, 1 + T, D): the mean of the two tokens that were trained to stand for the clip, then the grid."""
        tokens = self.tokens(inputs)
        whole = (tokens.data[:, :1] + tokens.data[:, 1:2]) / 2
        return Features(np.concatenate([whole, tokens.data[:, 2:]], axis=1), tokens.mask[:, 1:], 0.0)

    def tokens(self, inputs: Inputs) -> Features:
        """Return (B, 2 + T, D): class token, distillation token, and the grid by bands; the mask leaves padding out."""
        states = self._run(self.select_inputs(inputs))[0]
        bands, times = self.grid.shape
        heard = np.arange(times) * self.config["time_stride"] < inputs["frames"][:, None]
        # Steps lie band by band, and each band has all times.
        mask = np.concatenate([np.zeros((len(states), 2), bool), np.tile(heard, (1, bands))], axis=1)
        return Features(states, mask, 0.0)

    def example(self) -> Inputs:
        """Return noise of the right shape."""
        shape = (1, self._frame_count, self.config["num_mel_bins"])
        return {"fbank": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}

    def load_model(self) -> Any:
        """Load the model, with its positions fitted to the window."""
        from ...weights import pretrained

        model = pretrained.load_pretrained("ASTModel", self.checkpoint.folder)
        self._fit_model(model)
        return model

    def wrap(self, network: Any) -> torch.nn.Module:
        """Return the model as a network of the spectrogram alone."""
        from ...weights import pretrained

        return pretrained.WrappedModel(network, lambda m, fbank: m(fbank).last_hidden_state)

    def select_inputs(self, inputs: Inputs) -> Inputs:
        """Return the spectrogram, which is all that the network takes."""
        return {"fbank": inputs["fbank"]}

    def fit_window(self, model: Any) -> None:
        """Fit the positions of the classifier to the window."""
        self._fit_model(model.audio_spectrogram_transformer)

    def _fit_model(self, model: Any) -> None:
        positions = model.embeddings.position_embeddings
        positions.data = fit_positions(positions.data, self.grid.shape, self._count_times(self.config["max_length"]))

    @property
    def _frame_count(self) -> int:
        return round(self.spec.window / HOP)

    def _count_times(self, frames: int) -> int:
        times = (frames - self.config["patch_size"]) // self.config["time_stride"] + 1
        if times < 1:
            raise ValueError(
                f"{self.spec.name}: expected a window of at least {self.config['patch_size'] * HOP:g} s, "
                f"got {self.spec.window:g}"
            )
        return int(times)


def fit_positions(positions: torch.Tensor, shape: tuple[int, ...], trained: int) -> torch.Tensor:
    """Return (1, 2 + bands * trained, D) positions for (bands, times): cut to their middle, or stretched."""
    import torch

    bands, times = shape
    if times == trained:
        return positions
    two, grid = positions[:, :2], positions[:, 2:]
    grid = grid.reshape(1, bands, trained, -1).permute(0, 3, 1, 2)  # (1, D, bands, times)
    if times < trained:
        first = trained // 2 - times // 2  # as in ast_models.py, where both are halved first
        grid = grid[..., first : first + times]
    else:
        grid = torch.nn.functional.interpolate(grid, size=(bands, times), mode="bilinear")
    return torch.cat([two, grid.flatten(2).transpose(1, 2)], dim=1)
