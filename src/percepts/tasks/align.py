"""Align a known text with audio: find when each of its words is said."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np

from ..errors import NotMedia, UnknownModel
from ..media import Source
from ..speech.audio_source import AudioSource
from ..speech.ctc.decode import compute_emissions
from ..speech.ctc.forced_alignment import align_text
from ..speech.engines import CTCEngine, Engine
from ..speech.loading import SPHINX, load_engine
from ..speech.sphinx import Sphinx
from ..types import Clip, Segment

log = logging.getLogger(__name__)


def align(source: Source, text: str, model: str | Engine = SPHINX) -> list[Segment]:
    """Find when each word of a known text is said: forced alignment.

    Args:
        source: path or bytes of audio or a video.
        text: everything that is said, in order; each line becomes a segment.
        model: a Hugging Face model or the folder of one: wav2vec 2.0, HuBERT or WavLM with a CTC head, for any language
            that it was trained on and recordings of hours: 25 MB an hour, and 100 MB while it looks for a long text.
            Or "sphinx", for ten minutes of English, which needs no download.

    Returns:
        A segment for each line, with its words. The score of a word is how probable its letters were: low where
        something else was said. sphinx gives none.

    Raises:
        FileNotFoundError, MediaError: the source cannot be opened, or has no audio.
        UnknownModel, WeightsError, MissingExtra: there is no such model, or it is not here.
        AlignError: a text without words, longer than the audio can hold, or with words that sphinx does not know.

    >>> percepts.align("talk.wav", "Ask not what your country can do for you")[0].words[0].start  # doctest: +SKIP
    3.25
    """
    engine = load_engine(model) if isinstance(model, str) else model
    recording = AudioSource(source)
    if isinstance(engine, Sphinx):
        found = engine.align(recording.blocks(), text)
    elif engine.kind == "ctc":
        found = _align_ctc(engine, recording, text)
    else:
        raise UnknownModel(
            f"{engine.name} has no letters to align by: expected a CTC model, such as facebook/wav2vec2-base-960h, or "
            "sphinx"
        )
    # Only now: the notes are complete when all blocks have been read.
    for note in recording.notes:
        log.warning("%s: only what comes before is aligned", note)
    return found


def _align_ctc(engine: CTCEngine, recording: AudioSource, text: str) -> list[Segment]:
    start = 0.0

    def note_start(blocks: Iterable[Clip]) -> Iterable[Clip]:
        nonlocal start
        for number, block in enumerate(blocks):
            # A stream may begin late, and frames have no times of their own.
            start = start if number else block.start
            yield block

    # All frames are kept: the best path is known only when the last of them has been scored.
    frames = list(compute_emissions(engine, note_start(recording.blocks())))
    if not frames:
        raise NotMedia(f"{recording.name}: holds no audio to align a text with")
    return align_text(np.concatenate(frames), text, engine, start=start)
