"""JPEGs, half 640x480 and half 4000x3000, through CLIP B/32 and ViT-B/16: percepts against its peers, in one run.

Peers: sentence-transformers' encode; a loop over transformers' processor and model; transformers' pipeline at its best
batch size. percepts runs as `percepts embed` does: hashing, decode workers, parquet on disk. Weights are random. At the
end, with effnet-lite0's real ones: how near vectors of the scaled decode are to those of the exact one.

    python bench/photos.py [--pictures 200] [--rounds 3] [--only clip]
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
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
from folder import SIZES, make_pictures
from PIL import Image

import percepts
from percepts.encoders import load, spec
from percepts.encoders._canary import UNCHECKED, compare
from percepts.encoders.pooling import pool
from percepts.media import open_image

Contestant = Callable[[list[Path]], int]


def sentence_transformers_encode(checkpoint: Path) -> Contestant:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import CLIPModel

    model = SentenceTransformer(modules=[CLIPModel(str(checkpoint))], device="cpu")
    return lambda paths: len(model.encode([Image.open(path) for path in paths], batch_size=32))


def processor_loop(checkpoint: Path, kind: str) -> Contestant:
    model = getattr(transformers, kind).from_pretrained(checkpoint).eval()
    processor = getattr(transformers, _PROCESSORS[kind]).from_pretrained(checkpoint)

    def run(paths: list[Path]) -> int:
        for path in paths:
            inputs = processor(Image.open(path).convert("RGB"), return_tensors="pt")
            with torch.inference_mode():
                model.get_image_features(**inputs) if kind == "CLIPModel" else model(**inputs)
        return len(paths)

    return run


_PROCESSORS = {"CLIPModel": "CLIPImageProcessorPil", "ViTModel": "ViTImageProcessorPil"}


def pipeline(checkpoint: Path, some: list[Path]) -> Contestant:
    processor = transformers.ViTImageProcessorPil.from_pretrained(checkpoint)
    pipe = transformers.pipeline("image-feature-extraction", str(checkpoint), image_processor=processor, device="cpu")
    seconds = {size: _timed(lambda size=size: pipe([str(p) for p in some], batch_size=size)) for size in (1, 4, 16)}
    best = min(seconds, key=seconds.__getitem__)
    print(f"pipeline: best batch size {best} ({', '.join(f'{k}: {v:.1f} s' for k, v in seconds.items())})", flush=True)
    return lambda paths: len(pipe([str(path) for path in paths], batch_size=best))


def ours(checkpoint: Path, precision: str, out: Path) -> Contestant:
    def run(paths: list[Path]) -> int:
        shutil.rmtree(out, ignore_errors=True)
        return percepts.embed(paths, out, models=[str(checkpoint)], precision=precision, batch_size=8).rows

    return run


def race(title: str, contestants: dict[str, Contestant], paths: list[Path], rounds: int) -> None:
    """Interleaved; CPU seconds are of this process and its decode workers, ratios are to the first contestant."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for contestant in contestants.values():
        contestant(paths[:2])
    for _ in range(rounds):
        for name, contestant in contestants.items():
            begun = _clocks()
            count = contestant(paths)
            taken[name].append((_clocks()[0] - begun[0], _clocks()[1] - begun[1]))
            if count != len(paths):
                raise SystemExit(f"{name} gave {count} vectors of {len(paths)}")
    print(f"\n{title}: {len(paths)} pictures | pictures/s | CPU s a picture | times the first: wall | CPU")
    print("--- | ---: | ---: | --- | ---")
    first = next(iter(taken.values()))
    for name, times in taken.items():
        wall, cpu = (median(column) for column in zip(*times, strict=True))
        ratios = [_spread([a[i] / b[i] for a, b in zip(first, times, strict=True)]) for i in (0, 1)]
        print(f"{name} | {len(paths) / wall:.2f} | {cpu / len(paths):.3f} | {' | '.join(ratios)}", flush=True)


def _clocks() -> tuple[float, float]:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(u.ru_utime + u.ru_stime for u in used)


def _spread(ratios: list[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def canaries(checkpoint: Path, paths: list[Path]) -> None:
    """How far int8 is from float32 on these pictures."""
    row = spec(str(checkpoint))
    clips = [open_image(path, at_least=2 * row.size) for path in paths[:24]]
    vectors = []
    for precision in ("float32", UNCHECKED):
        encoder = load(spec(str(checkpoint), precision=precision))
        vectors.append(pool(encoder.encode(encoder.prepare(clips)), row.pool))
    print(f"{row.name}: int8 against float32 on {len(clips)} of these pictures: {compare(*vectors)}")


def scaled_decode(paths: list[Path]) -> None:
    encoder = load("effnet-lite0")

    def vectors(at_least: int | None) -> np.ndarray:
        clips = [open_image(path, at_least=at_least) for path in paths]
        found = pool(encoder.encode(encoder.prepare(clips)), "mean")
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    cosines = (vectors(2 * encoder.spec.size) * vectors(None)).sum(axis=1)
    print(f"scaled against exact decode, effnet-lite0: least cosine {cosines.min():.4f}, mean {cosines.mean():.4f}")


def _timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["clip", "vit", "decode"])
    wanted = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for label, size in SIZES.items():
            make_pictures(root / label, size, wanted.pictures // 2)
        halves = [sorted((root / label).iterdir()) for label in SIZES]
        paths = [path for pair in zip(*halves, strict=True) for path in pair]
        if wanted.only in (None, "clip"):
            checkpoint = _checkpoints.clip_b32(root / "clip")
            canaries(checkpoint, paths)
            contestants = {
                "sentence-transformers encode": sentence_transformers_encode(checkpoint),
                "transformers processor and model": processor_loop(checkpoint, "CLIPModel"),
                "percepts float32": ours(checkpoint, "float32", root / "out"),
                "percepts int8": ours(checkpoint, UNCHECKED, root / "out"),
            }
            race("CLIP ViT-B/32", contestants, paths, wanted.rounds)
        if wanted.only in (None, "vit"):
            checkpoint = _checkpoints.vit_b16(root / "vit")
            canaries(checkpoint, paths)
            contestants = {
                "transformers pipeline": pipeline(checkpoint, paths[:16]),
                "transformers processor and model": processor_loop(checkpoint, "ViTModel"),
                "percepts float32": ours(checkpoint, "float32", root / "out"),
                "percepts int8": ours(checkpoint, UNCHECKED, root / "out"),
            }
            race("ViT-B/16", contestants, paths, wanted.rounds)
        if wanted.only in (None, "decode"):
            scaled_decode(halves[1][:9])


if __name__ == "__main__":
    main()
