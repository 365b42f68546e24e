"""Write the checkpoint that training starts from: a base model with a new classifier."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from ..encoders import load_encoder
from ..encoders import model_spec as find
from ..encoders.hub.classifier import WithClassifier
from ..errors import WeightsError
from ..support.files import write_file
from ..weights import pretrained
from .recipes import Recipe
from .stats import NormStats

PROBLEMS = {
    "single": "single_label_classification",
    "multi": "multi_label_classification",
    "regression": "regression",
}


@dataclass(frozen=True, slots=True)
class SmallAst:
    """The sizes of an AST that is trained from scratch on little data: 0.17 million parameters."""

    n_mels: int = 64
    max_length: int = 96
    stride: int = 16
    width: int = 64
    layers: int = 3
    heads: int = 2


def write_initial_ast(
    folder: Path, base: str | SmallAst, labels: list[str], recipe: Recipe, stats: NormStats | None, seed: int
) -> None:
    """Write the starting checkpoint as an ordinary transformers directory."""
    # The new classifier's weights come from torch's global generator.
    torch.manual_seed(seed)
    model, processor = (
        _make_from_scratch(base) if isinstance(base, SmallAst) else _make_from_checkpoint(base, labels, recipe)
    )
    if isinstance(base, SmallAst):
        model = _initialise_weights(model, labels)
    config = model.config
    config.problem_type = PROBLEMS[recipe.task]
    # As transformers' own training writes them, so that a pipeline shows names and not LABEL_0.
    config.id2label, config.label2id = dict(enumerate(labels)), {name: i for i, name in enumerate(labels)}
    if stats is not None:
        processor |= {"mean": stats.mean, "std": stats.std, "do_normalize": True}
    folder.mkdir(parents=True, exist_ok=True)
    with pretrained.silence_transformers():
        model.save_pretrained(folder)
    write_file(folder / "preprocessor_config.json", json.dumps(processor, indent=2) + "\n")


def is_ast(base: str | SmallAst) -> bool:
    """Return True where the inputs of a model are log filter banks, which have a mean and a deviation."""
    return isinstance(base, SmallAst) or find(base).target.endswith(":Ast")


def _make_from_scratch(small: SmallAst) -> tuple[Any, dict[str, Any]]:
    config = transformers.ASTConfig(
        hidden_size=small.width, num_hidden_layers=small.layers, num_attention_heads=small.heads,
        intermediate_size=4 * small.width, num_mel_bins=small.n_mels, max_length=small.max_length,
        frequency_stride=small.stride, time_stride=small.stride, initializer_range=small.width**-0.5,
    )  # fmt: skip
    processor = {"feature_extractor_type": "ASTFeatureExtractor", "num_mel_bins": small.n_mels,
                 "max_length": small.max_length, "sampling_rate": 16000}  # fmt: skip
    return config, processor


def _initialise_weights(config: Any, labels: list[str]) -> Any:
    """Make a model whose weights keep the scale of their inputs, and whose positions differ.

    transformers' own start, deviation 0.02 and all positions zero, stays at chance for hundreds of steps where the
    network is narrow and there is no checkpoint.
    """
    config.num_labels = len(labels)
    model = transformers.ASTForAudioClassification(config)
    torch.nn.init.normal_(model.audio_spectrogram_transformer.embeddings.position_embeddings, std=0.1)
    return model


def _make_from_checkpoint(base: str, labels: list[str], recipe: Recipe) -> tuple[Any, dict[str, Any]]:
    row = find(base, window=recipe.max_length / 100 if recipe.max_length and is_ast(base) else 0.0)
    encoder = load_encoder(row)
    if not isinstance(encoder, WithClassifier) or not encoder.head:
        raise WeightsError(f"{base}: transformers has no classifier for this family; an AST, a ViT or the like has one")
    folder = encoder.checkpoint.folder
    with pretrained.silence_transformers(), pretrained.raise_weights_error(folder, encoder.head):
        model = getattr(transformers, encoder.head).from_pretrained(
            # The head of the base has other labels: if its size differs, it is made from random weights.
            folder, num_labels=len(labels), ignore_mismatched_sizes=True, local_files_only=True,
            use_safetensors=True, dtype=torch.float32,
        )  # fmt: skip
    # Position embeddings are cut or interpolated to the new length, as AST's authors do.
    encoder.fit_window(model)
    processor = dict(encoder.checkpoint.processor)
    if recipe.max_length and is_ast(base):
        model.config.max_length = processor["max_length"] = recipe.max_length
    return model, processor
