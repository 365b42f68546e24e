"""Encode who speaks: Resemblyzer's d-vectors of 1.6 seconds of speech, 256 numbers of length one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ... import weights as weight_files
from ...preprocess.mel import MelOptions, mel_spectrogram
from ...runtimes import DeferredRunner, Network
from ...types import Clip, Features, Inputs, Spec
from ..validation import check_clips

if TYPE_CHECKING:
    import torch

FRAME, HOP, BANDS = 400, 160, 40  # 25 ms every 10 ms; mel power, not its logarithm
PARTIAL = 160  # frames the network looks at: 1.6 s
STRIDE = 77  # frames from one partial to the next: 1.3 a second, rounded to frames
COVERAGE = 0.75  # the last partial must hold this share of sound, unless it is the only one
LOUDNESS = 10 ** (-30 / 20)  # quieter speech is raised to -30 dB of full scale; louder stays as it is
REVISION = "1"  # of the network's code


class Ge2e:
    """Speaker vectors of partials of 1.6 s. A longer clip gives several that overlap; its vector is their mean.

    The window that a job cuts is one partial. Resemblyzer drops silence before it cuts, this does not: give it speech.
    """

    def __init__(self, spec: Spec, *, runtime: str = "auto", threads: int | None = None) -> None:
        self.spec = spec
        self._run = DeferredRunner(partial(make_network, spec.weights[0]), runtime, threads)

    @property
    def runtime(self) -> str:
        """Runtime that runs it; asking chooses it and loads the weights, if that was not done yet."""
        return self._run.runtime

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Turn mono clips at 16 kHz into {"mel": (B, P, 160, 40) float32, "count": (B,) int64}, P the highest count."""
        check_clips(clips, "audio", self.spec)
        found = [_cut_partials(clip) for clip in clips]
        count = np.array([len(partials) for partials in found], np.int64)
        mel = np.zeros((len(found), count.max(), PARTIAL, BANDS), np.float32)
        for row, partials in zip(mel, found, strict=True):
            row[: len(partials)] = partials
        return {"mel": mel, "count": count}

    def encode(self, inputs: Inputs) -> Features:
        """Return (B, P, 256) features, a step every 0.77 s. Silence has a vector, too, which is that of nobody."""
        mel, count = inputs["mel"], inputs["count"]
        mask = np.arange(mel.shape[1]) < count[:, None]
        data = np.zeros((*mask.shape, self.spec.dim), np.float32)
        data[mask] = self._run({"mel": mel[mask]})[0]
        return Features(data, mask, STRIDE * HOP / self.spec.rate)


def partial_starts(samples: int) -> list[int]:
    """Return the first frame of each partial of so many samples at 16 kHz.

    >>> partial_starts(25_600), partial_starts(48_000)
    ([0], [0, 77, 154])
    """
    # This and the next line are Resemblyzer's compute_partial_slices; frames are centred, hence + 1.
    frames = samples // HOP + 1
    found = list(range(0, max(1, frames - PARTIAL + STRIDE + 1), STRIDE))
    covered = (samples - found[-1] * HOP) / (PARTIAL * HOP)
    return found[:-1] if len(found) > 1 and covered < COVERAGE else found


def _cut_partials(clip: Clip) -> np.ndarray:
    """Cut one clip into (P, 160, 40) mel frames."""
    samples = _raise_loudness(clip.data[0, : clip.valid])
    first = partial_starts(len(samples))
    end = (first[-1] + PARTIAL) * HOP
    padded = np.pad(samples, (0, max(end - len(samples), 0)))
    mel = mel_spectrogram(padded, clip.rate, MelOptions(n_fft=FRAME, hop=HOP, n_mels=BANDS))  # (40, T)
    return np.stack([mel[:, i : i + PARTIAL].T for i in first])


def _raise_loudness(samples: np.ndarray) -> np.ndarray:
    """Return samples raised to LOUDNESS where they are quieter; digital silence stays silent."""
    loudness = float(np.sqrt(np.mean(samples.astype(np.float64) ** 2))) if len(samples) else 0.0
    return samples * np.float32(LOUDNESS / loudness) if 0 < loudness < LOUDNESS else samples


def make_network(weights: str) -> Network:
    """Return the network that runs on the weights of a name."""
    return Network(
        name=weights,
        key=hashlib.sha256(f"{weight_files.hash_weights([weights])}|dvector|{REVISION}".encode()).hexdigest(),
        build=partial(_build_network, weights),
        example={"mel": np.random.default_rng(0).random((1, PARTIAL, BANDS), np.float32)},  # power is never negative
        outputs=("vectors",),
    )


def _build_network(weights: str) -> torch.nn.Module:
    from ...networks import dvector

    return dvector.load_network(weight_files.local_path(weights))
