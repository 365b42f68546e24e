"""Encode images with EfficientNet-Lite0, as 49 patch vectors and as the probabilities of 1000 labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache, partial
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from ... import weights as weight_files
from ...preprocess.pixels import resize_and_crop
from ...runtimes import DeferredRunner, Network
from ...types import Clip, Features, Inputs, Spec
from ..scores import softmax
from ..validation import check_clips

if TYPE_CHECKING:
    import torch

RESIZE, CROP = 256, 224
REVISION = "1"  # of the network's code


class EffNet:
    """EfficientNet-Lite0, trained on ImageNet-1k.

    `prepare` resizes (bicubic, shorter side 256) and crops to 224. Normalising, (x - 127) / 128, is in the graph, so
    pixels travel between processes as bytes.
    """

    def __init__(self, spec: Spec, *, runtime: str = "auto", threads: int | None = None) -> None:
        self.spec = spec
        self._run = DeferredRunner(partial(make_network, spec.weights[0]), runtime, threads)

    @property
    def runtime(self) -> str:
        """Runtime that runs it; asking chooses it and loads the weights, if that was not done yet."""
        return self._run.runtime

    multi_label = False  # an image of ImageNet-1k has one label

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the 1000 classes of ImageNet-1k, as WordNet has them."""
        return list_labels()

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        """Resize images or single frames to {"pixels": (B, 224, 224, 3) uint8}."""
        check_clips(clips, "image", self.spec)
        return {"pixels": resize_clips(clips)}

    def encode(self, inputs: Inputs) -> Features:
        """Return (B, 49, 1280) features of the 7 x 7 patches, row by row."""
        patches, _ = self._run(inputs)
        return Features(patches, np.ones(patches.shape[:2], bool), 0.0)

    def classify(self, inputs: Inputs) -> np.ndarray:
        """Return (B, 1000) probabilities."""
        return softmax(self.logits(inputs))

    def logits(self, inputs: Inputs) -> np.ndarray:
        """Return (B, 1000) scores before the softmax."""
        return self._run(inputs)[1]


def resize_clips(clips: Sequence[Clip]) -> np.ndarray:
    """Resize and crop clips of one frame to (B, 224, 224, 3) uint8."""
    return np.stack([resize_and_crop(clip.data[0], RESIZE, CROP) for clip in clips])


def make_network(weights: str) -> Network:
    """Return the network that runs on the weights of a name."""
    return Network(
        name=weights,
        key=hashlib.sha256(f"{weight_files.hash_weights([weights])}|effnet|{REVISION}".encode()).hexdigest(),
        build=partial(_build_network, weights),
        example={"pixels": np.random.default_rng(0).integers(0, 256, (1, CROP, CROP, 3), np.uint8)},
        outputs=("patches", "scores"),
    )


def _build_network(weights: str) -> torch.nn.Module:
    from ...networks import efficientnet

    return efficientnet.load_network(weight_files.local_path(weights))


@cache
def list_labels() -> tuple[str, ...]:
    """Return the names of the classes, in the order of the scores."""
    return tuple(row[1] for row in read_label_rows())


@cache
def read_label_rows() -> tuple[tuple[str, str, str], ...]:
    """Return WordNet's synset, names and definition of each class; data/imagenet_labels.tsv names its source."""
    text = files(__package__).joinpath("data/imagenet_labels.tsv").read_text("utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return tuple((synset, names, definition) for synset, names, definition in rows)
