"""Families whose vector is made of the first steps alone: their last layer does nothing for the others."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...runtimes import DeferredRunner
from ...types import Inputs
from ..pooling import pool
from .classifier import WithClassifier

if TYPE_CHECKING:
    import torch


class ClassTokenModel(WithClassifier):
    """A family with a class token. With pool="cls" its vectors come by a network of their own."""

    vector_steps: ClassVar[int] = 1
    """How many steps the vector is the mean of; 0 where the last layer cannot be asked for some of its steps."""

    @property
    def runtime(self) -> str:
        """What runs it; chosen, and its weights loaded, now if they were not yet."""
        return self._leading.runtime if "_leading" in self.__dict__ else super().runtime

    def vectors(self, inputs: Inputs) -> np.ndarray:
        """(B, D): what pooling what `encode` gives would give; with pool="cls" for a fifteenth less."""
        if self.spec.pool != "cls" or not self.vector_steps:
            return pool(self.encode(inputs), self.spec.pool)
        return np.asarray(self._leading(self.select_inputs(inputs))[0].mean(axis=1), np.float32)

    def build(self) -> torch.nn.Module:
        """Inputs to states of all steps."""
        return self.wrap(self.load_model())

    def build_vectors(self) -> torch.nn.Module:
        """Inputs to states of the first steps."""
        from ...weights import pretrained

        network = self.load_model()
        layers = self.layers(network)
        layers[-1] = pretrained.FirstSteps(layers[-1], self.vector_steps)
        return self.wrap(network)

    @abstractmethod
    def load_model(self) -> Any:
        """Transformers' model."""

    @abstractmethod
    def wrap(self, network: Any) -> torch.nn.Module:
        """It, called as its family says."""

    def layers(self, network: Any) -> torch.nn.ModuleList:
        """Its layers, the last of which may be exchanged."""
        return network.layers  # type: ignore[no-any-return]

    @cached_property
    def _leading(self) -> DeferredRunner:
        return self._defer_network("leading", self.build_vectors, self.example, ("states",), self.dynamic_axes)
