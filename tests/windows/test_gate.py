"""Speech edges: beginnings and ends of speech, reported as they happen."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from percepts.windows.gate import TALK, AlwaysSpeech, SpeechEdge, SpeechGate
from percepts.windows.speech import SpeechRules

FRAME, RATE = 512, 16_000


def edges(likely: list[float], rules: SpeechRules = TALK) -> list[SpeechEdge]:
    gate = SpeechGate(rules, RATE, FRAME)
    return [edge for p in likely if (edge := gate.push(p))]


def test_speech_begins_a_pad_early_and_ends_a_pad_after_it_fell_quiet():
    begin, end = edges([0.0] * 20 + [0.9] * 30 + [0.0] * 30)
    assert begin == SpeechEdge(True, 20 * FRAME - 1600)
    assert end == SpeechEdge(False, 50 * FRAME + 1600)


def test_a_pause_shorter_than_the_rule_ends_nothing():
    assert edges([0.9] * 10 + [0.0] * 10 + [0.9] * 10) == [SpeechEdge(True, 0)]


def test_between_the_thresholds_speech_goes_on_but_does_not_begin():
    assert edges([0.4] * 50) == []
    assert edges([0.9] + [0.4] * 50) == [SpeechEdge(True, 0)]


def test_while_open_only_what_is_certain_is_sure():
    gate = SpeechGate(TALK, RATE, FRAME)
    for p in [0.9] * 4:
        gate.push(p)
    assert gate.open and gate.certain_until == 4 * FRAME
    for p in [0.0] * 10:
        gate.push(p)
    assert gate.open and gate.certain_until == 4 * FRAME + 1600
    gate.push(0.9)
    assert gate.certain_until == 15 * FRAME


@given(st.lists(st.sampled_from([0.0, 0.4, 0.6, 1.0]), max_size=200), st.sampled_from([0.0, 0.1, 0.5]))
def test_edges_alternate_and_go_forward(likely, pad):
    found = edges(likely, SpeechRules(min_silence=0.1, pad=pad))
    assert [edge.begins for edge in found] == [i % 2 == 0 for i in range(len(found))]
    assert all(a.at < b.at if a.begins else a.at <= b.at for a, b in pairwise(found))


def test_always_hears_speech_at_any_rate():
    assert AlwaysSpeech().listen(44_100)(np.zeros((3, 1411))).tolist() == [1, 1, 1]
