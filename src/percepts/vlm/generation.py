"""Set the options of text generation and read the new tokens and their probability."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass
from typing import Any, TypedDict


class GenerationKeywords(TypedDict, total=False):
    """The fields of GenerationOptions as keyword arguments: `**generation: Unpack[GenerationKeywords]`."""

    max_new_tokens: int
    num_beams: int | None
    length_penalty: float | None
    repetition_penalty: float | None
    no_repeat_ngram_size: int | None


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """Options of text generation, by transformers' names. None keeps the value of the checkpoint's own settings.

    Sampling is not offered, and is switched off where a checkpoint's settings ask for it: the same image gets the same
    caption, whatever else is in its batch.

    max_new_tokens         most tokens written, those of the prompt and the prefix not counted
    num_beams              beams of the search; 1: the most probable token at each step
    length_penalty         with beams: above 0 favours long texts, below 0 short ones
    repetition_penalty     above 1 makes tokens less probable that are in the text already
    no_repeat_ngram_size   no sequence of so many tokens appears twice
    """

    max_new_tokens: int = 50
    num_beams: int | None = None
    length_penalty: float | None = None
    repetition_penalty: float | None = None
    no_repeat_ngram_size: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("max_new_tokens", 1), ("num_beams", 1), ("no_repeat_ngram_size", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"expected {name} of at least {least}, got {value}")
        if self.repetition_penalty is not None and not self.repetition_penalty > 0:
            raise ValueError(f"expected repetition_penalty above 0, got {self.repetition_penalty}")

    def config(self, base: Any, **settings: Any) -> Any:
        """Return a copy of the checkpoint's GenerationConfig with these options set."""
        config = copy.deepcopy(base)
        config.update(**settings, **{name: value for name, value in asdict(self).items() if value is not None})
        # Transformers warns about options of beams where there is one.
        if config.num_beams in (None, 1):
            config.update(length_penalty=None, early_stopping=None)
        return config


def disable_sampling(config: Any) -> Any:
    """Return a copy of a GenerationConfig that does not sample, sets no length, and returns the logits."""
    copied = copy.deepcopy(config)
    copied.update(
        max_length=None, min_length=None, do_sample=False, temperature=None, top_k=None, top_p=None, min_p=None,
        typical_p=None, num_return_sequences=None, return_dict_in_generate=True, output_logits=True,
    )  # fmt: skip
    return copied


@dataclass(frozen=True, slots=True, eq=False)
class GeneratedTokens:
    """New tokens of one row, without the one that ends it, and the geometric mean of their probabilities.

    The probabilities are the model's own, before penalties; the end counts as a token.
    """

    ids: tuple[int, ...]
    score: float


def read_generated(output: Any, ends: set[int]) -> list[GeneratedTokens]:
    """Read the new tokens of each row from the output of `generate` (`return_dict_in_generate`, `output_logits`)."""
    steps, beams = len(output.logits), getattr(output, "beam_indices", None)
    if beams is not None:
        # Beam search may go on after the best sequence has ended.
        steps = min(steps, beams.shape[1])
    ids = output.sequences[:, output.sequences.shape[1] - steps :]  # what stands before is the prompt
    rows = []
    for row in range(len(ids)):
        length = next((t + 1 for t in range(steps) if int(ids[row, t]) in ends), steps)
        total = 0.0
        for t in range(length):
            at = row if beams is None else int(beams[row, t])
            # In float32: a sum of logarithms in half precision is too coarse.
            total += float(output.logits[t][at].float().log_softmax(-1)[ids[row, t]])
        tokens = tuple(token for token in ids[row, :length].tolist() if token not in ends)
        rows.append(GeneratedTokens(tokens, math.exp(total / max(1, length))))
    return rows


def collect_end_tokens(*values: Any) -> set[int]:
    """Collect every token that ends a text; each value is one number, several or None."""
    return {int(token) for value in values if value is not None for token in _as_list(value)}


def _as_list(value: Any) -> list[Any]:
    """Return a list or tuple as list, anything else as a list of one."""
    return list(value) if isinstance(value, list | tuple) else [value]
