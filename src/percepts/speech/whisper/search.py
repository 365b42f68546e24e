"""Choose the tokens of windows step by step: greedy search, beam search or sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from ..engines import DecodingOptions
from .logit_rules import log_sum


class Stepper(Protocol):
    """A decoder over a batch of windows; each has the same number of rows, which share its audio and its prompt."""

    def begin(self, prompts: np.ndarray, width: int) -> np.ndarray:
        """Run (B, P) prompts, each of which `width` rows will continue; return the (B, V) logits after them."""

    def step(self, rows: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Continue these rows of the last step with these (R,) tokens; return the (R, V) logits after them.

        Rows of one window stay together and keep their number; windows may be left out for good.
        """


Rules = Callable[[np.ndarray, Sequence[Sequence[int]]], None]
Row = list[int]
Scored = tuple[Row, float]


class _WindowHypotheses:
    """The rows of one window, each its tokens and the sum of their log probabilities; and the complete ones."""

    def __init__(self, width: int) -> None:
        self.rows: list[Row] = [[] for _ in range(width)]
        self.sums = [0.0] * width
        self.ended = [False] * width
        self.complete: list[Scored] = []

    def best(self, enough: int, penalty: float | None) -> Scored:
        """Return the best complete hypothesis; where too few are complete, unfinished ones compete as well."""
        broken = [(row, total) for row, total, ended in zip(self.rows, self.sums, self.ended, strict=True) if not ended]
        broken.sort(key=lambda pair: -pair[1])
        candidates = self.complete + broken[: max(0, enough - len(self.complete))]
        return max(candidates, key=lambda pair: pair[1] / _length_penalty(len(pair[0]), penalty))


Choice = Callable[[_WindowHypotheses, np.ndarray], list[tuple[int, int]]]
"""Choose (row, token) for the next rows of a window from the (width, V) logits of its rows, and append the tokens.

The list is empty when the window is done.
"""


def decode(
    stepper: Stepper, prompts: np.ndarray, rules: Rules, search: DecodingOptions, eot: int, most: int
) -> list[Scored]:
    """Return tokens and the sum of their log probabilities for each of (B, P) prompts, at most `most` tokens long."""
    width, enough, choose = _choose_strategy(search, eot)
    windows = [_WindowHypotheses(width) for _ in prompts]
    going = list(range(len(windows)))
    logits = np.repeat(stepper.begin(prompts, width), width, axis=0)
    for count in range(1, most + 1):
        rules(logits, [row for i in going for row in windows[i].rows])
        picks = [choose(windows[i], logits[at * width : (at + 1) * width]) for at, i in enumerate(going)]
        going = [i for i, pairs in zip(going, picks, strict=True) if pairs]
        if not going or count == most:
            break
        # Rows are counted as of the last step, so finished windows still count here and drop out in the step.
        rows = [(at * width + row, token) for at, pairs in enumerate(picks) for row, token in pairs]
        logits = stepper.step(*np.array(rows).T)
    return [window.best(enough, search.length_penalty) for window in windows]


def _choose_strategy(search: DecodingOptions, eot: int) -> tuple[int, int, Choice]:
    """Return the rows of a window, how many of them must be complete, and the choice of the next tokens."""
    if search.temperature > 0:
        return search.best_of, search.best_of, _Sample(search, eot)
    if search.beam > 1:
        enough = max(1, round(search.beam * search.patience))
        return search.beam, enough, _Beam(search.beam, enough, eot)
    return 1, 1, _Greedy(eot)


class _Greedy:
    """The likeliest token."""

    def __init__(self, eot: int) -> None:
        self._eot = eot

    def __call__(self, window: _WindowHypotheses, logits: np.ndarray) -> list[tuple[int, int]]:
        return _extend_rows(window, logits, [int(logits[0].argmax())], self._eot)


class _Sample:
    """A random token, by the Gumbel-max trick. All windows get the same noise, so none depends on the others."""

    def __init__(self, search: DecodingOptions, eot: int) -> None:
        self._seed, self._temperature, self._eot = search.seed, search.temperature, eot
        self._noise: dict[int, np.ndarray] = {}

    def __call__(self, window: _WindowHypotheses, logits: np.ndarray) -> list[tuple[int, int]]:
        count = max(len(row) for row in window.rows)
        if count not in self._noise:
            # The noise depends on seed and position alone, so a run can be repeated.
            random = np.random.default_rng((self._seed, count))
            # Only the newest is kept: all windows are at the same position.
            self._noise = {count: random.gumbel(size=logits.shape).astype(np.float32)}
        tokens = (logits / np.float32(self._temperature) + self._noise[count]).argmax(axis=1)
        return _extend_rows(window, logits, tokens.tolist(), self._eot)


def _extend_rows(
    window: _WindowHypotheses, logits: np.ndarray, tokens: Sequence[int], eot: int
) -> list[tuple[int, int]]:
    """Append a token to each row. A row that has ended is fed the end again, which no longer counts."""
    for i, token in enumerate(tokens):
        if window.ended[i]:
            continue
        window.sums[i] += float(logits[i, token]) - log_sum(logits[i])
        if token == eot:
            window.ended[i] = True
            window.complete.append((window.rows[i], window.sums[i]))
        else:
            window.rows[i].append(token)
    if all(window.ended):
        return []
    return [(i, eot if ended else window.rows[i][-1]) for i, ended in enumerate(window.ended)]


class _Beam:
    """The `beam` likeliest beginnings; ends when `enough` = beam * patience are complete (Kasai et al. 2022)."""

    def __init__(self, beam: int, enough: int, eot: int) -> None:
        self._beam, self._enough, self._eot = beam, enough, eot

    def __call__(self, window: _WindowHypotheses, logits: np.ndarray) -> list[tuple[int, int]]:
        """Choose the continuations of all rows that are likeliest; those that end become complete hypotheses."""
        rows, sums = [], []
        for total, i, token in self._rank_options(window, logits):
            if token != self._eot:
                rows.append((i, token))
                sums.append(total)
            elif len(window.complete) < self._enough:
                window.complete.append((window.rows[i], total))
            if len(rows) == self._beam:
                break
        if len(window.complete) >= self._enough or not rows:
            return []
        while len(rows) < self._beam:  # fewer continuations than rows: repeat one that can no longer win
            rows.append(rows[-1])
            sums.append(-np.inf)
        window.rows, window.sums = [[*window.rows[i], token] for i, token in rows], sums
        return rows

    def _rank_options(self, window: _WindowHypotheses, logits: np.ndarray) -> list[tuple[float, int, int]]:
        """Return (sum, row, token) of possible tokens, the likeliest first. All that are chosen may be of one row."""
        count = 1 if not window.rows[0] else self._beam  # at first all rows are the same
        most = min(self._beam + 1, logits.shape[1])  # one of them may be the end
        # Only the few best are needed: sorting the vocabulary for every token would be slow.
        best = np.argpartition(logits[:count], -most, axis=1)[:, -most:]
        options = []
        for i in range(count):
            norm = log_sum(logits[i])
            options += [(window.sums[i] + float(logits[i, token]) - norm, i, int(token)) for token in best[i]]
        # -inf stands for tokens that the rules exclude.
        return sorted((option for option in options if option[0] > -np.inf), key=lambda option: -option[0])


def _length_penalty(count: int, penalty: float | None) -> float:
    """Return the divisor of a score: the length, or the length penalty of Wu et al. 2016, equation 14."""
    return float(max(count, 1)) if penalty is None else float(((5 + count) / 6) ** penalty)
