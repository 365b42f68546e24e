"""Turn a source into soft tokens of a language model: the features of every window, through an adapter."""

from __future__ import annotations

from pathlib import Path

import torch

from .. import adapters
from ..adapters import Adapter, SoftTokens
from ..encoders import model_spec as find
from ..errors import NotMedia, TruncatedMedia
from ..media import Source, probe
from ..windows import Tail
from .embed import EmbedTask


def soft_tokens(
    media: Source,
    encoder: str,
    adapter: Adapter | str | Path,
    *,
    fps: float = 1.0,
    hop: float | None = None,
    tail: Tail = "pad",
) -> SoftTokens:
    """Return an image, audio or a video as a language model reads it: (W, T', D), a row for every window.

    `adapter` is one of `percepts.adapters`, or a folder that `percepts train adapter` made; cutting is as in `embed`.
    `percepts.adapters.Splicer` puts the tokens in the place of `<image>`, `<audio>` and `<video>` in a prompt.

    Raises MediaError where the source cannot be used, TruncatedMedia where it is damaged later on, ValueError where the
    adapter was trained on another encoder or takes features of another width.

    >>> import percepts
    >>> from percepts.adapters import make
    >>> percepts.soft_tokens("talk.flac", "melstats", make("linear", 64, 2048))  # doctest: +SKIP
    SoftTokens(embeds=[8, 8, 2048], mask=64 true)
    """
    row, chosen = find(encoder), adapter if isinstance(adapter, Adapter) else adapters.load_adapter(adapter)
    # An adapter that was made by hand names no encoder: it may take any.
    trained = chosen.about.get("encoder", row.name)
    if trained != row.name:
        raise ValueError(f"this adapter was trained on the frames of {trained}, not on those of {row.name}")
    task, medium, notes = EmbedTask((row,), fps=fps, hop=hop, tail=tail), probe(media), list[str]()
    model, parts, spans = task.get_encoder(row), list[SoftTokens](), list[tuple[float, float]]()
    with torch.inference_mode():
        for piece in task.prepare_source(media, medium, notes):
            frames = model.encode(piece.inputs)
            parts.append(chosen(torch.from_numpy(frames.data), torch.from_numpy(frames.mask)))
            spans += piece.spans
    if notes:
        raise TruncatedMedia(notes[0])
    if not parts:
        raise NotMedia(f"{media if isinstance(media, str | Path) else 'the source'}: {task.explain_empty(medium)}")
    return SoftTokens(*_pad_and_join(parts), tuple(spans))


def _pad_and_join(parts: list[SoftTokens]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the windows of all batches, (W, T, D) and (W, T), with zeros after the shorter ones."""
    longest = max(part.mask.shape[1] for part in parts)
    missing = [longest - part.mask.shape[1] for part in parts]
    pad = torch.nn.functional.pad
    # torch counts from the last axis back: nothing at D, then `more` at the end of T.
    embeds = [pad(part.embeds, (0, 0, 0, more)) for part, more in zip(parts, missing, strict=True)]
    masks = [pad(part.mask, (0, more)) for part, more in zip(parts, missing, strict=True)]
    return torch.cat(embeds), torch.cat(masks)
