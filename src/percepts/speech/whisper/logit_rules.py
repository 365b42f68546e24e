"""Apply Whisper's rules about suppressed tokens and timestamps to the logits of the next token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..engines import WhisperVocabulary

FIRST = 50
"""Timestamp steps of 0.02 s: the first timestamp of a window is at most one second."""


class LogitFilter:
    """Whisper's rules about the next token (Radford et al. 2022, section 4.5, and openai/whisper's decoding.py).

    A token that may not come gets -inf. Rows are lists of the tokens so far, without the prompt:

    - never a suppressed token nor one that only prompts have, and at first neither a space nor the end
    - with timestamps: the first token is a timestamp of at most one second; timestamps come in pairs, but for the last
      one before the end; they never decrease, and two that differ have text between them
    - if all timestamps together are likelier than the likeliest word, the next token is a timestamp
    """

    def __init__(self, vocabulary: WhisperVocabulary, *, timestamps: bool) -> None:
        self._tokens, self._times = vocabulary, timestamps
        never = {*vocabulary.suppressed, *range(vocabulary.eot + 1, vocabulary.timestamps)}
        self._never = np.array(sorted(token for token in never if token < vocabulary.size), int)
        first = (token for token in vocabulary.suppressed_first if token < vocabulary.size)
        self._first = np.array(sorted(first), int)

    def __call__(self, logits: np.ndarray, rows: Sequence[Sequence[int]]) -> None:
        """Apply the rules to (R, V) float32 logits in place."""
        logits[:, self._never] = -np.inf
        begin = self._tokens.timestamps
        for row, tokens in zip(logits, rows, strict=True):
            if not tokens:
                row[self._first] = -np.inf
            if self._times:
                self._restrict_timestamps(row, tokens)
                self._prefer_timestamps(row, begin)

    def _restrict_timestamps(self, row: np.ndarray, tokens: Sequence[int]) -> None:
        """Rule out timestamps and text that may not follow the tokens so far."""
        begin, eot = self._tokens.timestamps, self._tokens.eot
        if not tokens:
            row[:begin] = -np.inf
            row[begin + FIRST + 1 :] = -np.inf
            return
        closing = False
        if tokens[-1] >= begin:
            if len(tokens) < 2 or tokens[-2] >= begin:
                row[begin:] = -np.inf  # a segment has begun: text follows
            else:
                row[:eot] = -np.inf  # a segment has ended: the next one begins, or the transcript ends
                closing = True
        last = next((token for token in reversed(tokens) if token >= begin), None)
        if last is not None:
            # The next segment may begin where this one ends, but a segment must have a length.
            row[begin : last + (not closing)] = -np.inf

    def _prefer_timestamps(self, row: np.ndarray, begin: int) -> None:
        """Rule out text where timestamps are likelier in sum."""
        if log_sum(row[begin:]) > row[:begin].max():
            row[:begin] = -np.inf


def log_sum(values: np.ndarray) -> float:
    """Return the logarithm of the sum of the exponentials of (N,) values; -inf where all are -inf."""
    most = values.max()
    if most == -np.inf:
        return -np.inf
    return float(most + np.log(np.exp(values - most).sum()))
