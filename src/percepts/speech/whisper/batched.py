"""Windows cut in pauses in, utterances out in their order: several windows are decoded at once, each by itself.

What fails a threshold is decoded again with the others that failed, and only that; the options are those of the
caller. No window knows the text of another, so prompts are the initial one and the hot words.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from ...preprocess.mel import WHISPER_HOP
from ...types import Segment
from ...windows.packs import SpeechPack
from ..engines import WhisperEngine
from ..options import TranscribeOptions
from ..results import TranscribeProgress, Utterance
from .fallback import WindowResult, decode_windows
from .language import Languages, start_of
from .mel_window import check_mono_16k, compute_log_mel
from .prompt import Context
from .repetition import RepetitionGuard
from .segmentation import split_at_timestamps
from .utterances import build_utterances
from .word_grouping import UNSPACED
from .word_timestamps import SpokenSegment, add_words, decode_segments, select_text_tokens

log = logging.getLogger(__name__)
NEAR = 0.2  # seconds that a word may reach over the speech it belongs to
SPOKEN = 0.1  # part of a segment in which somebody must speak


class BatchedTranscriber:
    """A stream in batches; the language goes on from one to the next."""

    def __init__(self, engine: WhisperEngine, options: TranscribeOptions, trace: TranscribeProgress) -> None:
        self._engine, self._options, self._trace = engine, options, trace
        self._languages = Languages(engine, options)
        self._prompt = Context(engine, options)
        self._repeats = RepetitionGuard()

    def run(self, windows: Iterable[SpeechPack]) -> Iterator[Utterance]:
        """Transcribe the windows of one stream."""
        self._trace.speech = self._trace.speech or 0.0
        some = iter(windows)
        while batch := list(islice(some, self._options.batch_size)):
            found = self._batch(batch)
            self._trace.speech += sum(stop - start for pack in batch for start, stop in pack.spoken)
            self._trace.heard = batch[-1].clip.stop
            yield from found

    def _batch(self, batch: Sequence[SpeechPack]) -> list[Utterance]:
        engine = self._engine
        states = engine.encode(np.stack([self._mel(pack) for pack in batch]))
        known = self._known_languages(states)
        starts = [start_of(engine, language.code, self._options.task) for language in known]
        prompts = [self._prompt.prompt(start) for start in starts]
        results = decode_windows(engine, states, prompts, self._options, self._trace)
        pieces = [self._pieces(pack, result) for pack, result in zip(batch, results, strict=True)]
        if self._options.word_timestamps:
            self._time(pieces, states, starts, batch, known)
        rows = zip(batch, pieces, results, known, strict=True)
        return [one for row in rows for one in self._keep(*row)]

    def _mel(self, pack: SpeechPack) -> np.ndarray:
        check_mono_16k(pack.clip)
        return compute_log_mel(pack.clip.data[0], 0, self._engine.n_mels, round(self._engine.window * 100))

    def _known_languages(self, states: np.ndarray) -> list[Languages]:
        """The language of each window as it was known by then."""
        found = []
        for row in states:
            if self._languages.needs_detection:
                self._languages.add_probabilities(self._engine.detect_language(row[None])[0])
            found.append(self._languages.copy())
        self._trace.language, self._trace.language_prob = self._languages.code, self._languages.prob
        return found

    def _pieces(self, pack: SpeechPack, result: WindowResult) -> list[SpokenSegment]:
        if result.silent:
            self._trace.silent += 1
            return []
        parts = split_at_timestamps(result.tokens, self._engine.vocabulary, 0, _count_frames(pack), last=True)
        return [
            piece for piece in decode_segments(parts.pieces, self._engine.vocabulary) if _overlaps_speech(piece, pack)
        ]

    def _time(
        self,
        pieces: Sequence[list[SpokenSegment]],
        states: np.ndarray,
        starts: Sequence[list[int]],
        batch: Sequence[SpeechPack],
        known: Sequence[Languages],
    ) -> None:
        """All windows of one start at once."""
        tokens = [select_text_tokens(some, self._engine.vocabulary) for some in pieces]
        for start in {tuple(one): one for one in starts}.values():
            mine = [i for i, one in enumerate(starts) if one == start and tokens[i]]
            if not mine:
                continue
            frames = [max(1, _count_frames(batch[i]) // 2) for i in mine]
            paths = self._engine.align(states[mine], start, [tokens[i] for i in mine], frames)
            for i, path in zip(mine, paths, strict=True):
                add_words(pieces[i], path, self._engine.vocabulary, known[i].code, 0.0, 0.0)

    def _keep(
        self, pack: SpeechPack, pieces: list[SpokenSegment], result: WindowResult, language: Languages
    ) -> Iterator[Utterance]:
        """What does not repeat itself."""
        for one in build_utterances(pieces, result, language, pack.clip.start):
            if self._repeats.is_repetitive(one.text, language.code not in UNSPACED):
                log.warning("%.2f to %.2f s: dropped, it repeats itself: %.60r", one.start, one.stop, one.text)
                self._trace.repeated += 1
                continue
            yield replace(one, words=tuple(_clamp_to_speech(word, pack) for word in one.words))


def _count_frames(pack: SpeechPack) -> int:
    return pack.clip.length // WHISPER_HOP


def _overlaps_speech(piece: SpokenSegment, pack: SpeechPack) -> bool:
    """Whether somebody speaks in a tenth of it, by the times that the decoder gave it."""
    start, stop = pack.clip.start + piece.start, pack.clip.start + piece.stop
    heard = sum(max(0.0, min(stop, end) - max(start, begin)) for begin, end in pack.spoken)
    return heard > 0 and heard >= SPOKEN * (stop - start)


def _clamp_to_speech(word: Segment, pack: SpeechPack) -> Segment:
    """A word no further than NEAR outside the speech that holds most of it."""
    start, stop = max(pack.spoken, key=lambda span: min(word.stop, span[1]) - max(word.start, span[0]))
    low, high = start - NEAR, stop + NEAR
    return replace(word, start=min(max(word.start, low), high), stop=min(max(word.stop, low), high))
