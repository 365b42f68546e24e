"""Transcribe long audio window by window, each of which begins where the one before it ended.

The algorithm of Radford et al. 2022, section 4.5, and of openai/whisper's transcribe.py, with three guards of our own:
windows always advance, text that repeats itself is dropped, and if all temperatures fail, the most likely result wins.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from ...types import Clip
from ..engines import WhisperEngine
from ..options import TranscribeOptions
from ..results import TranscribeProgress, Utterance
from .fallback import WindowResult, decode_windows
from .hallucination import drop_hallucinated
from .language import Languages, start_of
from .mel_window import MelWindow
from .prompt import Context
from .repetition import RepetitionGuard
from .segmentation import WindowSegments, split_at_timestamps
from .utterances import build_utterances
from .word_grouping import UNSPACED
from .word_timestamps import SpokenSegment, add_words, decode_segments, select_text_tokens

log = logging.getLogger(__name__)
STALLED, SLOW = 5, 30
"""STALLED windows in a row that together advance by less than STALLED / SLOW of a window have come to a standstill.

This bounds the work: at most one window per second (for windows of 30 s), each decoded at most once per temperature.
Without the bound, a model that is given noise, or has random weights, takes nearly forever.
"""


class LongForm:
    """The state that is carried from window to window, and from one stretch of a stream to the next."""

    def __init__(self, engine: WhisperEngine, options: TranscribeOptions, trace: TranscribeProgress) -> None:
        self._engine, self._options, self._trace = engine, options, trace
        self._languages = Languages(engine, options)
        self._context = Context(engine, options)
        self._repeats = RepetitionGuard()
        self._before = 0.0  # second at which speech ended last, counted from the start of the stretch

    def run(self, blocks: Iterable[Clip]) -> Iterator[Utterance]:
        """Transcribe one contiguous stretch of audio."""
        audio = MelWindow(blocks, self._engine.n_mels, self._engine.window)
        at, self._before = 0, 0.0
        advances = deque[int](maxlen=STALLED)
        least = STALLED * self._engine.window * 100 / SLOW
        while size := audio.remaining_frames(at):
            ended = audio.is_last_window(at)
            stalled = len(advances) == STALLED and sum(advances) < least
            utterances, advance = self._transcribe_window(audio.mel(at), at, size, ended, audio.start, stalled)
            if stalled or advance < 1:
                log.warning("no progress at %.2f s; accepting the window and moving on", audio.start + at / 100)
                self._trace.stalled += 1
                advances.clear()
                advance = size
            advances.append(min(advance, size))
            at += advances[-1]
            self._trace.heard = audio.start + at / 100
            yield from utterances
        audio.release()

    def _transcribe_window(
        self, mel: np.ndarray, at: int, size: int, ended: bool, origin: float, take_all: bool
    ) -> tuple[list[Utterance], int]:
        """Return the utterances of the window of `size` frames from frame `at` on, and how many of its frames are done.

        ended     the stream ends within this window
        origin    second of the source where the stream begins
        take_all  what is unfinished in the window is not left to the next one
        """
        states = self._engine.encode(mel[None])
        result, start = self._decode(states)
        if result.silent:
            return [], size
        parts = split_at_timestamps(result.tokens, self._engine.vocabulary, at, size, last=take_all)
        segments, advance = decode_segments(parts.segments, self._engine.vocabulary), parts.advance
        if self._options.word_timestamps:
            self._add_words(segments, states, start, at, size)
            segments, advance = self._drop_hallucinated(segments, parts, at, size, ended)
            self._before = next((segment.stop for segment in reversed(segments) if segment.words), self._before)
        return self._drop_repeated(segments, result, origin), advance

    def _decode(self, states: np.ndarray) -> tuple[WindowResult, list[int]]:
        """Decode one window; return the result and the tokens that its transcript begins with."""
        detected = self._languages.needs_detection
        if detected:
            self._languages.add_probabilities(self._engine.detect_language(states)[0])
        start = start_of(self._engine, self._languages.code, self._options.task)
        [result] = decode_windows(self._engine, states, [self._context.prompt(start)], self._options, self._trace)
        if result.silent:
            self._trace.silent += 1
            if detected:
                self._languages.revert()
        self._trace.language, self._trace.language_prob = self._languages.code, self._languages.prob
        return result, start

    def _add_words(
        self, segments: list[SpokenSegment], states: np.ndarray, start: list[int], at: int, size: int
    ) -> None:
        """Give the segments their words with times."""
        tokens = select_text_tokens(segments, self._engine.vocabulary)
        if tokens:
            [path] = self._engine.align(states, start, [tokens], [max(1, size // 2)])
            add_words(segments, path, self._engine.vocabulary, self._languages.code, at / 100, self._before)

    def _drop_hallucinated(
        self, segments: list[SpokenSegment], parts: WindowSegments, at: int, size: int, ended: bool
    ) -> tuple[list[SpokenSegment], int]:
        """Return the segments that somebody said, and the frames of the window that are done.

        A window that broke off a word ends after its last complete word instead.
        """
        advance, silence = parts.advance, self._options.hallucination_silence_threshold
        last = next((segment.words[-1].stop for segment in reversed(segments) if segment.words), None)
        if last is not None and not parts.ending and last > at / 100:
            advance = round(last * 100) - at
        if silence is None:
            return segments, advance
        start, stop = at / 100, (at + size) / 100
        if last is not None and not parts.ending and stop - last <= silence:
            advance = size
        result = drop_hallucinated(segments, silence, start, stop, self._before)
        if result.resume_at is not None:
            # At the end of the stream a rest shorter than the silence would only be made up again.
            over = ended and result.segments != segments and stop - result.resume_at < silence
            advance = size if over else round(result.resume_at * 100) - at
        return result.segments, advance

    def _drop_repeated(self, segments: list[SpokenSegment], result: WindowResult, origin: float) -> list[Utterance]:
        """Return the utterances that do not repeat themselves, and add their text to the next window's prompt."""
        utterances = []
        spaced = self._languages.code not in UNSPACED
        for utterance in build_utterances(segments, result, self._languages, origin):
            if self._repeats.is_repetitive(utterance.text, spaced):
                span = utterance.start, utterance.stop
                log.warning("dropping repetitive text at %.2f to %.2f s: %.60r", *span, utterance.text)
                self._trace.repeated += 1
                self._context.clear()  # repeated text in the prompt makes the next window repeat it, too
            else:
                utterances.append(utterance)
                self._context.add(utterance.tokens, result.temperature)
        return utterances
