"""A tiny random Llama and a tokenizer of whole words, made here and saved as a checkpoint: no hub."""

from __future__ import annotations

from pathlib import Path

import tokenizers
import torch
import transformers
from transformers import PreTrainedTokenizerFast

WORDS = """
what is this a picture of sound and film then answer : zero one two three four five six seven eight nine
""".split()  # noqa: SIM905


def tokenizer(extra: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    """Every text begins with <s>; 0 pads, 2 ends; `extra` are special tokens of its own, after the words."""
    names = ["<pad>", "<s>", "</s>", "<unk>", *dict.fromkeys(WORDS)]
    core = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>")
    )
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    core.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    if extra:
        made.add_tokens(list(extra), special_tokens=True)
    return made


def config(vocabulary: int = 40) -> transformers.LlamaConfig:
    return transformers.LlamaConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
        vocab_size=vocabulary, pad_token_id=0, bos_token_id=1, eos_token_id=2, max_position_embeddings=512,
        initializer_range=0.15,
    )  # fmt: skip


def llama(vocabulary: int = 40) -> transformers.LlamaForCausalLM:
    torch.manual_seed(3)
    return transformers.LlamaForCausalLM(config(vocabulary)).eval()


def save(folder: Path) -> Path:
    """The two of them as a checkpoint."""
    llama().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
