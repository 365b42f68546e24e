"""Time preprocessing against the libraries in use: `python bench/features.py`. Ratios of one run, one thread."""

# ruff: noqa: E402  (threads are set before numpy is imported)

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # seconds of one core are what is compared

import warnings

import numpy as np
import soxr
from _compare import compare, machine
from PIL import Image
from transformers import ASTFeatureExtractor, WhisperFeatureExtractor

from percepts.preprocess.fbank import ast_features
from percepts.preprocess.mel import MelOptions, mel_spectrogram, whisper_log_mel
from percepts.preprocess.pixels import center_crop, normalise, resize_and_crop, scale_shorter_side
from percepts.preprocess.resample import resample
from percepts.types import Clip
from percepts.windows import cut_fixed_windows

RATE = 16_000


def main() -> None:
    print(machine())
    warnings.simplefilter("ignore")  # AST's extractor says that bands narrower than a bin are empty
    whisper()
    ast()
    mel()
    rates()
    crops()
    pixels()
    windows()


def noise(n: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, n).astype(np.float32)


def whisper() -> None:
    theirs = WhisperFeatureExtractor()
    for seconds in (30, 5):
        sound = noise(seconds * RATE)
        contestants = {
            "transformers": lambda sound=sound: theirs(sound, sampling_rate=RATE, return_tensors="np"),
            "percepts": lambda sound=sound: whisper_log_mel(sound),
        }
        compare(contestants, 15, title=f"Whisper features of {seconds} s")


def ast() -> None:
    theirs = ASTFeatureExtractor()
    for seconds in (10, 1):
        sound = noise(seconds * RATE)
        contestants = {
            "transformers, without torchaudio": lambda sound=sound: theirs(
                sound, sampling_rate=RATE, return_tensors="np"
            ),
            "percepts": lambda sound=sound: ast_features(sound),
        }
        compare(contestants, 15, title=f"AST features of {seconds} s")


def mel() -> None:
    sound = noise(30 * RATE)
    sizes = {"n_fft": 1024, "n_mels": 64}
    contestants = {"percepts": lambda: mel_spectrogram(sound, RATE, MelOptions(hop=512, **sizes))}
    try:
        import librosa
    except ImportError:
        print("\n(librosa is not installed: nothing to compare the mel spectrogram with)")
    else:
        theirs = {"librosa": lambda: librosa.feature.melspectrogram(y=sound, sr=RATE, hop_length=512, **sizes)}
        contestants = theirs | contestants
    compare(contestants, 15, title="mel spectrogram of 30 s, n_fft 1024")


def rates() -> None:
    sound = Clip(noise(600 * 44_100)[None], "audio", 44_100)
    blocks = [
        Clip(sound.data[:, at : at + 441_000], "audio", 44_100, at / 44_100) for at in range(0, sound.length, 441_000)
    ]
    contestants = {
        "soxr, all at once": lambda: soxr.resample(sound.data[0], 44_100, RATE),
        "percepts, in blocks of 10 s": lambda: sum(clip.length for clip in resample(blocks, RATE)),
    }
    compare(contestants, 3, title="resample 10 min, 44.1 to 16 kHz")


def crops() -> None:
    for height, width in ((480, 640), (640, 480), (750, 1000), (3000, 4000)):
        picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        contestants = {
            "resize all, then cut": lambda picture=picture: two_steps(picture),
            "percepts, in one": lambda picture=picture: resize_and_crop(picture),
        }
        compare(contestants, 15, title=f"{width}x{height} to 256, cut to 224")


def two_steps(picture: np.ndarray) -> np.ndarray:
    height, width = scale_shorter_side(*picture.shape[:2], 256)
    whole = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
    return center_crop(np.asarray(whole), 224, 224)


def pixels() -> None:
    batch = np.random.default_rng(0).integers(0, 256, (32, 224, 224, 3), np.uint8)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def as_written() -> np.ndarray:
        return ((batch / np.float32(255) - np.float32(mean)) / np.float32(std)).transpose(0, 3, 1, 2).copy()

    contestants = {
        "as the formula is written": as_written,
        "percepts": lambda: normalise(batch, mean, std, scale=1 / 255),
    }
    compare(contestants, 9, title="normalise 32 pictures of 224")


def windows() -> None:
    blocks = [Clip(noise(10 * RATE)[None], "audio", RATE, 10.0 * i) for i in range(60)]
    whole = np.concatenate([block.data for block in blocks], axis=1)

    def slices() -> int:
        """Time a loop over an array in memory, with a copy of each window."""
        return sum(whole[:, at : at + RATE].copy().shape[1] for at in range(0, whole.shape[1] - RATE + 1, RATE // 10))

    contestants = {
        "slices of all in memory": slices,
        "percepts, from a stream": lambda: sum(clip.length for clip in cut_fixed_windows(1.0, 0.1)(blocks)),
    }
    compare(contestants, 9, title="windows of 1 s every 0.1 s from 10 min")


if __name__ == "__main__":
    main()
