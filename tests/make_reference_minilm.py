"""Makes tests/reference/minilm.npz with transformers' BertModel on the weights of minilm, texts padded to 256."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

from percepts import weights

TARGET = Path(__file__).parent / "reference/minilm.npz"
TEXTS = (
    "a cup of coffee",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "",
    "A rocket launch, seen from the beach at night!",
    "temple " * 300,
)


def main() -> None:
    config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    model = BertModel(config).eval()
    missing = model.load_state_dict(safetensors.torch.load_file(weights.local_path("minilm")), strict=False)
    assert not missing.missing_keys, missing
    tokenizer = Tokenizer.from_file(str(weights.local_path("minilm", "tokenizer.json")))
    tokenizer.enable_truncation(256)  # sentence_bert_config.json
    tokenizer.enable_padding(length=256)
    found = tokenizer.encode_batch(list(TEXTS))
    ids, mask = (torch.tensor([getattr(row, name) for row in found]) for name in ("ids", "attention_mask"))
    with torch.no_grad():
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    means = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    np.savez_compressed(TARGET, vectors=torch.nn.functional.normalize(means, dim=1).numpy())


if __name__ == "__main__":
    main()
