"""Tasks that give text, in both kinds, with no model: what they say is a simple function of the content."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faulty import is_red

from percepts.encoders.builtin.fake import COLOURS, FakeImage
from percepts.errors import TruncatedMedia
from percepts.media import Probe, Source, mix_to_mono, open_image, stream_audio
from percepts.runtimes.row_pool import RowPool, usable_cores
from percepts.tasks.base import BatchedTask, PerSourceTask, PreparedBatch, RecordFields
from percepts.types import Inputs, Record, Segment, Spec

COLOUR = Spec(name="toy-colour", target="none:None", kind="image", license="Apache-2.0")
TURNS = Spec(name="toy-turns", target="none:None", kind="audio", rate=8000.0, window=1.0, license="Apache-2.0")


@dataclass(frozen=True)
class Colours(BatchedTask):
    """Pictures to the names of their colours, best first, and a sentence; red ones do what `red` says.

    red   "fine", "raise", "nan" (a score that is none), "exit" (takes the worker down), "slow"
    """

    red: str = "fine"
    count: int = 2
    name = "colours"
    specs = (COLOUR,)

    def settings(self) -> dict[str, Any]:
        return {"count": self.count, "models": {COLOUR.name: {"revision": "1"}}}

    def explain_empty(self, medium: Probe) -> str:
        return f"is {medium.kind}; {self.name} takes pictures"

    def prepare_source(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[PreparedBatch]:
        if medium.kind == "image":
            clip = open_image(source)
            if self.red == "exit" and is_red(clip):
                os._exit(134)
            yield PreparedBatch(COLOUR.name, "image", ((0.0, 0.0),), FakeImage(COLOUR).prepare([clip]))

    def run_batch(self, model: str, inputs: Inputs) -> Sequence[RecordFields]:
        if self.red == "slow":
            time.sleep(0.005 * len(inputs["colours"]))
        return [self._result(row) for row in inputs["colours"]]

    def _result(self, row: np.ndarray) -> RecordFields:
        best = np.argsort(-row, kind="stable")[: self.count]
        red = row[4] > 0.99
        if red and self.red == "raise":
            raise RuntimeError("red is not supported")
        scores = tuple(float("nan") if red and self.red == "nan" else float(row[i]) for i in best)
        labels = tuple(COLOURS[i] for i in best)
        return {"labels": labels, "scores": scores, "text": f"something {labels[0]}", "score": scores[0]}


@dataclass(frozen=True)
class Turns(PerSourceTask):
    """Recordings to a turn for each second: how loud it is, said by the loud or the quiet one, in two words.

    fault   "" or "exit": the second 2 of a recording takes the worker down; "raise": it fails there; "flag": takes
            the worker down while the file PERCEPTS_TEST_FLAG is there, and removes it
    """

    fault: str = ""
    name = "turns"
    specs = (TURNS,)

    def settings(self) -> dict[str, Any]:
        return {"speakers": ("loud", "quiet")}

    def explain_empty(self, medium: Probe) -> str:
        return f"is {medium.kind}; {self.name} takes sound"

    def process_source(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[Record]:
        if not medium.audio:
            return
        try:
            for clip in stream_audio(source, block=1.0):
                if clip.start >= 2.0:
                    self._fail()
                yield _turn(clip.start, clip.stop, float(np.abs(mix_to_mono(clip).data).mean()))
        except TruncatedMedia as damage:
            notes.append(str(damage))

    def _fail(self) -> None:
        if self.fault == "raise":
            raise RuntimeError("out of words")
        if self.fault == "exit":
            os._exit(139)
        if self.fault == "flag" and os.path.exists(flag := os.environ["PERCEPTS_TEST_FLAG"]):
            os.remove(flag)
            os._exit(139)


def _turn(start: float, stop: float, level: float) -> Record:
    who, middle = "loud" if level > 0.05 else "quiet", (start + stop) / 2
    words = (Segment(start, middle, "level", score=0.5), Segment(middle, stop, f"{level:.4f}", speaker=who))
    return Record("", start, stop, TURNS.name, "audio", text=f"level {level:.4f}", score=0.5, speaker=who, words=words)


class Homebound(Colours):
    """No process elsewhere can be told of it."""

    def __setstate__(self, state: object) -> None:
        raise ModuleNotFoundError("this is only on the driver")


class Cores(Turns):
    """One turn, that says what this worker believes it may use."""

    def process_source(self, source: Source, medium: Probe, notes: list[str]) -> Iterator[Record]:
        threads = f"OMP_NUM_THREADS {os.environ['OMP_NUM_THREADS']}"
        found = f"{usable_cores()} cores, {RowPool(None).threads} rows at a time, {threads}"
        yield Record("", 0.0, 1.0, TURNS.name, "audio", text=found)
