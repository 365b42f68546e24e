"""Make checkpoints of the usual sizes with random weights: the cost of a model does not depend on their values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers

SQUARE = {"image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 224}}
SHORT = {
    "image_processor_type": "CLIPImageProcessor",
    "size": {"shortest_edge": 224},
    "crop_size": {"height": 224, "width": 224},
}


def vit_b16(folder: Path) -> Path:
    return _save(folder, transformers.ViTForImageClassification(transformers.ViTConfig()), SQUARE)


def clip_b32(folder: Path) -> Path:
    path = _save(folder, transformers.CLIPModel(transformers.CLIPConfig()), SHORT)
    words = {"<unk>": 0, **{f"w{i}": i for i in range(1, 1000)}, "<|startoftext|>": 49406, "<|endoftext|>": 49407}
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", bos_token="<|startoftext|>", eos_token="<|endoftext|>",
        pad_token="<|endoftext|>", model_max_length=77,
    ).save_pretrained(path)  # fmt: skip
    return path


def ast(folder: Path) -> Path:
    model = transformers.ASTForAudioClassification(transformers.ASTConfig(num_labels=527))
    return _save(folder, model, {"feature_extractor_type": "ASTFeatureExtractor", "sampling_rate": 16000})


def whisper_base(folder: Path) -> Path:
    config = transformers.WhisperConfig(
        d_model=512, encoder_layers=6, decoder_layers=6, encoder_attention_heads=8, decoder_attention_heads=8,
        encoder_ffn_dim=2048, decoder_ffn_dim=2048,
    )  # fmt: skip
    processor = {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 80, "sampling_rate": 16000}
    return _save(folder, transformers.WhisperModel(config), processor)


def _save(folder: Path, model: Any, processor: dict[str, Any]) -> Path:
    torch.manual_seed(0)
    model.eval().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder
