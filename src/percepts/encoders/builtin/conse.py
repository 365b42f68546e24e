"""Encode images in the space of sentences, by their likeliest labels, so that text finds them.

ConSE (Norouzi et al. 2013, arXiv 1312.5650): the vectors of the ten likeliest of 1000 labels, weighted by their
probabilities. How texts, temperature and centring were chosen, and what lost: docs/conse.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from importlib.resources import files

import numpy as np

from ...runtimes import DeferredRunner
from ...types import Clip, Features, Inputs, Spec
from ..pooling import normalise
from ..scores import LogitScale
from ..validation import check_clips
from .effnet import make_network, read_label_rows, resize_clips
from .minilm import MiniLM

TOP = 10
SHARPNESS = 0.6  # times the classifier's scores: flatter than trained, since new pictures are none of its classes


class Conse:
    """Encode images and texts as vectors of length one whose cosine says how well they agree.

    No part was trained to say how likely a text is. The scale of 20 is the default of sentence-transformers' losses, so
    the probabilities are good for an order and for nothing else.
    """

    logit_scale = LogitScale(20.0)
    template = "{}"

    def __init__(self, spec: Spec, *, runtime: str = "auto", threads: int | None = None) -> None:
        self.spec = spec
        self._run = DeferredRunner(partial(make_network, spec.weights[0]), runtime, threads)
        self._text = MiniLM(spec, runtime=runtime, threads=threads)

    @property
    def runtime(self) -> str:
        """Runtime of the network for images; asking chooses it and loads the weights, if that was not done yet."""
        return self._run.runtime

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Resize images or single frames to {"pixels": (B, 224, 224, 3) uint8}."""
        check_clips(clips, "image", self.spec)
        return {"pixels": resize_clips(clips)}

    def encode(self, inputs: Inputs) -> Features:
        """Return (B, 1, 384) features of length one."""
        _, scores = self._run(inputs)
        vectors = normalise(np.stack([_blend_labels(row) for row in scores]))
        return Features(vectors[:, None], np.ones((len(vectors), 1), bool), 0.0)

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Return (B, 384) vectors of texts, of length one: those of minilm less the mean of the labels."""
        return normalise(self._text.encode_text(texts) - _load_label_space()[0])


def list_label_texts() -> list[str]:
    """Return a text for each class: its first name and its definition.

    >>> list_label_texts()[283]
    'Persian cat: a long-haired breed of cat'
    """
    return [f"{names.partition(',')[0]}: {definition}" for _, names, definition in read_label_rows()]


def _blend_labels(scores: np.ndarray) -> np.ndarray:
    """Return the (384,) float64 sum of the TOP labels' vectors, weighted by their probabilities."""
    top = np.argsort(-scores, kind="stable")[:TOP]  # stable: equal scores give the same labels everywhere
    wide = scores[top].astype(np.float64) * SHARPNESS
    # The first is the largest, so exp does not overflow.
    weights = np.exp(wide - wide[0])
    blended: np.ndarray = weights @ _load_label_space()[1][top]
    return blended


@cache
def _load_label_space() -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (384,) float32 of the labels' vectors, and (1000, 384) float64 of length one around it.

    data/conse_labels.npy holds minilm's vectors of `label_texts()` as float16, made by tests/make_reference_conse.py.
    So embedding images needs neither minilm nor half a minute the first time, and gives the same bits everywhere.
    """
    with files(__package__).joinpath("data/conse_labels.npy").open("rb") as file:
        vectors = np.load(file).astype(np.float64)
    mean = vectors.mean(axis=0).astype(np.float32)  # as minilm's vectors, from which it is subtracted
    around = vectors - mean
    return mean, around / np.linalg.norm(around, axis=1, keepdims=True)
