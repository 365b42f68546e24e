"""The search against an exhaustive one, on a language model that is a table."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from percepts.speech.engines import DecodingOptions
from percepts.speech.whisper.search import decode

V, EOT = 5, 4


class Table:
    """A model whose next token depends on the two before it, and on which window it is."""

    def __init__(self, seed: int) -> None:
        self.logits = np.random.default_rng(seed).normal(0, 2, (3, V + 1, V + 1, V)).astype(np.float32)
        self.rows: list[tuple[int, int, int]] = []

    def begin(self, prompts: np.ndarray, width: int) -> np.ndarray:
        self.rows = [(int(prompt[0]), V, V) for prompt in prompts for _ in range(width)]
        return self._say()[::width]

    def step(self, rows: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        self.rows = [(*(self.rows[r][0], self.rows[r][2]), int(t)) for r, t in zip(rows, tokens, strict=True)]
        return self._say()

    def _say(self) -> np.ndarray:
        return np.stack([self.logits[row] for row in self.rows])

    def score(self, window: int, tokens: tuple[int, ...]) -> float:
        total, before, last = 0.0, V, V
        for token in tokens:
            row = self.logits[window, before, last].astype(np.float64)
            total += row[token] - np.log(np.exp(row).sum())
            before, last = last, token
        return total


def run(search: DecodingOptions, seed: int, most: int = 4) -> list[tuple[list[int], float]]:
    prompts = np.array([[0], [1], [2]])
    return decode(Table(seed), prompts, lambda logits, rows: None, search, EOT, most)


@pytest.mark.parametrize("seed", range(3))
def test_a_beam_that_holds_everything_finds_the_best(seed: int) -> None:
    found = run(DecodingOptions(beam=V**4, patience=2.0), seed)
    every = [(*t, EOT) for n in range(4) for t in product(range(EOT), repeat=n)] + [*product(range(EOT), repeat=4)]
    for window, (tokens, total) in enumerate(found):
        scores = {t: Table(seed).score(window, t) / max(1, len(t) - (t[-1] == EOT)) for t in every}
        best = max(scores, key=scores.__getitem__)
        assert [token for token in best if token != EOT] == tokens
        assert total == pytest.approx(Table(seed).score(window, best), abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_greedy_takes_the_likeliest_each_time(seed: int) -> None:
    for window, (tokens, total) in enumerate(run(DecodingOptions(beam=1), seed, most=9)):
        table, before, last, expected = Table(seed), V, V, []
        while len(expected) < 9 and (token := int(table.logits[window, before, last].argmax())) != EOT:
            before, last = last, token
            expected.append(token)
        assert tokens == expected
        assert total == pytest.approx(table.score(window, (*tokens, *([EOT] if len(tokens) < 9 else []))), abs=1e-4)


def test_draws_follow_the_probabilities() -> None:
    table = Table(0)
    row = table.logits[0, V, V] / 0.5
    probs = np.exp(row) / np.exp(row).sum()
    firsts = [run(DecodingOptions(temperature=0.5, best_of=1, seed=seed), 0, most=1)[0][0] for seed in range(1000)]
    counts = np.bincount([tokens[0] if tokens else EOT for tokens in firsts], minlength=V) / 1000
    assert np.allclose(counts, probs, atol=0.065)  # 1000 draws: four deviations


def test_the_best_of_several_draws_is_taken() -> None:
    one = [total / max(1, len(tokens)) for tokens, total in run(DecodingOptions(temperature=1.0, best_of=1), 1)]
    many = [total / max(1, len(tokens)) for tokens, total in run(DecodingOptions(temperature=1.0, best_of=50), 1)]
    assert sum(many) > sum(one)
