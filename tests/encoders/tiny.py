"""Tiny random checkpoints in the hub's layout, saved by transformers itself: what the tests hold ours against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers
from transformers import PreTrainedTokenizerFast

WORDS = "a photo of the cat dog piano sound rain red blue green sky tree two three".split()  # noqa: SIM905
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
VISION = {**SMALL, "image_size": 32, "patch_size": 8}


def save(folder: Path, config: Any, kind: str, processor: dict[str, Any] | None = None, *, words: int = 0) -> Path:
    """A checkpoint of that class with every weight random, norms and biases too, so that none goes unnoticed."""
    torch.manual_seed(7)
    model = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "logit" not in name:
                parameter.add_(torch.randn_like(parameter) * 0.05)
        for name, buffer in model.named_buffers():
            if "running_mean" in name:
                buffer.normal_()
    model.save_pretrained(folder)
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    if words:
        tokenizer(folder)
    return folder


def tokenizer(folder: Path) -> None:
    """Words of WORDS; every text begins with id 1 and ends with id 2; 0 pads, 3 is unknown."""
    table = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, **{word: i + 4 for i, word in enumerate(WORDS)}}
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(table, unk_token="<unk>"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    core.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    made.save_pretrained(folder)


def pictures() -> list[np.ndarray]:
    """Awkward ones: wide, tall, one pixel, smaller than the model, odd sides, large."""
    rng = np.random.default_rng(3)
    shapes = [(48, 64), (90, 41), (1, 1), (7, 20), (33, 35), (32, 32), (301, 211)]
    smooth = [rng.integers(0, 256, (max(2, h // 8), max(2, w // 8), 3), np.uint8) for h, w in shapes]
    return [np.kron(s, np.ones((8, 8, 1), np.uint8))[:h, :w] for s, (h, w) in zip(smooth, shapes, strict=True)]


VIT = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
CROPPED = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}


def vit(folder: Path, kind: str = "ViTModel") -> Path:
    return save(folder, transformers.ViTConfig(**VISION), kind, VIT)


def deit(folder: Path) -> Path:
    processor = {"image_processor_type": "DeiTImageProcessor", "size": {"height": 36, "width": 36},
                 "crop_size": {"height": 32, "width": 32}}  # fmt: skip
    return save(folder, transformers.DeiTConfig(**VISION), "DeiTModel", processor)


def beit(folder: Path) -> Path:
    config = transformers.BeitConfig(**VISION, use_relative_position_bias=True, use_absolute_position_embeddings=False)
    return save(folder, config, "BeitModel", VIT | {"image_processor_type": "BeitImageProcessor"})


def dino2(folder: Path) -> Path:
    processor = {"image_processor_type": "BitImageProcessor", **CROPPED}
    return save(folder, transformers.Dinov2Config(**VISION), "Dinov2Model", processor)


def dino2_registers(folder: Path) -> Path:
    processor = {"image_processor_type": "BitImageProcessor", **CROPPED}
    return save(folder, transformers.Dinov2WithRegistersConfig(**VISION), "Dinov2WithRegistersModel", processor)


def dino3(folder: Path) -> Path:
    config = transformers.DINOv3ViTConfig(**VISION, num_register_tokens=3)
    return save(folder, config, "DINOv3ViTModel", VIT | {"image_processor_type": "DINOv3ViTImageProcessorFast"})


TEXT = {**SMALL, "vocab_size": 40, "max_position_embeddings": 12, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def clip(folder: Path) -> Path:
    config = transformers.CLIPConfig(text_config=dict(TEXT), vision_config=dict(VISION), projection_dim=24)
    return save(folder, config, "CLIPModel", {"image_processor_type": "CLIPImageProcessor", **CROPPED}, words=1)


def siglip(folder: Path) -> Path:
    config = transformers.SiglipConfig(text_config={**TEXT, "projection_size": 32}, vision_config=dict(VISION))
    return save(folder, config, "SiglipModel", VIT | {"image_processor_type": "SiglipImageProcessor"}, words=1)


def siglip2(folder: Path) -> Path:
    vision = {**SMALL, "patch_size": 8, "num_patches": 16}
    config = transformers.Siglip2Config(text_config={**TEXT, "projection_size": 32}, vision_config=vision)
    processor = {"image_processor_type": "Siglip2ImageProcessor", "patch_size": 8, "max_num_patches": 16}
    return save(folder, config, "Siglip2Model", processor, words=1)
