"""Embed a folder of JPEGs with effnet-lite0: percepts against a plain loop, and against its own encoder.

Peer: Pillow decode, bicubic resize and crop, torch eager, batch 32, in one process. Both use every core they can get.
The images are cut from those that scikit-image ships: half 640x480, half 4000x3000, JPEG quality 90.

    python bench/folder.py [--pictures 200] [--rounds 3]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from skimage import data

import percepts
from percepts import weights
from percepts.networks import efficientnet

SIZES = {"640x480": (640, 480), "4000x3000": (4000, 3000)}


def make_pictures(folder: Path, size: tuple[int, int], count: int) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    sources = [Image.fromarray(array).convert("RGB") for array in (data.astronaut(), data.coffee(), data.chelsea())]
    for i in range(count):
        source = sources[i % len(sources)]
        width, height = source.size
        side = rng.uniform(0.7, 1.0)
        x, y = rng.uniform(0, width * (1 - side)), rng.uniform(0, height * (1 - side))
        picture = source.resize(size, Image.Resampling.BICUBIC, box=(x, y, x + width * side, y + height * side))
        noise = rng.normal(0, 4, (size[1] // 4, size[0] // 4, 3)).repeat(4, 0).repeat(4, 1)
        pixels = np.clip(np.asarray(picture) + noise[: size[1], : size[0]], 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:05d}.jpg", quality=90)


def loop(network: torch.nn.Module, folder: Path) -> int:
    """Embed as people do in a notebook."""
    paths, vectors = sorted(folder.rglob("*.jpg")), []
    for start in range(0, len(paths), 32):
        batch = []
        for path in paths[start : start + 32]:
            image = Image.open(path).convert("RGB")
            scale = 256 / min(image.size)
            image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
            x, y = (image.width - 224) // 2, (image.height - 224) // 2
            batch.append(np.asarray(image.crop((x, y, x + 224, y + 224))))
        with torch.inference_mode():
            vectors.append(network(torch.from_numpy(np.stack(batch)))[0].mean(1))
    return len(torch.cat(vectors))


def ours(folder: Path, out: Path) -> int:
    shutil.rmtree(out, ignore_errors=True)
    report = percepts.embed(folder, out, models=["effnet-lite0"])
    if report.failed:
        raise SystemExit(f"{report.failed} pictures failed")
    return report.rows


def ready(encoder: percepts.Encoder, inputs: np.ndarray, count: int) -> int:
    for start in range(0, count, 32):
        encoder.encode({"pixels": inputs[: min(32, count - start)]})
    return count


def rate(run: object, *args: object) -> float:
    begun = time.perf_counter()
    return run(*args) / (time.perf_counter() - begun)  # type: ignore[operator]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name) / "pictures", Path(name) / "vectors"
        for size, pixels in SIZES.items():
            make_pictures(folder / size, pixels, options.pictures // 2)
        network = efficientnet.load_network(weights.local_path("effnet-lite0"))
        encoder = percepts.load_encoder("effnet-lite0")
        small = sorted((folder / "640x480").iterdir())
        inputs = encoder.prepare([percepts.open_image(path) for path in small[:32]])["pixels"]
        ready(encoder, inputs, 32)
        many = Path(name) / "many"  # so many that starting the workers does not count
        make_pictures(many, SIZES["640x480"], options.pictures * 5)
        rates: dict[str, list[float]] = {"loop": [], "percepts": [], "percepts 640x480": [], "encoder alone": []}
        for _ in range(options.rounds):
            rates["loop"].append(rate(loop, network, folder))
            rates["percepts"].append(rate(ours, folder, out))
            rates["encoder alone"].append(rate(ready, encoder, inputs, options.pictures * 5))
            rates["percepts 640x480"].append(rate(ours, many, out))
    print(f"{'':24}images/s (median of {options.rounds}, start of the workers included)")
    for label, values in rates.items():
        print(f"{label:24}{median(values):8.1f}   {' '.join(f'{v:.0f}' for v in values)}")
    print(f"percepts / loop                       {median(rates['percepts']) / median(rates['loop']):.2f}  (aim 3.5)")
    share = median(rates["percepts 640x480"]) / median(rates["encoder alone"])
    print(f"percepts 640x480 / encoder alone      {share:.2f}  (aim 0.8)")


if __name__ == "__main__":
    main()
