"""Encoders that do what models, codecs and machines do to a job, set off by the content of a file."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import numpy as np

from percepts.encoders.fake import FakeAudio, FakeImage
from percepts.types import Clip, Frames, Inputs, Spec

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

    def encode(self, inputs: Inputs) -> Frames:
        frames = super().encode(inputs)
        data = frames.data.copy()
        data[inputs["colours"][:, 4] > 0.99] = np.nan
        return Frames(data, frames.mask, frames.step)


class Flaky(FakeImage):
    """A red picture fails while the file that PERCEPTS_TEST_FLAG names exists."""

    def check(self, item: np.ndarray) -> None:
        if item[4] > 0.99 and os.path.exists(os.environ["PERCEPTS_TEST_FLAG"]):
            raise ConnectionError("not now")


class Small(FakeImage):
    """Runs out of memory above three rows."""

    def encode(self, inputs: Inputs) -> Frames:
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


class Slow(FakeImage):
    """Five milliseconds a picture, so that a kill meets a run."""

    def check(self, item: np.ndarray) -> None:
        time.sleep(0.005)


def spec(name: str) -> Spec:
    """The row of one of these classes, for `percepts.encoders.register`."""
    kind = "audio" if name == "DyingLate" else "image"
    rate, window, size = (8000.0, 1.0, 0) if kind == "audio" else (0.0, 0.0, 16)
    return Spec(f"test-{name.lower()}", f"faulty:{name}", kind, rate, window, 8, "mean", (), "Apache-2.0", size=size)
