"""The choice of `auto`, with runners that take the time they are told on a clock that is ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from percepts.runtimes import autotune
from percepts.runtimes.autotune import choose_fastest
from percepts.runtimes.network import Network, Runner
from percepts.types import Inputs

BATCH = {"x": np.zeros((8, 2))}


class Clock:
    """Seconds that pass only when a runner runs; `busy` of them go by, each time, before it gets a core."""

    busy = 0.0

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.waited = 0.0  # for cores, beside that
        clocks = SimpleNamespace(perf_counter=lambda: self.now + self.waited, process_time=lambda: self.now)
        monkeypatch.setattr(autotune, "time", clocks)

    def maker(self, seconds: dict[str, float], made: list[str]) -> Callable[[str], Runner]:
        def make(name: str) -> Runner:
            made.append(name)

            def run(inputs: Inputs) -> tuple[np.ndarray, ...]:
                self.now += seconds[name]
                self.waited += self.busy
                return (np.zeros(len(inputs["x"])),)

            return run

        return make


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def network() -> Network:
    return Network("tiny", "key", None, {"x": np.zeros((1, 2))}, ("y",))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({"a": 1.0, "b": 2.0, "c": 3.0}, "a"),
        ({"a": 3.0, "b": 2.0, "c": 1.0}, "c"),
        ({"a": 1.0, "b": 0.9, "c": 1.0}, "a"),  # a win within the noise is none
        ({"a": 3.0, "b": 1.0, "c": 0.9}, "b"),
    ],
)
def test_the_fastest_by_a_margin_is_chosen(
    seconds: dict[str, float], best: str, clock: Clock, network: Network, tmp_path: Path
) -> None:
    made: list[str] = []
    name, runner = choose_fastest(network, list(seconds), clock.maker(seconds, made), tmp_path / "choice.json", BATCH)
    assert name == best
    assert runner is not None
    assert made == list(seconds)


def test_the_hopeless_are_measured_once(clock: Clock, network: Network, tmp_path: Path) -> None:
    choose_fastest(network, ["a", "b"], clock.maker({"a": 1.0, "b": 100.0}, []), tmp_path / "choice.json", BATCH)
    assert clock.now == (1 + 100) * 2 + 1 * 2  # warm, measured; then one of them twice more


def test_the_choice_holds_though_the_clock_would_say_otherwise(clock: Clock, network: Network, tmp_path: Path) -> None:
    made: list[str] = []
    first, _ = choose_fastest(
        network, ["a", "b"], clock.maker({"a": 1.0, "b": 5.0}, made), tmp_path / "choice.json", BATCH
    )
    made.clear()
    second, runner = choose_fastest(
        network, ["a", "b"], clock.maker({"a": 5.0, "b": 1.0}, made), tmp_path / "choice.json", BATCH
    )
    assert first == second == "a"
    assert runner is None
    assert not made


def test_a_choice_that_is_gone_or_damaged_is_made_again(clock: Clock, network: Network, tmp_path: Path) -> None:
    choice, made = tmp_path / "choice.json", list[str]()
    make = clock.maker({"a": 1.0, "b": 5.0}, made)
    for written in ('{"runtime": "uninstalled"}', '{"runti', "[]", ""):
        choice.write_text(written)
        assert choose_fastest(network, ["a", "b"], make, choice, BATCH)[0] == "a"
        assert json.loads(choice.read_text())["runtime"] == "a"


def test_a_choice_made_on_another_processor_is_made_again(
    clock: Clock, network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = tmp_path / "choice.json"
    choose_fastest(network, ["a", "b"], clock.maker({"a": 1.0, "b": 5.0}, []), choice, BATCH)
    monkeypatch.setattr(autotune, "processor_id", lambda: "another")
    assert choose_fastest(network, ["a", "b"], clock.maker({"a": 5.0, "b": 1.0}, []), choice, BATCH)[0] == "b"


def test_what_was_measured_is_written_down(clock: Clock, network: Network, tmp_path: Path) -> None:
    choose_fastest(network, ["a", "b"], clock.maker({"a": 0.8, "b": 4.0}, []), tmp_path / "choice.json", BATCH)
    kept = json.loads((tmp_path / "choice.json").read_text())
    assert kept["milliseconds"] == {"a": 100.0, "b": 500.0}  # eight items a run
    assert set(kept["versions"]) == {"torch", "onnxruntime", "numpy"}


def test_what_is_quick_in_torch_is_not_exported(clock: Clock, network: Network, tmp_path: Path) -> None:
    made: list[str] = []
    make = clock.maker({"torch": 0.07, "onnx": 0.001}, made)  # eight items: 9 ms each
    assert choose_fastest(network, ["torch", "onnx"], make, tmp_path / "quick.json", BATCH)[0] == "torch"
    assert made == ["torch"]
    clock.busy = 5.0
    assert choose_fastest(network, ["torch", "onnx"], make, tmp_path / "busy.json", BATCH)[0] == "torch"
    assert made == ["torch"] * 2
    make = clock.maker({"torch": 0.7, "onnx": 0.2}, made)
    assert choose_fastest(network, ["torch", "onnx"], make, tmp_path / "slow.json", BATCH)[0] == "onnx"


def test_a_candidate_that_cannot_be_made_is_left_out(
    clock: Clock, network: Network, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make = clock.maker({"torch": 1.0, "onnx": 0.1}, [])

    def fails(name: str) -> Runner:
        if name == "onnx":
            raise RuntimeError("no operator for this\nand a long story")
        return make(name)

    assert choose_fastest(network, ["torch", "onnx"], fails, tmp_path / "choice.json", BATCH)[0] == "torch"
    assert "onnx is left out: RuntimeError: no operator for this" in caplog.text
