"""Compare our embeddings, made with real weights, with upstream's regression files.

The files are those of `tests/data` in https://github.com/marl/openl3 (MIT): audio, an image, a video, and embeddings of
the published weights by openl3 0.3 (no suffix), by 0.4's kapre and by its librosa frontend.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...networks.openl3.plan import Modality, PublishedModel
from ...weights import openl3
from .files import process_audio_file, process_image_file, process_video_file
from .models import EmbeddingModel, load_audio_embedding_model, load_image_embedding_model

ADDRESS = "https://github.com/marl/openl3/tree/main/tests/data"
LEAST = 0.999
"""Lowest cosine at which an embedding agrees. Another frontend gives 0.97 to 0.99; float32 noise leaves 0.9995."""
_SUFFIXES = {"trained": "", "kapre": "_kapre", "librosa": "_librosa"}


@dataclass(frozen=True, slots=True)
class _ReferenceSet:
    """The settings of one of upstream's two sets of files: file ending, network and arguments."""

    ending: str
    input_repr: str
    content: str
    sizes: dict[str, int]
    center: bool
    hop: float


_SETS = (
    # The defaults of openl3, and a set that differs from them in every setting.
    _ReferenceSet("", "mel256", "music", {"audio": 6144, "image": 8192}, True, 0.1),
    _ReferenceSet("_linear", "linear", "env", {"audio": 512, "image": 512}, False, 0.5),
)


@dataclass(frozen=True, slots=True)
class ReferenceResult:
    """The comparison with one reference file: cosines and largest difference; `why` is the reason if there is none."""

    name: str
    what: str
    windows: int = 0
    cosine_min: float = float("nan")
    cosine_mean: float = float("nan")
    difference: float = float("nan")
    why: str = ""

    @property
    def ok(self) -> bool:
        """Whether the embeddings were compared and agree."""
        return not self.why and self.cosine_min >= LEAST


def find_missing(data: Path, weights: Path | None = None) -> list[str]:
    """Return the names of missing weight and reference files; nothing is downloaded."""
    models = [PublishedModel(m, s.input_repr, s.content) for s in _SETS for m in _MODALITIES]  # type: ignore[arg-type]
    lines = [f"{model.stem}-v0_4_0.h5.gz" for model in openl3.list_missing(models, weights)]
    lines += [name for name in ("chirp_44k.wav", "daisy.jpg", "bento.mp4") if not (data / name).exists()]
    return lines


_MODALITIES: tuple[Modality, ...] = ("audio", "image")


def verify_references(data: Path, weights: Path | None = None) -> Iterator[ReferenceResult]:
    """Compare with every reference file in `data`; a file that cannot be compared gives a row with the reason."""
    for chosen in _SETS:
        for frontend, suffix in _SUFFIXES.items():
            yield _embed_audio(data, weights, chosen, frontend, f"chirp_44k{suffix}{chosen.ending}.npz")
            yield from _embed_video(data, weights, chosen, frontend, suffix)
        yield _embed_image(data, weights, chosen, f"daisy{chosen.ending}.npz")


def _load_model(chosen: _ReferenceSet, weights: Path | None, modality: str, frontend: str) -> EmbeddingModel:
    if modality == "image":
        return load_image_embedding_model(chosen.input_repr, chosen.content, chosen.sizes["image"], weights=weights)
    return load_audio_embedding_model(
        chosen.input_repr, chosen.content, chosen.sizes["audio"], frontend, weights=weights
    )


def _embed_audio(data: Path, weights: Path | None, chosen: _ReferenceSet, frontend: str, name: str) -> ReferenceResult:
    def run(model: EmbeddingModel, out: str) -> Path:
        process_audio_file(
            str(data / "chirp_44k.wav"), out, None, model, chosen.input_repr, embedding_size=chosen.sizes["audio"],
            center=chosen.center, hop_size=chosen.hop, frontend=frontend, verbose=False,
        )  # fmt: skip
        return Path(out, "chirp_44k.npz")

    return _compare_file(data, name, f"audio, {frontend}", run, chosen, weights, "audio", frontend)


def _embed_image(data: Path, weights: Path | None, chosen: _ReferenceSet, name: str) -> ReferenceResult:
    def run(model: EmbeddingModel, out: str) -> Path:
        process_image_file(
            str(data / "daisy.jpg"), out, None, model, embedding_size=chosen.sizes["image"], verbose=False
        )
        return Path(out, "daisy.npz")

    return _compare_file(data, name, "image", run, chosen, weights, "image", "")


def _embed_video(
    data: Path, weights: Path | None, chosen: _ReferenceSet, frontend: str, suffix: str
) -> Iterator[ReferenceResult]:
    for modality in _MODALITIES:
        name = f"bento_{modality}{suffix}{chosen.ending}.npz"

        # A default is bound now; the closure would see the loop's last value.
        def run(model: EmbeddingModel, out: str, modality: str = modality) -> Path:
            pair = {
                f"{m}_model": model if m == modality else _load_model(chosen, weights, m, frontend) for m in _MODALITIES
            }
            process_video_file(
                str(data / "bento.mp4"), out, None, pair["audio_model"], pair["image_model"], chosen.input_repr,
                audio_embedding_size=chosen.sizes["audio"], image_embedding_size=chosen.sizes["image"],
                audio_center=chosen.center, audio_hop_size=chosen.hop, audio_frontend=frontend, verbose=False,
                strict=True,
            )  # fmt: skip
            return Path(out, f"bento_{modality}.npz")

        yield _compare_file(data, name, f"video, {modality}, {frontend}", run, chosen, weights, modality, frontend)


def _compare_file(
    data: Path,
    name: str,
    what: str,
    run: Any,
    chosen: _ReferenceSet,
    weights: Path | None,
    modality: Modality,
    frontend: str,
) -> ReferenceResult:
    model = PublishedModel(modality, chosen.input_repr, chosen.content)  # type: ignore[arg-type]
    if not (data / name).exists():
        return ReferenceResult(name, what, why=f"no {name} in {data}")
    if openl3.find_file(model, weights) is None:
        return ReferenceResult(name, what, why=f"no weights {model.stem}")
    # By way of files, so that the functions which write them are checked, too.
    with tempfile.TemporaryDirectory() as out:
        ours = _read_embedding(run(_load_model(chosen, weights, modality, frontend), out))
    return _compare_arrays(name, what, ours, _read_embedding(data / name))


def _read_embedding(path: Path) -> np.ndarray:
    with np.load(path) as held:
        return np.asarray(held["embedding"])


def _compare_arrays(name: str, what: str, ours: np.ndarray, theirs: np.ndarray) -> ReferenceResult:
    if ours.shape != theirs.shape:
        return ReferenceResult(name, what, len(ours), why=f"ours has shape {ours.shape}, theirs {theirs.shape}")
    wide = [x.astype(np.float64) for x in (ours, theirs)]
    norms = [np.linalg.norm(x, axis=1) for x in wide]
    cosines = (wide[0] * wide[1]).sum(1) / np.maximum(norms[0] * norms[1], 1e-30)
    difference = float(np.abs(wide[0] - wide[1]).max())
    return ReferenceResult(name, what, len(ours), float(cosines.min()), float(cosines.mean()), difference)
