"""Time Whisper-tiny and -base with random weights, 64 steps a window: percepts against transformers' ASR pipeline.

Both decode greedily, at temperature 0 alone, so every window costs the same steps; the pipeline gets windows of thirty
seconds, ours the audio as one stream: noise that the detector of the batched run treats as speech.

    python bench/whisper.py [--windows 4] [--rounds 3] [--only tiny]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from _compare import compare, machine

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # its makers of checkpoints
from tiny_whisper import whisper_speaker

from percepts.speech.engines import WhisperEngine
from percepts.speech.options import TranscribeOptions
from percepts.speech.transcribe import transcribe_stream
from percepts.speech.whisper.torch_engine import TorchWhisper
from percepts.types import Clip
from percepts.windows.speech import Listener

RATE, WINDOW, STEPS = 16_000, 30, 64
THREADS = 1  # two that wait for each other on a machine that is shared measure the others
ASKED = {"temperatures": (0.0,), "beam": 1, "max_tokens": STEPS, "language": "en", "condition_on_previous_text": False,
         "logprob_threshold": None, "no_speech_threshold": None, "compression_ratio_threshold": None}  # fmt: skip


class Always:
    """A detector for which each half minute is speech but for its last second."""

    frame = 512

    def __init__(self) -> None:
        self._at = 0

    def listen(self, rate: float) -> Listener:
        """Begin a stream."""
        return Always()

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """(n, 512) to (n,)."""
        at = (self._at + np.arange(len(frames))) * self.frame / RATE
        self._at += len(frames)
        return np.where(at % WINDOW < WINDOW - 1.2, 0.9, 0.0)


def sizes(folder: Path, sound: np.ndarray, name: str, rounds: int) -> None:
    engines: dict[str, WhisperEngine] = {"percepts float32": TorchWhisper(str(folder), threads=THREADS)}
    if find_spec("ctranslate2"):
        from percepts.speech.whisper.ctranslate2_engine import CT2Whisper

        engines["percepts, CTranslate2 int8"] = CT2Whisper(str(folder), threads=THREADS, precision="int8")
    pipe = transformers.pipeline("automatic-speech-recognition", str(folder), device="cpu")
    windows = np.split(sound, range(WINDOW * RATE, len(sound), WINDOW * RATE))
    settings = {"max_new_tokens": STEPS, "do_sample": False, "num_beams": 1, "language": "en", "task": "transcribe"}

    def pipeline(batch: int) -> Callable[[], object]:
        return lambda: pipe(
            [window.copy() for window in windows], batch_size=batch, return_timestamps=True, generate_kwargs=settings
        )

    contestants: dict[str, Callable[[], object]] = {
        "transformers pipeline": pipeline(1), "transformers pipeline, batches of 4": pipeline(4)
    }  # fmt: skip
    for label, engine in engines.items():
        contestants[label] = lambda engine=engine: _through(engine, sound)
        contestants[f"{label}, batches of 4"] = lambda engine=engine: _through(engine, sound, 4)
    compare(contestants, rounds, title=f"Whisper-{name}, {len(windows)} windows of {WINDOW} s, {STEPS} steps each")


def _through(engine: WhisperEngine, sound: np.ndarray, batch: int = 1) -> list[object]:
    options = TranscribeOptions(**ASKED, batch_size=batch)  # type: ignore[arg-type]
    detector = Always() if batch > 1 else None
    return list(transcribe_stream(engine, [Clip(sound[None], "audio", RATE)], options, detector=detector))


def checkpoint(folder: Path, size: str) -> Path:
    """Make a checkpoint of the published size; it never ends and says no time but 0.00, so a window is decoded once."""
    width, layers = {"tiny": (384, 4), "base": (512, 6)}[size]
    whisper_speaker(
        folder, seconds=float(WINDOW), text=51865 - 1501 - 11, d_model=width, encoder_layers=layers,
        decoder_layers=layers, encoder_attention_heads=width // 64, decoder_attention_heads=width // 64,
        encoder_ffn_dim=4 * width, decoder_ffn_dim=4 * width,
    )  # fmt: skip
    path = folder / "generation_config.json"
    settings = json.loads(path.read_text())
    first = settings["no_timestamps_token_id"] + 1
    settings["suppress_tokens"] += [settings["eos_token_id"], *range(first + 1, first + 1501)]
    path.write_text(json.dumps(settings))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["tiny", "base"])
    wanted = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(THREADS)
    transformers.utils.logging.set_verbosity_error()
    print(machine())
    sound = (0.1 * np.random.default_rng(0).standard_normal(wanted.windows * WINDOW * RATE)).astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        os.environ["PERCEPTS_CACHE"] = name  # converted checkpoints go where the checkpoints are
        for size in ("tiny", "base") if wanted.only is None else (wanted.only,):
            sizes(checkpoint(Path(name) / size, size), sound, size, wanted.rounds)


if __name__ == "__main__":
    main()
