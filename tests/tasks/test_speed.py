"""`percepts models --bench`: what takes long is measured once, not eight times over."""

import time

import pytest

from percepts.tasks import speed


def sized(seconds: float, seen: list[int]):
    def call(count: int) -> None:
        seen.append(count)
        time.sleep(seconds * count)

    return call


def test_a_window_that_takes_long_is_measured_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "SECONDS", 0.02)
    seen: list[int] = []
    assert 1 / speed._rate(sized(0.05, seen)) >= 0.05
    assert seen == [1, 1]


def test_what_is_quick_is_measured_by_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "SECONDS", 0.02)
    seen: list[int] = []
    assert speed._rate(sized(0.0005, seen)) <= 2000
    assert seen[:2] == [1, 1] and set(seen[2:]) == {speed.BATCH} and len(seen) > 3
