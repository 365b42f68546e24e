"""Windows in, what was decoded of each out, at the first temperature whose result passes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..engines import DecodedWindow, DecodingOptions, WhisperEngine, WhisperVocabulary
from ..options import TranscribeOptions
from ..results import TranscribeProgress


@dataclass(frozen=True, slots=True)
class WindowResult:
    """What was decoded of a window, at which temperature, and how often its text repeats itself."""

    decoded: DecodedWindow
    temperature: float
    compression_ratio: float
    silent: bool

    @property
    def tokens(self) -> tuple[int, ...]:
        """Of text and times."""
        return self.decoded.tokens


def decode_windows(
    engine: WhisperEngine,
    states: np.ndarray,
    prompts: Sequence[Sequence[int]],
    options: TranscribeOptions,
    trace: TranscribeProgress,
) -> list[WindowResult]:
    """Decode a batch; those that fail a threshold are decoded again, by themselves, at the next temperature.

    Where all temperatures fail, the likeliest result is taken, of those that do not repeat themselves if there are any.
    """
    tried: list[list[WindowResult]] = [[] for _ in prompts]
    going = list(range(len(prompts)))
    for temperature in options.temperatures:
        search = DecodingOptions(
            temperature, options.beam, options.best_of, options.patience, options.length_penalty, options.max_tokens,
            seed=options.seed,
        )  # fmt: skip
        found = engine.decode(states[going], [prompts[i] for i in going], search)
        for i, decoded in zip(going, found, strict=True):
            tried[i].append(_grade_result(decoded, temperature, engine.vocabulary, options))
        going = [i for i in going if not _passes(tried[i][-1], options)]
        if not going:
            break
        trace.retries += len(going) * (temperature != options.temperatures[-1])
    return [some[-1] if _passes(some[-1], options) else _choose_least_bad(some, options) for some in tried]


def compression_ratio(text: str) -> float:
    """Bytes of a text to bytes of it compressed by zlib; 0 for none.

    >>> compression_ratio("no, " * 50) > 2.4 > compression_ratio("ask what you can do for your country")
    True
    """
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


def join_text(vocabulary: WhisperVocabulary, tokens: Sequence[int]) -> str:
    """The text of tokens, times left out; the space before it is kept."""
    return vocabulary.text.decode([token for token in tokens if token < vocabulary.eot])


def _grade_result(
    decoded: DecodedWindow, temperature: float, vocabulary: WhisperVocabulary, options: TranscribeOptions
) -> WindowResult:
    likely, quiet = options.logprob_threshold, options.no_speech_threshold
    silent = quiet is not None and decoded.no_speech_prob > quiet
    if likely is not None and decoded.avg_logprob > likely:
        silent = False  # sure of its words, whatever it thinks of the sound
    ratio = compression_ratio(join_text(vocabulary, decoded.tokens).strip())
    return WindowResult(decoded, temperature, ratio, silent)


def _passes(result: WindowResult, options: TranscribeOptions) -> bool:
    if result.silent:
        return True
    likely = options.logprob_threshold
    unlikely = likely is not None and result.decoded.avg_logprob < likely
    return not unlikely and not _is_too_repetitive(result, options)


def _is_too_repetitive(result: WindowResult, options: TranscribeOptions) -> bool:
    most = options.compression_ratio_threshold
    return most is not None and result.compression_ratio > most


def _choose_least_bad(tried: Sequence[WindowResult], options: TranscribeOptions) -> WindowResult:
    fresh = [result for result in tried if not _is_too_repetitive(result, options)]
    return max(fresh or tried, key=lambda result: result.decoded.avg_logprob)
