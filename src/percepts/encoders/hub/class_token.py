"""Encode with models whose vector is made of the first steps alone, without the last layer's work for the others."""

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
    """A family with a class token. With pool="cls" a network of its own gives the vectors."""

    vector_steps: ClassVar[int] = 1
    """Steps whose mean is the vector; 0 where the last layer cannot compute some of its steps alone."""

    @property
    def runtime(self) -> str:
        """Runtime that runs it; asking chooses it and loads the weights, if that was not done yet."""
        return self._leading.runtime if "_leading" in self.__dict__ else super().runtime

    def vectors(self, inputs: Inputs) -> np.ndarray:
        """Return (B, D) vectors, equal to pooled features; with pool="cls" in a fifteenth less time."""
        if self.spec.pool != "cls" or not self.vector_steps:
            return pool(self.encode(inputs), self.spec.pool)
        return np.asarray(self._leading(self.select_inputs(inputs))[0].mean(axis=1), np.float32)

    def build(self) -> torch.nn.Module:
        """Build the network from inputs to states of all steps."""
        return self.wrap(self.load_model())

    def build_vectors(self) -> torch.nn.Module:
        """Build the network from inputs to states of the first steps."""
        from ...weights import pretrained

        network = self.load_model()
        layers = self.layers(network)
        layers[-1] = pretrained.FirstSteps(layers[-1], self.vector_steps)
        return self.wrap(network)

    @abstractmethod
    def load_model(self) -> Any:
        """Load the model of transformers."""

    @abstractmethod
    def wrap(self, network: Any) -> torch.nn.Module:
        """Return the model as a network, called as its family says."""

    def layers(self, network: Any) -> torch.nn.ModuleList:
        """Return the layers of the model, the last of which may be exchanged."""
        return network.layers  # type: ignore[no-any-return]

    @cached_property
    def _leading(self) -> DeferredRunner:
        return self._defer_network("leading", self.build_vectors, self.example, ("states",), self.dynamic_axes)
