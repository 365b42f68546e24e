"""Check the clips that an encoder is given, before it touches them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..types import Clip, Kind, Spec

# A frame that was cut out of a video keeps the kind "video".
_ACCEPTED_KINDS: dict[Kind, tuple[Kind, ...]] = {"image": ("image", "video"), "audio": ("audio",)}


def check_clips(clips: Sequence[Clip], kind: Kind, spec: Spec) -> None:
    """Raise ValueError unless there are clips and each can go into an encoder of this kind as it is.

    An encoder of images takes images and single frames of video; one of audio takes one channel at its own rate.
    """
    if not clips:
        raise ValueError(f"{spec.name}: expected at least one clip, got none")
    for clip in clips:
        wrong = _explain_mismatch(clip, kind, spec)
        if wrong:
            raise ValueError(f"{spec.name}: {wrong}{f' ({clip.source})' if clip.source else ''}")


def _explain_mismatch(clip: Clip, kind: Kind, spec: Spec) -> str:
    if clip.kind not in _ACCEPTED_KINDS[kind]:
        return f"expected a clip of kind {' or '.join(_ACCEPTED_KINDS[kind])}, got {clip.kind}"
    if clip.length == 0:
        return "expected a clip that holds something, got an empty one"
    if kind == "image":
        return f"expected one frame, got {clip.length}: cut the video first" if clip.length > 1 else ""
    if clip.rate != spec.rate:
        return f"expected {spec.rate:g} Hz, got {clip.rate:g}: resample it first"
    if len(clip.data) > 1:
        return f"expected one channel, got {len(clip.data)}: mix it down first"
    return "" if np.isfinite(clip.data).all() else "expected finite samples, got NaN or infinity"
