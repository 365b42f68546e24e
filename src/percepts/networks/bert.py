"""Build BERT's encoder in torch, for export: token ids of one text without padding to the last hidden states.

Devlin et al. 2018 (arXiv 1810.04805), post-norm, exact GELU. Parameters are named as in Hugging Face's BertModel.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import nn
from torch.nn import functional as F

EPS = 1e-12  # layer_norm_eps of BERT's config.json; torch's default is 1e-5


@dataclass(frozen=True, slots=True)
class BertShape:
    """Sizes of a checkpoint; the defaults are those of all-MiniLM-L6-v2."""

    words: int = 30522
    positions: int = 512
    dim: int = 384
    layers: int = 6
    heads: int = 12
    inner: int = 1536


class Embeddings(nn.Module):
    """Vectors of words, positions and the one sentence type, summed and normalised."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(shape.words, shape.dim)
        self.position_embeddings = nn.Embedding(shape.positions, shape.dim)
        self.token_type_embeddings = nn.Embedding(2, shape.dim)  # one is used, but the checkpoint has two
        self.LayerNorm = nn.LayerNorm(shape.dim, EPS)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return (B, T, D) states of (B, T) ids."""
        positions = self.position_embeddings.weight[: ids.shape[1]]
        # A row is one text, not a pair of sentences, so all its tokens are of sentence type 0.
        x: torch.Tensor = self.LayerNorm(self.word_embeddings(ids) + positions + self.token_type_embeddings.weight[0])
        return x


class Layer(nn.Module):
    """Attention, then two linear layers, each added to its input and normalised."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.query, self.key, self.value = (nn.Linear(shape.dim, shape.dim) for _ in range(3))
        self.output = nn.Linear(shape.dim, shape.dim)
        self.norm = nn.LayerNorm(shape.dim, EPS)
        self.up, self.down = nn.Linear(shape.dim, shape.inner), nn.Linear(shape.inner, shape.dim)
        self.last_norm = nn.LayerNorm(shape.dim, EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, T, D) states of (B, T, D) states."""
        query, key, value = (self._split_heads(part(x)) for part in (self.query, self.key, self.value))
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)  # (B, T, D)
        x = self.norm(x + self.output(seen))
        x = self.last_norm(x + self.down(F.gelu(self.up(x))))
        return x

    def _split_heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # (B, heads, T, D / heads)


class Bert(nn.Module):
    """Network from (B, T) int64 ids, none of them padding, to (B, T, D)."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.embeddings = Embeddings(shape)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the last hidden states."""
        x: torch.Tensor = self.embeddings(ids)
        for layer in self.layers:
            x = layer(x)
        return x


PARAMETER_NAMES = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "output",
    "attention.output.LayerNorm": "norm",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "last_norm",
}
"""Names of parameters inside a layer: those of a checkpoint, and ours."""
# The pooler is not used here; position_ids is a buffer that old checkpoints saved.
UNUSED = ("pooler.", "embeddings.position_ids")


def rename_parameters(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint under the names of `Bert`, without those it does not use."""
    return {_rename_parameter(name): value for name, value in state.items() if not name.startswith(UNUSED)}


def _rename_parameter(name: str) -> str:
    if not name.startswith("encoder.layer."):
        return name
    number, _, rest = name.removeprefix("encoder.layer.").partition(".")
    module, _, parameter = rest.rpartition(".")
    return f"layers.{number}.{PARAMETER_NAMES[module]}.{parameter}"


def load_network(path: Path, shape: BertShape | None = None) -> Bert:
    """Return the network with the weights of the safetensors file at `path`, in eval mode."""
    network = Bert(shape or BertShape())
    network.load_state_dict(rename_parameters(safetensors.torch.load_file(path)))
    return network.eval()
