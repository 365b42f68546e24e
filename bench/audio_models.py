"""Run clips of 10 s through AST and Whisper-base's encoder: percepts against transformers, interleaved in one run.

Features: ours against transformers' extractor without torchaudio. AST from wav files to vectors: against transformers'
audio-classification pipeline. Whisper's encoder: int8 against torch's SDPA. Weights are random.

    python bench/audio_models.py [--clips 100] [--rounds 3] [--only features]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import _checkpoints
import numpy as np
import soundfile
import torch
import transformers
from _compare import compare, machine, settle

from percepts.encoders import load_encoder, model_spec
from percepts.encoders.hub.int8_check import INT8_UNCHECKED
from percepts.encoders.hub.int8_check import compare_vectors as near
from percepts.encoders.pooling import pool
from percepts.media import probe
from percepts.tasks.embed import EmbedTask
from percepts.types import Clip

RATE, SECONDS = 16_000, 10


def sounds(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    times = np.arange(RATE * SECONDS) / RATE
    return [
        (0.2 * np.sin(2 * np.pi * rng.uniform(100, 3000) * times) + 0.05 * rng.standard_normal(len(times))).astype(
            np.float32
        )
        for _ in range(count)
    ]


def features(folder: Path, some: list[np.ndarray], rounds: int) -> None:
    extractor = transformers.ASTFeatureExtractor.from_pretrained(folder)
    encoder = load_encoder(str(folder))
    clips = [Clip(sound[None], "audio", RATE) for sound in some]
    contestants: dict[str, Callable[[], object]] = {
        "transformers ASTFeatureExtractor": lambda: extractor(some, sampling_rate=RATE, return_tensors="np"),
        "percepts prepare": lambda: encoder.prepare(clips),
    }
    compare(contestants, rounds, title=f"AST features of {len(some)} clips of {SECONDS} s")


def ast(folder: Path, paths: list[Path], rounds: int) -> None:
    pipe = transformers.pipeline("audio-classification", str(folder), device="cpu")
    tasks = {name: EmbedTask((model_spec(str(folder), precision=name),)) for name in ("float32", INT8_UNCHECKED)}
    for task in tasks.values():
        settle(lambda task=task: vectors(task, paths[:8]))
    contestants: dict[str, Callable[[], object]] = {
        "transformers pipeline": lambda: pipe([soundfile.read(path, dtype="float32")[0] for path in paths]),
        "percepts float32": lambda: vectors(tasks["float32"], paths),
        "percepts int8": lambda: vectors(tasks[INT8_UNCHECKED], paths),
    }
    compare(contestants, rounds, title=f"AST, {len(paths)} wav files of {SECONDS} s")
    print("int8 against float32:", near(*(vectors(task, paths) for task in tasks.values())))


def vectors(task: EmbedTask, paths: list[Path]) -> np.ndarray:
    """Embed as `percepts embed --workers 0` does, without writing."""
    name = task.specs[0].name
    pieces = [piece for path in paths for piece in task.prepare_source(path, probe(path), [])]
    batch = {key: np.concatenate([piece.inputs[key] for piece in pieces]) for key in pieces[0].inputs}
    return task.encode_batch(name, batch)


def whisper(folder: Path, some: list[np.ndarray], rounds: int) -> None:
    encoder = transformers.WhisperModel.from_pretrained(folder).eval().encoder
    ours = {name: load_encoder(model_spec(str(folder), precision=name)) for name in ("float32", INT8_UNCHECKED)}
    inputs = ours["float32"].prepare([Clip(sound[None], "audio", RATE) for sound in some])
    mel = torch.from_numpy(inputs["mel"])
    for one in ours.values():
        settle(lambda one=one: one.encode(inputs))

    def sdpa() -> object:
        with torch.inference_mode():
            return encoder(mel).last_hidden_state

    contestants: dict[str, Callable[[], object]] = {
        "transformers WhisperEncoder, SDPA": sdpa,
        "percepts float32": lambda: ours["float32"].encode(inputs),
        "percepts int8": lambda: ours[INT8_UNCHECKED].encode(inputs),
    }
    compare(contestants, rounds, title=f"Whisper-base encoder, {len(some)} windows of 30 s")
    found = [pool(one.encode(inputs), "mean") for one in ours.values()]
    print("int8 against float32:", near(*found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["features", "ast", "whisper"])
    wanted = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    print(machine())
    some = sounds(wanted.clips)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        paths = [root / f"{i:03}.wav" for i in range(len(some))]
        for path, sound in zip(paths, some, strict=True):
            soundfile.write(path, sound, RATE)
        folder = _checkpoints.ast(root / "ast")
        if wanted.only in (None, "features"):
            features(folder, some, wanted.rounds)
        if wanted.only in (None, "ast"):
            ast(folder, paths, wanted.rounds)
        if wanted.only in (None, "whisper"):
            whisper(_checkpoints.whisper_base(root / "whisper"), some[:8], wanted.rounds)


if __name__ == "__main__":
    main()
