"""The diarization error rate: equal to pyannote.metrics', and the laws that any such rate must keep."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from percepts.metrics.der import diarization_errors
from percepts.support.hungarian import max_weight_matching
from percepts.types import Segment

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "der.json").read_text())


def turns(rows: list[tuple[float, float, str]]) -> list[Segment]:
    return [Segment(start, stop, "", speaker=name) for start, stop, name in rows]


account = st.lists(
    st.builds(
        lambda start, length, name: Segment(start / 4, (start + length) / 4, "", speaker=name),
        st.integers(0, 60),
        st.integers(0, 20),
        st.sampled_from("abc"),
    ),
    max_size=8,
)


@pytest.mark.parametrize("case", REFERENCE, ids=range(len(REFERENCE)))
def test_seconds_are_those_of_pyannote(case):
    errors = diarization_errors(
        turns(case["truth"]), turns(case["found"]), collar=case["collar"], skip_overlap=case["skip_overlap"]
    )
    ours = [errors.total, errors.missed, errors.false_alarm, errors.confusion]
    # quarters of seconds are exact in binary: only the order of the sums differs
    np.testing.assert_allclose(ours, case["parts"], atol=1e-9)


@given(account)
def test_the_truth_under_other_names_has_no_error(truth):
    renamed = [Segment(turn.start, turn.stop, "", speaker="xyz"["abc".index(turn.speaker)]) for turn in truth]
    assert diarization_errors(truth, renamed).rate == 0


@given(account, account)
def test_errors_are_what_the_counts_of_people_allow(truth, found):
    errors = diarization_errors(truth, found)
    back = diarization_errors(found, truth)
    assert (errors.missed, errors.false_alarm, errors.confusion) == (back.false_alarm, back.missed, back.confusion)
    assert errors.total + errors.false_alarm == back.total + errors.missed


@given(account, account, st.integers(1, 80))
def test_regions_add_up(truth, found, quarter):
    middle = quarter / 4
    whole = diarization_errors(truth, found)
    parts = [diarization_errors(truth, found, regions=[span]) for span in ((0.0, middle), (middle, 30.0))]
    total = parts[0] + parts[1]
    assert (total.total, total.missed, total.false_alarm) == (whole.total, whole.missed, whole.false_alarm)
    assert total.confusion <= whole.confusion  # each half may give the names as suits it best


def test_the_edges():
    one = turns([(0, 1, "a")])
    assert diarization_errors([], []).rate == 0
    assert diarization_errors([], one).rate == float("inf")
    assert diarization_errors(one, []).rate == 1
    assert diarization_errors(one, turns([(0, 1, "b"), (0, 1, "c")])).rate == 1
    assert diarization_errors(one, [Segment(0, 1, "nobody")]).missed == 1
    assert diarization_errors(one, turns([(0.2, 0.8, "a")]), collar=0.25).rate == 0
    with pytest.raises(ValueError, match="collar"):
        diarization_errors(one, one, collar=-1)


@given(st.integers(0, 4), st.integers(0, 4), st.randoms(use_true_random=False))
def test_pairs_are_the_best_of_all_there_are(n, m, random):
    gain = np.array([[random.randint(-5, 9) for _ in range(m)] for _ in range(n)], float).reshape(n, m)
    pairs = max_weight_matching(gain)
    wide = gain if n <= m else gain.T
    best = max(sum(wide[i, j] for i, j in enumerate(columns)) for columns in permutations(range(max(n, m)), min(n, m)))
    assert len(pairs) == min(n, m) == len({i for i, _ in pairs}) == len({j for _, j in pairs})
    assert sum(gain[pair] for pair in pairs) == best


def test_what_is_no_matrix_is_refused():
    with pytest.raises(ValueError, match="finite"):
        max_weight_matching(np.array([[np.nan]]))
    with pytest.raises(ValueError, match="matrix"):
        max_weight_matching(np.zeros(3))
