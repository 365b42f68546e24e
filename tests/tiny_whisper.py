"""A tiny random Whisper with a tokenizer whose specials stand as in the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tokenizers
import torch
import transformers
from tokenizers import pre_tokenizers

WORDS = "and so my fellow americans ask not what your country can do for you".split()  # noqa: SIM905
LANGUAGES = ("en", "de", "zh")


def specials(languages: tuple[str, ...] = LANGUAGES) -> list[str]:
    names = ["endoftext", "startoftranscript", *languages, "translate", "transcribe", "startoflm", "startofprev"]
    return [f"<|{name}|>" for name in [*names, "nospeech", "notimestamps"]]


def save_tokenizer(folder: Path, *, text: int = 0) -> dict[str, int]:
    """Bytes, " " + word, "" last (CTranslate2 knows a multilingual model by it); `text` tokens in all, or as few."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    table = {character: i for i, character in enumerate(alphabet)}
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        spelled = "Ġ"
        for character in word:
            if spelled + character not in table:
                table[spelled + character] = len(table)
                merges.append((spelled, character))
            spelled += character
    for i in range(len(table), (text or len(table) + 1) - 1):
        table[f"\u2060{i}"] = i
    table[""] = len(table)
    core = tokenizers.Tokenizer(tokenizers.models.BPE(table, merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = tokenizers.decoders.ByteLevel()
    times = [f"<|{i * 0.02:.2f}|>" for i in range(1501)]
    core.add_special_tokens([tokenizers.AddedToken(name, special=True) for name in specials()])
    core.add_tokens([tokenizers.AddedToken(name, special=False) for name in times])
    core.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "WhisperTokenizer", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>",
                "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return {name: core.token_to_id(name) for name in [*specials(), times[0]]} | {"size": core.get_vocab_size()}


def whisper_speaker(folder: Path, *, seconds: float = 2.0, **sizes: int) -> Path:
    """A checkpoint that transcribes windows of so many seconds, every weight random and none of them small."""
    folder.mkdir(parents=True, exist_ok=True)
    text = sizes.pop("text", 0)
    ids = save_tokenizer(folder, text=text)
    wanted = {"d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
              "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96}  # fmt: skip
    config = transformers.WhisperConfig(
        **(wanted | sizes), vocab_size=ids["size"], max_source_positions=round(seconds * 50),
        pad_token_id=ids["<|endoftext|>"], bos_token_id=ids["<|endoftext|>"], eos_token_id=ids["<|endoftext|>"],
        decoder_start_token_id=ids["<|startoftranscript|>"], suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    torch.manual_seed(7)
    model = transformers.WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.08)
    never = list(range(ids["<|startoftranscript|>"], ids["<|0.00|>"]))
    model.generation_config = transformers.GenerationConfig(
        decoder_start_token_id=ids["<|startoftranscript|>"], eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"], bos_token_id=ids["<|endoftext|>"],
        no_timestamps_token_id=ids["<|notimestamps|>"], prev_sot_token_id=ids["<|startofprev|>"],
        max_initial_timestamp_index=50, is_multilingual=True, max_length=448,
        lang_to_id={f"<|{code}|>": ids[f"<|{code}|>"] for code in LANGUAGES},
        task_to_id={name: ids[f"<|{name}|>"] for name in ("transcribe", "translate")},
        suppress_tokens=never, begin_suppress_tokens=[ids["<|endoftext|>"]],
    )  # fmt: skip
    model.save_pretrained(folder)
    processor = {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 80, "sampling_rate": 16000,
                 "chunk_length": round(seconds), "hop_length": 160, "n_fft": 400}  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def sounds(seconds: float) -> np.ndarray:
    """(3, N) float32 at 16 kHz: noise, a tone, chirps."""
    times = np.arange(round(seconds * 16_000)) / 16_000
    noise = np.random.default_rng(0).standard_normal(len(times)) * 0.1
    chirps = np.sin(2 * np.pi * (200 + 100 * times) * times) * 0.3 * (times % 1 < 0.5)
    return np.stack([noise, np.sin(2 * np.pi * 400 * times) * 0.3, chirps]).astype(np.float32)
