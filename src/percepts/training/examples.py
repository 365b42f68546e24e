"""Prepare the inputs of a classifier once for all rows of a table, keep them in a file, and read them by batches."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import media
from ..encoders.hub.classifier import WithClassifier
from ..errors import MediaError
from ..preprocess.resample import resample
from ..types import Clip, Encoder, Spec
from ..windows import cut_fixed_windows
from .label_table import Row

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class HeadExamples:
    """The W windows that a classifier learns from, in the order of their sources.

    inputs   (W, ...) as the network takes them, mapped from a file that is deleted with the array
    frames   (W,) number of frames of a filter bank that hold audio; 0 where the network takes something else
    truth    (W, C)
    owner    (W,) number of the row that each window comes from
    """

    inputs: np.ndarray
    frames: np.ndarray
    truth: np.ndarray
    owner: np.ndarray

    def __len__(self) -> int:
        return len(self.owner)


def build_examples(
    encoder: WithClassifier, rows: Sequence[Row], truth: Callable[[str], np.ndarray], folder: str | Path
) -> HeadExamples:
    """Prepare the windows of these sources. A source that cannot be used is logged and left out.

    Decoding and spectra cost as much as a step of a small network, so they are made once and not in every epoch. The
    file is in `folder`; memory holds the windows of one source.
    """
    assert isinstance(encoder, Encoder)
    # Known once the first window is prepared.
    shape, dtype = (0,), np.dtype(np.float32)
    frames, owner = list[int](), list[int]()
    with tempfile.TemporaryFile(dir=folder) as file:
        for number, row in enumerate(rows):
            try:
                clips = _cut_windows(row["source"], encoder.spec)
            except (MediaError, OSError) as error:
                log.warning("left out: %s", error)
                continue
            for clip in clips:
                inputs = encoder.prepare([clip])
                # A classifier of one medium takes one tensor.
                taken = next(iter(encoder.select_inputs(inputs).values()))
                shape, dtype = taken.shape[1:], taken.dtype
                file.write(np.ascontiguousarray(taken).tobytes())
                frames.append(int(inputs["frames"][0]) if "frames" in inputs else 0)
            owner += [number] * len(clips)
        # The map below reads what is on the disk.
        file.flush()
        size = (len(owner), *shape)
        # An empty file cannot be mapped.
        inputs_of_all = np.memmap(file, dtype, "r", shape=size) if owner else np.empty(size, dtype)
    answers = [truth(row["label"]) for row in rows]
    return HeadExamples(
        inputs_of_all, np.array(frames, int), np.array([answers[i] for i in owner]), np.array(owner, int)
    )


def _cut_windows(source: str, spec: Spec) -> list[Clip]:
    """Return an image as one clip, or the windows of an audio file."""
    if spec.kind == "image":
        # Twice the size, so that what a JPEG loses when it is decoded smaller does not show.
        return [media.open_image(source, at_least=2 * spec.size)]
    sound = resample(map(media.mix_to_mono, media.stream_audio(source)), int(spec.rate))
    return list(cut_fixed_windows(spec.window, None, "pad")(sound))
