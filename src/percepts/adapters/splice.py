"""Put soft tokens in the place of <image>, <audio> and <video> markers of a text, and generate from it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .base import SoftTokens

MARKERS = ("<image>", "<audio>", "<video>")
IGNORED = -100
"""The label that transformers' losses leave out."""

Media = Mapping[str, Sequence[SoftTokens | torch.Tensor]]
"""Marker → what stands at its occurrences, in the order of the text."""


class Splicer:
    """Puts soft tokens in the place of markers, as transformers 5 does in its own multimodal models.

    A marker becomes as many placeholders as it has soft tokens, the ids are embedded, and the soft tokens are scattered
    over the placeholders. The tokenizer is copied, and markers that it does not know are added to the copy; neither the
    tokenizer nor the language model is changed.
    """

    def __init__(self, lm: Any, tokenizer: Any, markers: Sequence[str] = MARKERS) -> None:
        # A copy, because add_tokens would change the tokenizer of the caller.
        self.lm, self.tokenizer = lm, copy.deepcopy(tokenizer)
        known = self.tokenizer.get_vocab()
        if new := [marker for marker in markers if marker not in known]:
            self.tokenizer.add_tokens(new, special_tokens=True)
        self.ids = {marker: int(self.tokenizer.convert_tokens_to_ids(marker)) for marker in markers}
        # Llama and GPT-2 have no padding token; any id does, since the mask hides it.
        pad, stop = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        self.pad = next((token for token in (pad, stop) if token is not None), 0)

    def __call__(
        self, texts: Sequence[str], media: Sequence[Media], *, answers: Sequence[str] | None = None
    ) -> dict[str, torch.Tensor]:
        """Return a batch of model inputs, padded on the left so that generation continues where the text ends.

        The batch has inputs_embeds (B, T, D), attention_mask (B, T), position_ids (B, T) and labels (B, T), which are
        -100 at placeholders and padding. With `answers`, each answer and an end-of-sequence token follow their text,
        and the labels of the text are -100 too. ValueError where the markers of a text and its media differ in number.
        """
        if len(texts) != len(media) or (answers is not None and len(answers) != len(texts)):
            counts = f"{len(texts)} texts, {len(media)} media" + (f", {len(answers)} answers" if answers else "")
            raise ValueError(f"expected as many media (and answers) as texts, got {counts}")
        rows = [self._splice_row(i, *pair) for i, pair in enumerate(zip(texts, media, strict=True))]
        prompts = [len(ids) for ids, _ in rows]
        if answers is not None:
            rows = [(ids + self._answer_ids(answer), soft) for (ids, soft), answer in zip(rows, answers, strict=True)]
        longest = max(len(ids) for ids, _ in rows)
        device = self.lm.get_input_embeddings().weight.device
        ids = torch.tensor([[self.pad] * (longest - len(row)) + row for row, _ in rows], device=device)
        lengths = torch.tensor([[longest - len(row)] for row, _ in rows], device=device)
        mask = torch.arange(longest, device=device) >= lengths
        # `& mask`: padding may have the id of a marker.
        places = torch.isin(ids, torch.tensor(list(self.ids.values()), device=device)) & mask
        labels = ids.masked_fill(places | ~mask, IGNORED)
        if answers is not None:
            for row, prompt, before in zip(labels, prompts, lengths[:, 0].tolist(), strict=True):
                row[: before + prompt] = IGNORED
        return {
            "inputs_embeds": self._splice_embeddings(ids, places, [part for _, soft in rows for part in soft]),
            "attention_mask": mask.long(),
            # Positions count from the first real token: a row padded on the left must give what it gives alone.
            "position_ids": (mask.long().cumsum(1) - 1).clamp(min=0),
            "labels": labels,
        }

    def _splice_row(self, index: int, text: str, media: Media) -> tuple[list[int], list[torch.Tensor]]:
        """Return the ids of a text with its markers expanded, and its soft tokens in order."""
        if unknown := [marker for marker in media if marker not in self.ids]:
            raise ValueError(f"text {index}: expected markers of {', '.join(self.ids)}, got {', '.join(unknown)}")
        ids = list(self.tokenizer(text)["input_ids"])
        queues = {}
        for marker, token in self.ids.items():
            given, held = [_flatten_tokens(soft) for soft in media.get(marker, ())], ids.count(token)
            if len(given) != held:
                raise ValueError(f"text {index} holds {held} {marker} markers, and soft tokens of {len(given)} came")
            queues[token] = iter(given)
        row, soft = list[int](), list[torch.Tensor]()
        for token in ids:
            if token in queues:
                soft.append(next(queues[token]))
                # One placeholder per soft token, so that ids, mask and labels keep the same length.
                row += [token] * len(soft[-1])
            else:
                row.append(token)
        return row, soft

    def _answer_ids(self, answer: str) -> list[int]:
        # Without special tokens: the text before has its BOS already.
        ids = list(self.tokenizer(answer, add_special_tokens=False)["input_ids"])
        stop = self.tokenizer.eos_token_id
        return ids if stop is None else [*ids, stop]

    def _splice_embeddings(self, ids: torch.Tensor, places: torch.Tensor, soft: Sequence[torch.Tensor]) -> torch.Tensor:
        # A marker that was added has no row in the embedding: look another one up, it is written over.
        embeds: torch.Tensor = self.lm.get_input_embeddings()(ids.masked_fill(places, 0))
        if not soft:
            return embeds
        source = torch.cat(list(soft)).to(embeds.device, embeds.dtype)
        if source.shape[1] != embeds.shape[2]:
            raise ValueError(
                f"expected soft tokens as wide as the language model's {embeds.shape[2]}, got {source.shape[1]}"
            )
        # masked_scatter fills in row-major order, the order in which the soft tokens were collected.
        return embeds.masked_scatter(places[..., None], source)


def generate(splicer: Splicer, texts: Sequence[str], media: Sequence[Media], **settings: Any) -> list[str]:
    """Return what the language model writes after each text. `settings` go to `generate` of transformers."""
    batch = splicer(texts, media)
    with torch.no_grad():
        found = splicer.lm.generate(
            inputs_embeds=batch["inputs_embeds"],
            attention_mask=batch["attention_mask"],
            **{"pad_token_id": splicer.pad} | settings,
        )
    return [str(splicer.tokenizer.decode(row, skip_special_tokens=True)) for row in found]


def _flatten_tokens(soft: SoftTokens | torch.Tensor) -> torch.Tensor:
    """Return the (n, D) tokens that count."""
    flat = soft.flat if isinstance(soft, SoftTokens) else soft
    if flat.ndim != 2:
        raise ValueError(f"expected SoftTokens or a tensor (n, D), got {list(flat.shape)}")
    return flat
