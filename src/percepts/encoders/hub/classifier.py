"""Classify with the head that a checkpoint has, on the inputs that its encoder prepares."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...runtimes import DeferredRunner
from ...types import Inputs
from ..scores import scores_to_probabilities
from .base import Transformer

if TYPE_CHECKING:
    import torch

HEAD_PREFIXES = {"DeiTForImageClassificationWithTeacher": "cls_classifier.", "ImageGPTForImageClassification": "score."}
"""Beginning of the names of a head's parameters, where it is not "classifier."."""
REGRESSION, MULTI_LABEL = "regression", "multi_label_classification"


class WithClassifier(Transformer):
    """A family whose checkpoints may have a head. One that has none has no labels."""

    head_classes: ClassVar[tuple[str, ...]] = ()
    """Classes of transformers that have the head, the usual one first."""
    dynamic_axes: ClassVar[Mapping[str, Mapping[int, str]]] = {}
    """Axes of the network's inputs that may have any length, beside the batch."""

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes in the order of the scores; none where there is no head, or one of a regression.

        config.json leaves them out where they are LABEL_0 and LABEL_1.
        """
        there = bool(self.head) and self.checkpoint.has_parameter(HEAD_PREFIXES.get(self.head, "classifier."))
        if not there or self.config.get("problem_type") == REGRESSION:
            return ()
        table = self.config.get("id2label") or {0: "LABEL_0", 1: "LABEL_1"}
        return tuple(str(table[key]) for key in sorted(table, key=int))  # keys of JSON are text: "10" < "2"

    @property
    def multi_label(self) -> bool:
        """True where several labels may be right at once, by config.json; a single label is judged by itself."""
        return self.config.get("problem_type") == MULTI_LABEL or len(self.labels) == 1

    @property
    def head(self) -> str:
        """Class of the classifier in transformers; "" where the family has none."""
        named = [name for name in self.config.get("architectures") or () if name in self.head_classes]
        return next(iter((*named, *self.head_classes)), "")

    @property
    def runtime(self) -> str:
        """Runtime that runs it; asking chooses it and loads the weights, if that was not done yet."""
        # By __dict__: getattr would make the runner of the classifier, whose runtime loads its weights.
        return (self._head if "_head" in self.__dict__ else self._run).runtime

    def classify(self, inputs: Inputs) -> np.ndarray:
        """Return (B, labels) probabilities, as the model was trained to give them."""
        return scores_to_probabilities(self.logits(inputs), self.multi_label)

    def logits(self, inputs: Inputs) -> np.ndarray:
        """Return (B, labels) float32 scores before the softmax or sigmoid."""
        return self._head(self.select_inputs(inputs))[0]

    def select_inputs(self, inputs: Inputs) -> Inputs:
        """Return those of the prepared inputs that the network takes."""
        return inputs

    def build_head(self) -> torch.nn.Module:
        """Build the classifier, fitted to the window as the encoder is."""
        from ...weights import pretrained

        settings = self.call_kwargs
        # A head may read the pooler, without which the encoder does.
        model = pretrained.load_pretrained(self.head, self.checkpoint.folder, needed=("pooler.",))
        self.fit_window(model)
        return pretrained.WrappedModel(model, lambda m, first: m(first, **settings).logits, self.first)

    def fit_window(self, model: Any) -> None:
        """Change the classifier where the window is not the one it was trained on."""

    @cached_property
    def _head(self) -> DeferredRunner:
        return self._defer_network("labels", self.build_head, self.example, ("scores",), self.dynamic_axes)
