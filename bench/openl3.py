"""Time OpenL3's audio network per window and runtime, against torch and ONNX Runtime in the same run; and its memory.

Random weights: their values change no time. openl3 0.4.2 itself (TensorFlow 2.15) cannot be installed beside this; what
it took on the machine of its measurement, and torch there, is below, and is scaled by torch here.

    python bench/openl3.py [--rounds 7] [--minutes 60]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from _compare import compare, machine

from percepts.interop.openl3 import models
from percepts.networks.openl3 import runner as run
from percepts.networks.openl3.plan import INPUT_SHAPES, OpenL3Weights, build_steps, last_pool_size, list_arrays
from percepts.networks.openl3.torch_module import OpenL3Module
from percepts.preprocess.openl3 import FRONTENDS, spectrogram
from percepts.weights.openl3 import write_safetensors

OPENL3, TORCH = 0.436, 0.505
"""CPU seconds a window, mel256, two cores AMD Zen 3: openl3 0.4.2 in a batch of 32, torch eager."""
LIBROSA_FRONTEND, KAPRE_FRONTEND = 11.7 / 596, 5.2 / 596
"""CPU seconds a window of openl3 0.4.2's frontends there, framing included."""

MEMORY = """
import json, sys
from percepts.interop import openl3
model = openl3.models.load_audio_embedding_model_from_path(sys.argv[1], "mel256", 6144)
openl3.process_audio_file(sys.argv[2], sys.argv[3], model=model, hop_size=float(sys.argv[4]), verbose=False)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps(int(status["VmHWM"].split()[0]) / 1024))  # the peak in getrusage begins with that of the parent
"""


def random_weights(seed: int = 0) -> OpenL3Weights:
    """Return random weights of the right shapes, scaled so that activations neither vanish nor explode."""
    rng = np.random.default_rng(seed)
    made = []
    for name, shape in list_arrays("audio"):
        if name.endswith("kernel"):
            made.append(rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:3])))
        elif name.endswith(("gamma", "variance")):
            made.append(rng.uniform(0.8, 1.2, shape))
        else:
            made.append(rng.normal(0, 0.1, shape))
    made[2], made[3] = made[2] - 40, made[3] * 400
    return OpenL3Weights("audio", tuple(np.asarray(array, np.float32) for array in made))


def networks(weights: OpenL3Weights, rounds: int) -> None:
    """Time one window on one thread, for every runtime."""
    torch.set_num_threads(1)
    shape = INPUT_SHAPES["mel256"]
    x = np.random.default_rng(1).uniform(-80, 0, (1, 1, *shape)).astype(np.float32)
    tensor, plan = torch.from_numpy(x), build_steps(weights, last_pool_size("audio", shape))
    eager = OpenL3Module(plan)
    nets = {name: run.build_grid(weights, shape, name, 1) for name in run.list_runtimes()}
    with torch.inference_mode():
        contestants = {"torch eager": lambda: eager(tensor)}
        contestants |= {
            f"{name}{' (folded, channels last)' if name == 'torch' else ''}": lambda net=net: net(x)
            for name, net in nets.items()
        }
        # three in a row, as in use: after another runtime's turn, the first meets its caches and its heap
        title = "network, mel256, a window, one thread"
        rows = {row.name: row for row in compare(contestants, rounds, title=title, repeat=3)}
        reference = eager(tensor).numpy()
    best = rows[run.list_runtimes()[0]]
    for name, net in nets.items():
        print(f"{name}: largest difference from torch eager {np.abs(net(x) - reference).max():.1e}")
    print(f"against openl3 0.4.2 ({OPENL3} CPU s where torch took {TORCH}): {best.ratio * OPENL3 / TORCH:.2f} times")
    if "onnx" in rows:
        print(f"against ONNX Runtime in this run: {best.ratio / rows['onnx'].ratio:.2f} times")


def frontends(rounds: int) -> None:
    """Time a window through each frontend; openl3's own took 9 (kapre) and 20 ms (librosa) of a slower core."""
    window = np.random.default_rng(2).uniform(-0.5, 0.5, (1, 48_000))
    compare(
        {name: lambda name=name: spectrogram(window, "mel256", name) for name in FRONTENDS},
        rounds,
        title=f"frontend (openl3: kapre {KAPRE_FRONTEND * 1e3:.0f}, librosa {LIBROSA_FRONTEND * 1e3:.0f} CPU ms)",
        repeat=10,
    )


def end_to_end(file: Path, rounds: int) -> None:
    """Time five seconds of noise, hop 81 ms: 68 windows by function, exact and dense, on all cores."""
    from percepts.interop import openl3

    audio = np.random.default_rng(3).uniform(-0.5, 0.5, 48_000 * 5)
    model = models.load_audio_embedding_model_from_path(file, "mel256", 6144)
    hop = 2 * 1936 / 48_000

    def call(dense: bool) -> None:
        openl3.get_audio_embedding(audio, 48_000, model=model, hop_size=hop, dense=dense)

    compare(
        {"exact": lambda: call(False), "dense": lambda: call(True)},
        max(rounds // 2, 2),
        title="5 s, hop 81 ms, 63 windows",
    )


def agreement(file: Path) -> None:
    """Compare dense vectors with exact ones. Trained weights may agree more or less than these random ones."""
    from percepts.interop import openl3

    model = models.load_audio_embedding_model_from_path(file, "mel256", 6144)
    at = np.arange(48_000 * 4) / 48_000
    sounds = {
        "noise": np.random.default_rng(4).uniform(-0.5, 0.5, len(at)),
        "chirp": 0.8 * np.sin(2 * np.pi * (50 * at + 2500 * at * at)),
        "bursts": np.random.default_rng(5).normal(0, 0.2, len(at)) * np.abs(np.sin(np.pi * at)) ** 4,
    }
    print("\ndense against exact | cosine mean (least) | after taking off the mean | middle third of the window")
    print("--- | --- | --- | ---")
    for name, sound in sounds.items():
        found = [
            openl3.get_audio_embedding(sound, 48_000, model=model, hop_size=2 * 1936 / 48_000, dense=dense)[0]
            for dense in (True, False)
        ]
        centred = [x - found[1].mean(axis=0) for x in found]
        middle = [x.reshape(-1, 4, 3, 512)[:, :, 1].reshape(len(x), -1) for x in found]
        whole = _cosines(*found)
        print(
            f"{name} | {whole.mean():.3f} ({whole.min():.3f}) | {_cosines(*centred).mean():.2f} | "
            f"{_cosines(*middle).mean():.4f}"
        )


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def memory(file: Path, minutes: int) -> None:
    """Measure the peak memory on one minute and on many; the hop is long, so that mainly the reading is measured."""
    with tempfile.TemporaryDirectory() as folder:
        for count in (1, minutes):
            path = Path(folder, f"{count}.flac")
            with soundfile.SoundFile(path, "w", 44_100, 1) as sound:
                for seed in range(count):
                    sound.write(np.random.default_rng(seed).normal(0, 0.1, 44_100 * 60).astype(np.float32))
            command = [sys.executable, "-c", MEMORY, str(file), str(path), folder, "5"]
            peak = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            held = np.load(Path(folder, f"{count}.npz"))["timestamps"]
            print(f"{count} min, {len(held)} windows: peak {peak:.0f} MiB")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--minutes", type=int, default=60)
    asked = parser.parse_args()
    print(machine(), "ncnn" if "ncnn" in run.list_runtimes() else "without ncnn")
    weights = random_weights()
    networks(weights, asked.rounds)
    frontends(asked.rounds)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "random.safetensors")
        write_safetensors(weights, file)
        end_to_end(file, asked.rounds)
        agreement(file)
        memory(file, asked.minutes)


if __name__ == "__main__":
    main()
