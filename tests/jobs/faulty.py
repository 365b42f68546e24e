"""Encoders that do what models, codecs and machines do to a job, set off by the content of a file."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence

import numpy as np

from percepts.encoders.builtin.fake import FakeAudio, FakeImage
from percepts.errors import WeightsError
from percepts.jobs.workers import watchdog, worker
from percepts.types import Clip, Features, Inputs, Spec

NAMES = (
    "Raising", "NotFinite", "Flaky", "Small", "Aborting", "Hanging", "DyingLate", "Slow", "Stuck", "Deaf", "Greedy",
    "Busy", "Impatient", "Absent", "Talking", "Spinning", "Unusable",
)  # fmt: skip
RED = np.array([255, 0, 0], np.uint8)


def is_red(clip: Clip) -> bool:
    """The poison of these tests: a picture whose first pixel is pure red."""
    return bool((clip.data[0, 0, 0] == RED).all())


class Raising(FakeImage):
    """Encoding fails for the whole batch that holds a red picture."""

    def check(self, item: np.ndarray) -> None:
        if item[4] > 0.99:
            raise RuntimeError("red is not supported")


class NotFinite(FakeImage):
    """The vector of a red picture is NaN."""

    def encode(self, inputs: Inputs) -> Features:
        frames = super().encode(inputs)
        data = frames.data.copy()
        data[inputs["colours"][:, 4] > 0.99] = np.nan
        return Features(data, frames.mask, frames.step)


class Flaky(FakeImage):
    """A red picture fails while the file that PERCEPTS_TEST_FLAG names exists."""

    def check(self, item: np.ndarray) -> None:
        if item[4] > 0.99 and os.path.exists(os.environ["PERCEPTS_TEST_FLAG"]):
            raise ConnectionError("not now")


class Small(FakeImage):
    """Runs out of memory above three rows."""

    def encode(self, inputs: Inputs) -> Features:
        if len(inputs["colours"]) > 3:
            raise MemoryError("out of memory")
        return super().encode(inputs)


class Aborting(FakeImage):
    """The process that decodes a red picture ends as a codec's assertion would end it."""

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        if any(map(is_red, clips)):
            os._exit(134)
        return super().prepare(clips)


class Hanging(FakeImage):
    """Decoding a red picture never ends."""

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        while any(map(is_red, clips)):
            time.sleep(0.05)
        return super().prepare(clips)


class DyingLate(FakeAudio):
    """Takes the worker down, once, in the middle of a recording: after the flag file exists no more."""

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        flag = os.environ["PERCEPTS_TEST_FLAG"]
        if clips[0].start > 20 and os.path.exists(flag):
            os.remove(flag)
            os._exit(139)
        return super().prepare(clips)


class Stuck(FakeImage):
    """Encoding a red picture waits for ever."""

    def check(self, item: np.ndarray) -> None:
        if item[4] > 0.99:
            time.sleep(3600)


class Impatient(Stuck):
    """The same in a process that no test can reach into: it has a second for a batch."""

    def check(self, item: np.ndarray) -> None:
        watchdog.PATIENCE = 1.0
        super().check(item)


class Absent(FakeImage):
    """Its weights are not to be had."""

    def encode(self, inputs: Inputs) -> Features:
        raise WeightsError("absent.safetensors is not to be had: percepts models --fetch test-absent")


class Unusable(FakeImage):
    """It loads, and fails on every image while the file that PERCEPTS_TEST_FLAG names exists."""

    def check(self, item: np.ndarray) -> None:
        if os.path.exists(os.environ["PERCEPTS_TEST_FLAG"]):
            raise RuntimeError("no kernel image is available")


class Deaf(FakeImage):
    """Encoding a red picture never comes back and hears no signal, as a kernel that hangs."""

    def check(self, item: np.ndarray) -> None:
        if item[4] > 0.99:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
            time.sleep(3600)


class Greedy(FakeImage):
    """Decoding a red picture asks for more and more memory."""

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        held = []
        while any(map(is_red, clips)):
            held.append(np.empty(64 << 20, np.uint8))  # asked for, never touched
        return super().prepare(clips)


class Busy(FakeImage):
    """Decoding a red picture computes for ever, and one second is all that a worker has."""

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        worker.CPU_SECONDS = 1
        if any(map(is_red, clips)):
            worker.limit_time()
        while any(map(is_red, clips)):
            pass
        return super().prepare(clips)


class Spinning(FakeImage):
    """Decoding a red picture computes for ever."""

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        while any(map(is_red, clips)):
            pass
        return super().prepare(clips)


class Talking(FakeImage):
    """Prints while it prepares, past Python, as C libraries do."""

    def prepare(self, clips: Sequence[Clip]) -> Inputs:
        os.write(1, b"hello\n")
        return super().prepare(clips)


class Slow(FakeImage):
    """Five milliseconds a picture, so that a kill meets a run."""

    def check(self, item: np.ndarray) -> None:
        time.sleep(0.005)


def spec(name: str) -> Spec:
    """The row of one of these classes, for `percepts.encoders.register`."""
    kind = "audio" if name == "DyingLate" else "image"
    rate, window, size = (8000.0, 1.0, 0) if kind == "audio" else (0.0, 0.0, 16)
    return Spec(
        name=f"test-{name.lower()}",
        target=f"faulty:{name}",
        kind=kind,
        rate=rate,
        window=window,
        dim=8,
        pool="mean",
        license="Apache-2.0",
        size=size,
    )
