"""The classifier of a checkpoint: its own head, from the same weights, on the inputs that its encoder prepares."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..runtimes import Deferred
from ..types import Inputs
from ._scores import probabilities
from ._transformer import Transformer

if TYPE_CHECKING:
    import torch

TENSORS = {"DeiTForImageClassificationWithTeacher": "cls_classifier.", "ImageGPTForImageClassification": "score."}
"""How the parameters of a head begin, where it is not "classifier."."""
REGRESSION, MULTI = "regression", "multi_label_classification"


class Classifying(Transformer):
    """A family whose checkpoints may have a head. One that has none has no labels."""

    heads: ClassVar[tuple[str, ...]] = ()
    """transformers' classes that have it, the usual one first; none where transformers has none."""
    free: ClassVar[Mapping[str, Mapping[int, str]]] = {}
    """Axes of the network's inputs that are of any length, beside the batch."""

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The names of its classes in the order of the scores; none where there is no head or a regression's.

        config.json does not say them where they are LABEL_0 and LABEL_1.
        """
        there = bool(self.head) and self.checkpoint.holds(TENSORS.get(self.head, "classifier."))
        if not there or self.config.get("problem_type") == REGRESSION:
            return ()
        table = self.config.get("id2label") or {0: "LABEL_0", 1: "LABEL_1"}
        return tuple(str(table[key]) for key in sorted(table, key=int))

    @property
    def multi(self) -> bool:
        """Whether several labels may be right at once, by config.json; a single label is judged by itself."""
        return self.config.get("problem_type") == MULTI or len(self.labels) == 1

    @property
    def head(self) -> str:
        """The class of its classifier; "" where transformers has none for the family."""
        named = [name for name in self.config.get("architectures") or () if name in self.heads]
        return next(iter((*named, *self.heads)), "")

    @property
    def runtime(self) -> str:
        """What runs it; chosen, and its weights loaded, now if they were not yet."""
        return (self._head if "_head" in self.__dict__ else self._run).runtime

    def classify(self, inputs: Inputs) -> np.ndarray:
        """(B, labels) probabilities, as it was trained to give them."""
        return probabilities(self.logits(inputs), self.multi)

    def logits(self, inputs: Inputs) -> np.ndarray:
        """(B, labels) float32 scores before the softmax or sigmoid."""
        return self._head(self.fed(inputs))[0]

    def fed(self, inputs: Inputs) -> Inputs:
        """Of the prepared inputs, those that the network takes."""
        return inputs

    def build_head(self) -> torch.nn.Module:
        """Transformers' classifier, fitted as the encoder is."""
        from . import _modules

        settings = self.called_with
        model = _modules.pretrained(self.head, self.checkpoint.folder, needed=("pooler.",))
        self.fit(model)
        return _modules.Call(model, lambda m, first: m(first, **settings).logits, self.first)

    def fit(self, model: Any) -> None:
        """Change the classifier where the window is not the one it was trained on."""

    @cached_property
    def _head(self) -> Deferred:
        return self._deferred("labels", self.build_head, self.example, ("scores",), self.free)
