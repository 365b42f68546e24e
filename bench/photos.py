"""Embed JPEGs, half 640x480 and half 4000x3000, with CLIP B/32 and ViT-B/16: percepts against its peers, in one run.

Peers: sentence-transformers' encode; a loop over transformers' processor and model; transformers' pipeline at its best
batch size. percepts runs as `percepts embed` does: weights loaded, files hashed, decode workers, parquet on disk.
Weights are random. At the end, with effnet-lite0's real ones: how near vectors of the scaled decode are to those of the
exact one.

    python bench/photos.py [--pictures 200] [--rounds 3] [--only clip] [--keep FOLDER]

With --keep, images, checkpoints and the measurements of runtimes stay in FOLDER, where the next run finds them.
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
from _compare import machine, settle
from folder import SIZES, make_pictures
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_images

import percepts
from percepts.encoders import load_encoder, model_spec
from percepts.encoders.hub.int8_check import INT8_UNCHECKED, compare_vectors
from percepts.encoders.pooling import encode_vectors, pool
from percepts.media import open_image

Contestant = Callable[[list[Path]], int]
BATCH = 16  # eight a core
SIDE = 1024  # pixels of the shorter side of the photos that are decoded both ways


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


LOOP = "transformers processor and model"
_PROCESSORS = {"CLIPModel": "CLIPImageProcessorPil", "ViTModel": "ViTImageProcessorPil"}


def pipeline(checkpoint: Path, some: list[Path]) -> Contestant:
    processor = transformers.ViTImageProcessorPil.from_pretrained(checkpoint)
    pipe = transformers.pipeline("image-feature-extraction", str(checkpoint), image_processor=processor, device="cpu")
    seconds = {size: _timed(lambda size=size: pipe([str(p) for p in some], batch_size=size)) for size in (1, 4, 16)}
    best = min(seconds, key=seconds.__getitem__)
    print(f"pipeline: best batch size {best} ({', '.join(f'{k}: {v:.1f} s' for k, v in seconds.items())})", flush=True)
    return lambda paths: len(pipe([str(path) for path in paths], batch_size=best))


def ours(checkpoint: Path, precision: str, out: Path) -> Contestant:
    """Run percepts as in the second and every later job of this model here: the runtime was chosen before the race."""
    encoder = load_encoder(model_spec(str(checkpoint), precision=precision))
    batch = {name: np.repeat(value, 8, axis=0) for name, value in encoder.example().items()}
    settle(lambda: encode_vectors(encoder, batch))
    runtime = encoder.runtime
    print(f"percepts {precision}: {runtime}", flush=True)

    def run(paths: list[Path]) -> int:
        shutil.rmtree(out, ignore_errors=True)
        return percepts.embed(
            paths, out, models=[str(checkpoint)], precision=precision, runtime=runtime, batch_size=BATCH
        ).rows

    return run


def race(title: str, contestants: dict[str, Contestant], paths: list[Path], rounds: int) -> None:
    """Time interleaved rounds; CPU seconds include decode workers, ratios are to the first contestant."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for contestant in contestants.values():
        contestant(paths[:2])
    for number in range(rounds):
        for name, contestant in contestants.items():
            if number and name == LOOP:  # nobody's bar: once says it
                continue
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
        ratios = [_spread([a[i] / b[i] for a, b in zip(first, times, strict=False)]) for i in (0, 1)]
        print(f"{name} | {len(paths) / wall:.2f} | {cpu / len(paths):.3f} | {' | '.join(ratios)}", flush=True)


def _clocks() -> tuple[float, float]:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(u.ru_utime + u.ru_stime for u in used)


def _spread(ratios: list[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def canaries(checkpoint: Path, paths: list[Path]) -> None:
    """Measure how far int8 is from float32 on these images."""
    row = model_spec(str(checkpoint))
    clips = [open_image(path, at_least=2 * row.size) for path in paths[:24]]
    found = []
    for precision in ("float32", INT8_UNCHECKED):
        encoder = load_encoder(model_spec(str(checkpoint), precision=precision))
        found.append(encode_vectors(encoder, encoder.prepare(clips)))
    print(f"{row.name}: int8 against float32 on {len(clips)} of these pictures: {compare_vectors(*found)}")


def photos(folder: Path) -> list[Path]:
    """Write real photos as JPEGs; smaller ones are enlarged to a shorter side of SIDE."""
    arrays = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket(), data.hubble_deep_field(), data.retina()]
    folder.mkdir(exist_ok=True)
    paths = []
    for i, array in enumerate(arrays + load_sample_images().images):
        photo = Image.fromarray(array).convert("RGB")
        scale = max(1.0, SIDE / min(photo.size))
        photo = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS)
        paths.append(folder / f"{i}.jpg")
        photo.save(paths[-1], quality=90)
    return paths


def scaled_decode(what: str, paths: list[Path]) -> None:
    encoder = load_encoder("effnet-lite0")

    def directions(at_least: int | None) -> np.ndarray:
        clips = [open_image(path, at_least=at_least) for path in paths]
        found = pool(encoder.encode(encoder.prepare(clips)), "mean")
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    cosines = (directions(2 * encoder.spec.size) * directions(None)).sum(axis=1)
    print(
        f"scaled against exact decode of {len(paths)} {what}, effnet-lite0: "
        f"least cosine {cosines.min():.4f}, mean {cosines.mean():.4f}"
    )


def _timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["clip", "vit", "decode"])
    parser.add_argument("--keep", type=Path)
    wanted = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        run(wanted, wanted.keep or Path(name))


def run(wanted: argparse.Namespace, root: Path) -> None:
    halves = [pictures(root / label, size, wanted.pictures // 2) for label, size in SIZES.items()]
    paths = [path for pair in zip(*halves, strict=True) for path in pair]
    if wanted.only in (None, "clip"):
        checkpoint = _checkpoints.clip_b32(root / "clip")
        canaries(checkpoint, paths)
        contestants = {
            "sentence-transformers encode": sentence_transformers_encode(checkpoint),
            LOOP: processor_loop(checkpoint, "CLIPModel"),
            "percepts float32": ours(checkpoint, "float32", root / "out"),
            "percepts int8": ours(checkpoint, INT8_UNCHECKED, root / "out"),
        }
        race("CLIP ViT-B/32", contestants, paths, wanted.rounds)
    if wanted.only in (None, "vit"):
        checkpoint = _checkpoints.vit_b16(root / "vit")
        canaries(checkpoint, paths)
        contestants = {
            "transformers pipeline": pipeline(checkpoint, paths[:16]),
            LOOP: processor_loop(checkpoint, "ViTModel"),
            "percepts float32": ours(checkpoint, "float32", root / "out"),
            "percepts int8": ours(checkpoint, INT8_UNCHECKED, root / "out"),
        }
        race("ViT-B/16", contestants, paths, wanted.rounds)
    if wanted.only in (None, "decode"):
        scaled_decode("real photos", photos(root / "photos"))
        scaled_decode("pictures of 12 megapixels", halves[1][:9])


def pictures(folder: Path, size: tuple[int, int], count: int) -> list[Path]:
    """Return that many images, made if they are not there."""
    found = sorted(folder.glob("*.jpg"))
    if len(found) < count:
        shutil.rmtree(folder, ignore_errors=True)
        make_pictures(folder, size, count)
        found = sorted(folder.glob("*.jpg"))
    return found[:count]


if __name__ == "__main__":
    main()
