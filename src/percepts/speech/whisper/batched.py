"""Transcribe windows that are cut at pauses, several at once, and yield their utterances in order.

Windows that fail a threshold are decoded again together, and only those. No window knows the text of another, so a
prompt holds only the initial prompt and the hot words.
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
NEAR = 0.2  # seconds that a word may extend beyond the speech it belongs to
SPOKEN = 0.1  # fraction of a segment in which the detector must have heard speech


class BatchedTranscriber:
    """A transcriber of one stream in batches; the language is carried from one batch to the next."""

    def __init__(self, engine: WhisperEngine, options: TranscribeOptions, trace: TranscribeProgress) -> None:
        self._engine, self._options, self._trace = engine, options, trace
        self._languages = Languages(engine, options)
        self._prompt = Context(engine, options)
        self._repeats = RepetitionGuard()

    def run(self, windows: Iterable[SpeechPack]) -> Iterator[Utterance]:
        """Transcribe the windows of one stream."""
        self._trace.speech = self._trace.speech or 0.0
        packs = iter(windows)
        while batch := list(islice(packs, self._options.batch_size)):
            utterances = self._transcribe_batch(batch)
            self._trace.speech += sum(stop - start for pack in batch for start, stop in pack.spoken)
            self._trace.heard = batch[-1].clip.stop
            yield from utterances

    def _transcribe_batch(self, batch: Sequence[SpeechPack]) -> list[Utterance]:
        engine = self._engine
        states = engine.encode(np.stack([self._compute_mel(pack) for pack in batch]))
        known = self._known_languages(states)
        # Windows may differ in language, so each has its own first tokens.
        starts = [start_of(engine, language.code, self._options.task) for language in known]
        prompts = [self._prompt.prompt(start) for start in starts]
        results = decode_windows(engine, states, prompts, self._options, self._trace)
        by_window = [self._decode_segments(pack, result) for pack, result in zip(batch, results, strict=True)]
        if self._options.word_timestamps:
            self._add_words(by_window, states, starts, batch, known)
        rows = zip(batch, by_window, results, known, strict=True)
        return [utterance for row in rows for utterance in self._drop_repeated(*row)]

    def _compute_mel(self, pack: SpeechPack) -> np.ndarray:
        check_mono_16k(pack.clip)
        return compute_log_mel(pack.clip.data[0], 0, self._engine.n_mels, round(self._engine.window * 100))

    def _known_languages(self, states: np.ndarray) -> list[Languages]:
        """Return the language of each window, as it was known when the window was reached."""
        languages = []
        for row in states:
            if self._languages.needs_detection:
                self._languages.add_probabilities(self._engine.detect_language(row[None])[0])
            languages.append(self._languages.copy())
        self._trace.language, self._trace.language_prob = self._languages.code, self._languages.prob
        return languages

    def _decode_segments(self, pack: SpeechPack, result: WindowResult) -> list[SpokenSegment]:
        if result.silent:
            self._trace.silent += 1
            return []
        parts = split_at_timestamps(result.tokens, self._engine.vocabulary, 0, _count_frames(pack), last=True)
        return [
            segment
            for segment in decode_segments(parts.segments, self._engine.vocabulary)
            if _overlaps_speech(segment, pack)
        ]

    def _add_words(
        self,
        by_window: Sequence[list[SpokenSegment]],
        states: np.ndarray,
        starts: Sequence[list[int]],
        batch: Sequence[SpeechPack],
        known: Sequence[Languages],
    ) -> None:
        """Find the times of words, at once for all windows whose transcript begins with the same tokens."""
        tokens = [select_text_tokens(segments, self._engine.vocabulary) for segments in by_window]
        for start in {tuple(start): start for start in starts}.values():
            rows = [i for i, other in enumerate(starts) if other == start and tokens[i]]
            if not rows:
                continue
            # The encoder has one state for two frames.
            frames = [max(1, _count_frames(batch[i]) // 2) for i in rows]
            paths = self._engine.align(states[rows], start, [tokens[i] for i in rows], frames)
            for i, path in zip(rows, paths, strict=True):
                add_words(by_window[i], path, self._engine.vocabulary, known[i].code, 0.0, 0.0)

    def _drop_repeated(
        self, pack: SpeechPack, segments: list[SpokenSegment], result: WindowResult, language: Languages
    ) -> Iterator[Utterance]:
        """Yield the utterances of one window, but for those that repeat themselves."""
        for utterance in build_utterances(segments, result, language, pack.clip.start):
            if self._repeats.is_repetitive(utterance.text, language.code not in UNSPACED):
                log.warning(
                    "dropping repetitive text at %.2f to %.2f s: %.60r", utterance.start, utterance.stop, utterance.text
                )
                self._trace.repeated += 1
                continue
            yield replace(utterance, words=tuple(_clamp_to_speech(word, pack) for word in utterance.words))


def _count_frames(pack: SpeechPack) -> int:
    """Return the length of a window in frames of 10 ms."""
    return pack.clip.length // WHISPER_HOP


def _overlaps_speech(segment: SpokenSegment, pack: SpeechPack) -> bool:
    """Return whether speech was detected in a tenth of a segment, by the times that the decoder gave it."""
    start, stop = pack.clip.start + segment.start, pack.clip.start + segment.stop
    heard = sum(max(0.0, min(stop, end) - max(start, begin)) for begin, end in pack.spoken)
    return heard > 0 and heard >= SPOKEN * (stop - start)


def _clamp_to_speech(word: Segment, pack: SpeechPack) -> Segment:
    """Move the ends of a word to at most NEAR outside the stretch of speech that holds most of it."""
    start, stop = max(pack.spoken, key=lambda span: min(word.stop, span[1]) - max(word.start, span[0]))
    low, high = start - NEAR, stop + NEAR
    return replace(word, start=min(max(word.start, low), high), stop=min(max(word.stop, low), high))
