"""Evaluate an encoder with MTEB, which passes it batches of text, images and audio.

    import mteb
    from percepts.interop.mteb import MtebEncoder

    mteb.evaluate(MtebEncoder("openai/clip-vit-base-patch32"), mteb.get_tasks(["CIFAR10ZeroShot"]))

Needs mteb (tested with 2.26). It is in no extra, since it brings datasets, polars and sentence-transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction

from ..encoders import load_encoder
from ..encoders.pooling import encode_vectors, normalise
from ..media import mix_to_mono
from ..media.audio import array_audio
from ..preprocess.resample import resample_clip
from ..tasks.pooling import pool_windows
from ..types import Clip, Encoder, Record, Spec, TextEncoder
from ..windows import cut_fixed_windows


class MtebEncoder(AbsEncoder):  # type: ignore[misc]  # mteb may be absent when types are checked
    """An encoder for MTEB. Scores are cosines; a row with text and media gets the sum of both unit vectors."""

    def __init__(self, model: str | Spec, revision: str | None = None, **_: Any) -> None:
        name = f"{model}@{revision}" if revision and isinstance(model, str) else model
        # mteb looks for `model`.
        self.model = self.encoder = load_encoder(name)
        spec = self.encoder.spec
        kinds = [spec.kind] if spec.kind != "text" else []
        said = spec.name.rpartition("/")[2]
        self.mteb_model_meta: Any = ModelMeta.create_empty(
            {
                # mteb demands the form owner/name, which folders and short names do not have.
                "name": spec.name if spec.name.count("/") == 1 else f"percepts/{said}",
                "revision": revision or spec.revision,
                "modalities": [*kinds, *(["text"] if isinstance(self.encoder, TextEncoder) else [])],
                "embed_dim": spec.dim,
                "similarity_fn_name": ScoringFunction.COSINE,
                "license": None,  # mteb takes only those of a list of its own
            }
        )

    def encode(self, inputs: Any, **_: Any) -> np.ndarray:
        """Encode a DataLoader of rows with "text", "image" or "audio"; return (N, D) float32 in the rows' order."""
        # torch's own would stack the images of a batch, whose sizes differ.
        inputs.collate_fn = _batch_columns
        return np.concatenate([self._batch(batch) for batch in inputs])

    def _batch(self, batch: Mapping[str, list[Any]]) -> np.ndarray:
        found = [read(self.encoder, batch[name]) for name, read in _READERS.items() if name in batch]
        if not found:
            raise ValueError(f"expected rows with {', '.join(_READERS)}, got {', '.join(batch)}")
        return found[0] if len(found) == 1 else np.asarray(sum(map(normalise, found)))


def _batch_columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _encode_texts(encoder: Encoder, texts: Iterable[str]) -> np.ndarray:
    if not isinstance(encoder, TextEncoder):
        raise TypeError(f"{encoder.spec.name} takes no text")
    return encoder.encode_text([str(text) for text in texts])


def _encode_images(encoder: Encoder, images: Iterable[Any]) -> np.ndarray:
    # Data sets hold grey images, palettes and alpha, too.
    clips = [Clip(np.asarray(image.convert("RGB"))[None], "image", 0.0) for image in images]
    return encode_vectors(encoder, encoder.prepare(clips))


def _encode_audio_batch(encoder: Encoder, sounds: Iterable[Mapping[str, Any]]) -> np.ndarray:
    return np.stack([_encode_audio(encoder, np.asarray(s["array"]), s["sampling_rate"]) for s in sounds])


def _encode_audio(encoder: Encoder, samples: np.ndarray, rate: float) -> np.ndarray:
    """Return the mean of the windows' vectors, weighted by their durations."""
    spec = encoder.spec
    # Clipped as files are: a decoder of mp3 overshoots a little.
    clip = resample_clip(mix_to_mono(array_audio(np.clip(samples, -1, 1), rate)), spec.rate)
    windows = list(cut_fixed_windows(spec.window)([clip]))
    pairs = zip(windows, encode_vectors(encoder, encoder.prepare(windows)), strict=True)
    one = pool_windows(Record("", w.start, w.stop, spec.name, "audio", vector) for w, vector in pairs)
    return np.asarray(one.vector)


_READERS: Mapping[str, Callable[[Encoder, Any], np.ndarray]] = {
    "text": _encode_texts,
    "image": _encode_images,
    "audio": _encode_audio_batch,
}
"""The function that makes vectors of a column, by the column's name."""
