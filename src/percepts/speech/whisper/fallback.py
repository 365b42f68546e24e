"""Decode windows at rising temperatures until the result passes the thresholds (temperature fallback)."""

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
    """The result of decoding one window.

    decoded            tokens and their probabilities
    temperature        at which they were decoded
    compression_ratio  of the text; high where it repeats itself
    silent             the window holds no speech
    """

    decoded: DecodedWindow
    temperature: float
    compression_ratio: float
    silent: bool

    @property
    def tokens(self) -> tuple[int, ...]:
        """The tokens of text and timestamps."""
        return self.decoded.tokens


def decode_windows(
    engine: WhisperEngine,
    states: np.ndarray,
    prompts: Sequence[Sequence[int]],
    options: TranscribeOptions,
    trace: TranscribeProgress,
) -> list[WindowResult]:
    """Decode a batch, and those that fail a threshold again by themselves, at the next temperature.

    Where every temperature fails, the most likely result is taken, preferably one that does not repeat itself.
    """
    tried: list[list[WindowResult]] = [[] for _ in prompts]
    going = list(range(len(prompts)))
    for temperature in options.temperatures:
        search = DecodingOptions(
            temperature, options.beam, options.best_of, options.patience, options.length_penalty, options.max_tokens,
            seed=options.seed,
        )  # fmt: skip
        decoded_windows = engine.decode(states[going], [prompts[i] for i in going], search)
        for i, decoded in zip(going, decoded_windows, strict=True):
            tried[i].append(_grade_result(decoded, temperature, engine.vocabulary, options))
        going = [i for i in going if not _passes(tried[i][-1], options)]
        if not going:
            break
        # After the last temperature nothing is decoded again.
        trace.retries += len(going) * (temperature != options.temperatures[-1])
    # openai/whisper takes the last result, that of the highest temperature, however unlikely it is.
    return [results[-1] if _passes(results[-1], options) else _choose_least_bad(results, options) for results in tried]


def compression_ratio(text: str) -> float:
    """Return the bytes of a text divided by its bytes compressed with zlib; 0 for an empty text.

    >>> compression_ratio("no, " * 50) > 2.4 > compression_ratio("ask what you can do for your country")
    True
    """
    # The usual threshold, 2.4, is openai/whisper's, for zlib at its default level.
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


def join_text(vocabulary: WhisperVocabulary, tokens: Sequence[int]) -> str:
    """Return the text of tokens without the timestamps; a leading space is kept."""
    return vocabulary.text.decode([token for token in tokens if token < vocabulary.eot])


def _grade_result(
    decoded: DecodedWindow, temperature: float, vocabulary: WhisperVocabulary, options: TranscribeOptions
) -> WindowResult:
    """Add to the decoded tokens what the thresholds are compared with."""
    likely, quiet = options.logprob_threshold, options.no_speech_threshold
    silent = quiet is not None and decoded.no_speech_prob > quiet
    if likely is not None and decoded.avg_logprob > likely:
        silent = False  # likely words outweigh a high probability of silence, as in openai/whisper
    ratio = compression_ratio(join_text(vocabulary, decoded.tokens).strip())
    return WindowResult(decoded, temperature, ratio, silent)


def _passes(result: WindowResult, options: TranscribeOptions) -> bool:
    """Return whether a result is silence, or likely and without repetition."""
    if result.silent:
        return True
    likely = options.logprob_threshold
    unlikely = likely is not None and result.decoded.avg_logprob < likely
    return not unlikely and not _is_too_repetitive(result, options)


def _is_too_repetitive(result: WindowResult, options: TranscribeOptions) -> bool:
    """Return whether zlib compresses the text by more than the threshold."""
    most = options.compression_ratio_threshold
    return most is not None and result.compression_ratio > most


def _choose_least_bad(tried: Sequence[WindowResult], options: TranscribeOptions) -> WindowResult:
    """Choose the most likely result, of those without repetition if there are any."""
    fresh = [result for result in tried if not _is_too_repetitive(result, options)]
    return max(fresh or tried, key=lambda result: result.decoded.avg_logprob)
