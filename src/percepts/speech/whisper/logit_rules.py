"""What may be said next: Whisper's rules about silence, suppressed tokens and pairs of times, on logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..engines import WhisperVocabulary

FIRST = 50
"""Ticks: the first time of a window is one second at most."""


class LogitFilter:
    """The rules for one window after another, in their order (Radford et al. 2022, section 4.5, and its decoding.py).

    A token that may not come has -inf. Rows are lists of the tokens said so far, the prompt left out:

    - never a suppressed token nor one that only prompts have, and at first neither a space nor the end
    - with times: the first token is a time of a second at most; times come in pairs, but for the last before the end;
      they do not run backwards, and text lies between two that differ
    - if all times together are likelier than the likeliest word, it is a time
    """

    def __init__(self, vocabulary: WhisperVocabulary, *, timestamps: bool) -> None:
        self._tokens, self._times = vocabulary, timestamps
        never = {*vocabulary.suppressed, *range(vocabulary.eot + 1, vocabulary.timestamps)}
        self._never = np.array(sorted(token for token in never if token < vocabulary.size), int)
        first = (token for token in vocabulary.suppressed_first if token < vocabulary.size)
        self._first = np.array(sorted(first), int)

    def __call__(self, logits: np.ndarray, rows: Sequence[Sequence[int]]) -> None:
        """(R, V) float32, changed in place."""
        logits[:, self._never] = -np.inf
        begin = self._tokens.timestamps
        for row, said in zip(logits, rows, strict=True):
            if not said:
                row[self._first] = -np.inf
            if self._times:
                self._time(row, said)
                self._weigh(row, begin)

    def _time(self, row: np.ndarray, said: Sequence[int]) -> None:
        begin, eot = self._tokens.timestamps, self._tokens.eot
        if not said:
            row[:begin] = -np.inf
            row[begin + FIRST + 1 :] = -np.inf
            return
        closing = False
        if said[-1] >= begin:
            if len(said) < 2 or said[-2] >= begin:
                row[begin:] = -np.inf  # one has begun: text
            else:
                row[:eot] = -np.inf  # one has ended: the next begins, or the end
                closing = True
        last = next((token for token in reversed(said) if token >= begin), None)
        if last is not None:
            row[begin : last + (not closing)] = -np.inf

    def _weigh(self, row: np.ndarray, begin: int) -> None:
        if log_sum(row[begin:]) > row[:begin].max():
            row[:begin] = -np.inf


def log_sum(values: np.ndarray) -> float:
    """The logarithm of the sum of the exponentials of (N,); -inf where there is nothing but -inf."""
    most = values.max()
    if most == -np.inf:
        return -np.inf
    return float(most + np.log(np.exp(values - most).sum()))
