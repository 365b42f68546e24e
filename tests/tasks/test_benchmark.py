"""`percepts models --bench`: what takes long is measured once, not eight times over."""

from collections.abc import Callable

import pytest

from percepts import encoders
from percepts.encoders import pooling
from percepts.tasks import benchmark


class Clock:
    """Stands still but for what is done by it: no pause of this machine counts."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sized(self, seconds: float, seen: list[int]) -> Callable[[int], None]:
        def call(count: int) -> None:
            seen.append(count)
            self.now += seconds * count

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(benchmark, "time", clock := Clock())
    return clock


def test_a_window_that_takes_long_is_measured_alone(clock: Clock) -> None:
    seen: list[int] = []
    assert benchmark._measure_rate(clock.sized(5.0, seen)) == 1 / 5.0
    assert seen == [1, 1]


def test_what_is_quick_is_measured_by_batches(clock: Clock) -> None:
    seen: list[int] = []
    assert benchmark._measure_rate(clock.sized(0.125, seen)) == 8.0
    assert seen == [1, 1] + [benchmark.BATCH_SIZE] * 3


def test_encoding_is_measured_by_the_vectors_that_jobs_store(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = encoders.model_spec("fake-image")

    def vectors(encoder, inputs):  # type: ignore[no-untyped-def]
        clock.now += 0.5
        return pooling.encode_vectors(encoder, inputs)

    monkeypatch.setattr(benchmark, "encode_vectors", vectors)
    monkeypatch.setattr(benchmark, "MIN_SECONDS", 1.0)

    def prepared(self: object, clips: list[object]) -> object:
        clock.now += 1.0
        return prepare(self, clips)

    prepare = type(encoders.load_encoder(spec)).prepare
    monkeypatch.setattr(type(encoders.load_encoder(spec)), "prepare", prepared)
    assert benchmark.measure_speed(spec) == {"prepare_per_second": 1.0, "encode_per_second": 16.0, "runtime": "numpy"}
