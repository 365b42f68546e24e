"""pyannote's side of the contract, with pyannote.core's real Annotation and a stand-in for the pipeline.

pyannote.audio itself needs torchaudio and torchcodec and is not installed where these run: what the pipeline is asked
and what is made of its answers is tested, its accuracy is not.
"""

from __future__ import annotations

import os
import pickle
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from percepts.diarization.clustering import SpeakerCount
from percepts.errors import MissingExtra, WeightsError
from percepts.metrics.der import diarization_errors
from percepts.speech.audio_source import RATE
from percepts.tasks.diarize_pyannote import PyannoteDiarizer, sum_speech_seconds
from percepts.types import Clip, Segment

core = pytest.importorskip("pyannote.core", reason="pyannote is an extra: pip install 'percepts[eval]'")


@dataclass
class DiarizeOutput:
    """As pyannote.audio 4 gives it."""

    speaker_diarization: Any
    exclusive_speaker_diarization: Any
    speaker_embeddings: Any = None


TRUTH = [
    Segment(10.0 * i + 1, 10.0 * i + 9 + (i % 3 == 0) * 2.5, "", speaker=("Ann", "Ben", "Cid")[i % 3])
    for i in range(30)
]
"""Five minutes; Ann talks on while Ben begins."""
VOICES = {name: np.eye(8)[i] + 0.1 for i, name in enumerate(("Ann", "Ben", "Cid"))}


class Pipeline:
    """Knows who speaks when by the samples: each holds its own time. Labels are in another order in every call."""

    shape = "output"
    asked: list[dict[str, Any]] = []  # noqa: RUF012
    metrics: list[str | None] = []  # noqa: RUF012

    @classmethod
    def from_pretrained(cls, model: str) -> Pipeline | None:
        cls.metrics.append(os.environ.get("PYANNOTE_METRICS_ENABLED"))
        if model == "gated":
            return None
        if model == "broken":
            raise OSError("no route to the hub\nat all")
        return cls()

    def __call__(self, file: dict[str, Any], **asked: Any) -> Any:
        self.metrics.append(os.environ.get("PYANNOTE_METRICS_ENABLED"))
        wave = file["waveform"]
        assert wave.shape[0] == 1 and file["sample_rate"] == RATE
        begin, length = float(wave[0, 0]), wave.shape[1] / RATE
        self.asked.append(asked | {"begin": begin, "length": length})
        found = core.Annotation()
        heard = [(t.start - begin, t.stop - begin, t.speaker) for t in TRUTH]
        names = sorted({who for a, b, who in heard if b > 0 and a < length}, key=lambda who: hash((who, int(begin))))
        label = {who: f"SPEAKER_{i:02}" for i, who in enumerate(names)}
        for number, (start, stop, who) in enumerate(heard):
            if stop > 0 and start < length:
                found[core.Segment(max(start, 0), min(stop, length)), number] = label[who]
        by_label = {label[who]: VOICES[who] for who in names}
        vectors = np.array([by_label[name] for name in found.labels()])
        if self.shape == "output":
            return DiarizeOutput(found, found, vectors)
        return (found, vectors) if self.shape == "pair" else found


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("pyannote.audio")
    module.Pipeline = Pipeline  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyannote.audio", module)
    monkeypatch.setattr(Pipeline, "asked", [])
    monkeypatch.setattr(Pipeline, "metrics", [])
    monkeypatch.delenv("PYANNOTE_METRICS_ENABLED", raising=False)


def sound() -> list[Clip]:
    times = np.arange(302 * RATE, dtype=np.float64) / RATE
    samples = np.floor(times).astype(np.float32)[None]  # a sample says what second it is of
    return [
        Clip(samples[:, at : at + 7 * RATE], "audio", RATE, at / RATE) for at in range(0, samples.shape[1], 7 * RATE)
    ]


@pytest.mark.parametrize("shape", ["output", "pair", "annotation"])
@pytest.mark.parametrize("block", [1800.0, 100.0])
def test_turns_overlap_and_blocks_are_linked(monkeypatch, shape, block):
    monkeypatch.setattr(Pipeline, "shape", shape)
    turns, voices = PyannoteDiarizer("folder", block=block, overlap=40.0).find_turns(sound())
    assert diarization_errors(TRUTH, turns).rate == pytest.approx(0, abs=1e-6)
    assert {turn.speaker for turn in turns} == {"SPEAKER_00", "SPEAKER_01", "SPEAKER_02"}
    assert turns[0].speaker == "SPEAKER_00" and len(turns) == 30  # whole again across the seams
    assert sum_speech_seconds(turns) < sum(turn.stop - turn.start for turn in turns)
    assert len(voices) == (0 if shape == "annotation" else 3)
    assert all(abs(np.linalg.norm(vector) - 1) < 1e-6 for vector in voices.values())
    lengths = [asked["length"] for asked in Pipeline.asked]
    assert len(lengths) == (1 if block == 1800 else 4) and max(lengths) < block + 60


def test_counts_are_asked_for_where_they_hold():
    PyannoteDiarizer("folder", SpeakerCount(2, 2)).find_turns(sound())
    PyannoteDiarizer("folder", SpeakerCount(2, 5)).find_turns(sound())
    PyannoteDiarizer("folder", SpeakerCount(2, 5), block=100.0).find_turns(sound())
    counts = [{k: v for k, v in asked.items() if k.endswith("speakers")} for asked in Pipeline.asked]
    assert counts[0] == {"num_speakers": 2} and counts[1] == {"min_speakers": 2, "max_speakers": 5}
    assert counts[2] == {"max_speakers": 5}  # not everybody speaks in every block


def test_metrics_are_off_for_it_and_the_environment_is_left_alone(monkeypatch):
    PyannoteDiarizer("folder").find_turns(sound())
    assert Pipeline.metrics == ["0", "0"] and "PYANNOTE_METRICS_ENABLED" not in os.environ
    monkeypatch.setenv("PYANNOTE_METRICS_ENABLED", "1")
    PyannoteDiarizer("folder").find_turns(sound())
    assert os.environ["PYANNOTE_METRICS_ENABLED"] == "1"


def test_what_is_not_there_is_said_with_the_cure(monkeypatch):
    with pytest.raises(WeightsError, match="HF_TOKEN"):
        PyannoteDiarizer("gated").find_turns(sound())
    with pytest.raises(WeightsError, match=r"no route to the hub\)"):
        PyannoteDiarizer("broken").find_turns(sound())
    monkeypatch.setitem(sys.modules, "pyannote.audio", None)
    with pytest.raises(MissingExtra, match=r"percepts\[pyannote\]"):
        PyannoteDiarizer("folder").find_turns(sound())


def test_it_travels_to_a_worker_and_no_sound_has_no_turns():
    made = PyannoteDiarizer("folder", SpeakerCount(1, 3))
    made.find_turns(sound())
    assert pickle.loads(pickle.dumps(made)).count == SpeakerCount(1, 3)
    assert made.find_turns([]) == ([], {})
