"""Measure how near each model comes to this machine's limit: its FLOP/s over those of the best matrix product.

FLOPs are counted by torch for one item. The limit is the best of products of shapes that transformers have, at
float32, and in int8 by the same kernels as `--precision int8`. All on one thread, so the ratio is that of one core.

    python bench/limit.py [--rounds 5] [--only vit-b16]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import _checkpoints
import numpy as np
import torch
import transformers
from _compare import machine, settle
from torch.utils.flop_counter import FlopCounterMode

from percepts.encoders import load_encoder, model_spec
from percepts.encoders.hub.int8_check import INT8_UNCHECKED
from percepts.runtimes.int8 import Int8Linear

SHAPES = ((1576, 768, 3072), (1576, 3072, 768), (1576, 768, 768), (512, 4096, 4096))  # rows, inputs, outputs
MODELS: dict[str, tuple[Callable[[Path], Path], int]] = {
    "vit-b16": (_checkpoints.vit_b16, 8),
    "clip-b32": (_checkpoints.clip_b32, 8),
    "whisper-base": (_checkpoints.whisper_base, 1),
    "ast": (_checkpoints.ast, 1),
}
"""By name: the checkpoint, and how many items a call."""


def products(int8: bool) -> dict[str, tuple[Callable[[], object], float]]:
    """Return matrix products as calls with their FLOPs."""
    found: dict[str, tuple[Callable[[], object], float]] = {}
    for rows, wide, out in SHAPES:
        linear, x = torch.nn.Linear(wide, out), torch.randn(rows, wide)
        layer = Int8Linear(linear) if int8 else linear
        found[f"{rows}x{wide}x{out}"] = (lambda layer=layer, x=x: layer(x), 2.0 * rows * wide * out)
    return found


def model(name: str, folder: Path, precision: str) -> tuple[Callable[[], object], float]:
    make, count = MODELS[name]
    path = folder / name
    encoder = load_encoder(model_spec(str(path if path.exists() else make(path)), precision=precision), threads=1)
    one = encoder.example()
    batch = {key: np.repeat(value, count, axis=0) for key, value in one.items()}
    plain = encoder.build()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        plain(*(torch.from_numpy(value) for value in one.values()))
    settle(lambda: encoder._run(batch))
    return lambda: encoder._run(batch), float(counter.get_total_flops()) * count


def race(calls: dict[str, tuple[Callable[[], object], float]], rounds: int) -> dict[str, float]:
    """Return median GFLOP/s of CPU time, after one call of each; products are repeated to about 0.2 s."""
    speeds: dict[str, list[float]] = {name: [] for name in calls}
    repeats = {}
    for name, (call, flops) in calls.items():
        call()
        repeats[name] = max(1, int(1e10 // flops))
    for _ in range(rounds):
        for name, (call, flops) in calls.items():
            begun = time.process_time()
            for _ in range(repeats[name]):
                call()
            speeds[name].append(flops * repeats[name] / (time.process_time() - begun) / 1e9)
    return {name: median(values) for name, values in speeds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=list(MODELS))
    wanted = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)
    names = [wanted.only] if wanted.only else list(MODELS)
    print(machine())
    print("model | precision | GFLOP/s a core | share of the best product | share of the best float32 product")
    print("--- | --- | ---: | ---: | ---:")
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        best: dict[str, float] = {}
        for precision in ("float32", INT8_UNCHECKED):
            calls = products(precision == INT8_UNCHECKED)
            kernels = list(calls)
            calls |= {name: model(name, Path(folder), precision) for name in names}
            speeds = race(calls, wanted.rounds)
            best[precision] = max(speeds[name] for name in kernels)
            print(f"best product | {precision} | {best[precision]:.1f} | |")
            for name in names:
                shares = [speeds[name] / best[key] for key in (precision, "float32")]
                print(f"{name} | {precision} | {speeds[name]:.1f} | {shares[0]:.2f} | {shares[1]:.2f}", flush=True)


if __name__ == "__main__":
    main()
