"""A stream in, utterances out: one window after another, each begun where the one before it ended.

The algorithm of Radford et al. 2022, section 4.5, and of openai/whisper's transcribe.py, with three guards of ours:
windows advance, text that repeats itself is dropped, and of failed temperatures the likeliest result is taken.
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
"""So many windows in a row that together advance by less than as many thirtieths of one have come to a standstill.

So the windows of a long stretch are no more than its seconds (of a model of 30 s), each decoded once at each of the
temperatures at most, whatever the model says: a random one, or one that is given noise, hardly ends otherwise.
"""


class LongForm:
    """What is remembered from window to window, and from one stretch of a stream to the next."""

    def __init__(self, engine: WhisperEngine, options: TranscribeOptions, trace: TranscribeProgress) -> None:
        self._engine, self._options, self._trace = engine, options, trace
        self._languages = Languages(engine, options)
        self._context = Context(engine, options)
        self._repeats = RepetitionGuard()
        self._before = 0.0  # second at which speech ended last, on the clock of the stretch

    def run(self, blocks: Iterable[Clip]) -> Iterator[Utterance]:
        """Transcribe one contiguous stretch."""
        sound = MelWindow(blocks, self._engine.n_mels, self._engine.window)
        at, self._before = 0, 0.0
        advances = deque[int](maxlen=STALLED)
        least = STALLED * self._engine.window * 100 / SLOW
        while size := sound.remaining_frames(at):
            ended = sound.is_last_window(at)
            whole = len(advances) == STALLED and sum(advances) < least
            found, advance = self._window(sound.mel(at), at, size, ended, sound.start, whole)
            if whole or advance < 1:
                log.warning("at %.2f s it hardly goes on: the window is taken as it is", sound.start + at / 100)
                self._trace.stalled += 1
                advances.clear()
                advance = size
            advances.append(min(advance, size))
            at += advances[-1]
            self._trace.heard = sound.start + at / 100
            yield from found
        sound.release()

    def _window(
        self, mel: np.ndarray, at: int, size: int, ended: bool, origin: float, whole: bool
    ) -> tuple[list[Utterance], int]:
        """The utterances of the window of `size` frames from frame `at` on, and the frames that are done with it.

        whole  what is unfinished in it is not left to the next window
        """
        states = self._engine.encode(mel[None])
        result, start = self._decode(states)
        if result.silent:
            return [], size
        parts = split_at_timestamps(result.tokens, self._engine.vocabulary, at, size, last=whole)
        pieces, advance = decode_segments(parts.pieces, self._engine.vocabulary), parts.advance
        if self._options.word_timestamps:
            self._time(pieces, states, start, at, size)
            pieces, advance = self._drop_hallucinated(pieces, parts, at, size, ended)
            self._before = next((piece.stop for piece in reversed(pieces) if piece.words), self._before)
        return self._keep(pieces, result, origin), advance

    def _decode(self, states: np.ndarray) -> tuple[WindowResult, list[int]]:
        """What was decoded, and the tokens that the transcript begins with."""
        asked = self._languages.needs_detection
        if asked:
            self._languages.add_probabilities(self._engine.detect_language(states)[0])
        start = start_of(self._engine, self._languages.code, self._options.task)
        [result] = decode_windows(self._engine, states, [self._context.prompt(start)], self._options, self._trace)
        if result.silent:
            self._trace.silent += 1
            if asked:
                self._languages.revert()
        self._trace.language, self._trace.language_prob = self._languages.code, self._languages.prob
        return result, start

    def _time(self, pieces: list[SpokenSegment], states: np.ndarray, start: list[int], at: int, size: int) -> None:
        tokens = select_text_tokens(pieces, self._engine.vocabulary)
        if tokens:
            [path] = self._engine.align(states, start, [tokens], [max(1, size // 2)])
            add_words(pieces, path, self._engine.vocabulary, self._languages.code, at / 100, self._before)

    def _drop_hallucinated(
        self, pieces: list[SpokenSegment], parts: WindowSegments, at: int, size: int, ended: bool
    ) -> tuple[list[SpokenSegment], int]:
        """Go on after the last word, if the window broke off; and leave out what nobody said."""
        advance, silence = parts.advance, self._options.hallucination_silence_threshold
        last = next((piece.words[-1].stop for piece in reversed(pieces) if piece.words), None)
        if last is not None and not parts.ending and last > at / 100:
            advance = round(last * 100) - at
        if silence is None:
            return pieces, advance
        start, stop = at / 100, (at + size) / 100
        if last is not None and not parts.ending and stop - last <= silence:
            advance = size
        kept = drop_hallucinated(pieces, silence, start, stop, self._before)
        if kept.resume_at is not None:
            over = ended and kept.pieces != pieces and stop - kept.resume_at < silence
            advance = size if over else round(kept.resume_at * 100) - at
        return kept.pieces, advance

    def _keep(self, pieces: list[SpokenSegment], result: WindowResult, origin: float) -> list[Utterance]:
        """What does not repeat itself, as utterances; the next window is told of it."""
        found = []
        spaced = self._languages.code not in UNSPACED
        for one in build_utterances(pieces, result, self._languages, origin):
            if self._repeats.is_repetitive(one.text, spaced):
                log.warning("%.2f to %.2f s: dropped, it repeats itself: %.60r", one.start, one.stop, one.text)
                self._trace.repeated += 1
                self._context.clear()
            else:
                found.append(one)
                self._context.add(one.tokens, result.temperature)
        return found
