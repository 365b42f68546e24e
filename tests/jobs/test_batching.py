from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from percepts.jobs.batching import Batcher, ClipResult
from percepts.tasks.base import PreparedBatch, RecordFields
from percepts.types import Inputs


def piece(values: list[float], model: str = "m", shape: int = 1) -> PreparedBatch:
    spans = tuple((float(i), i + 1.0) for i in range(len(values)))
    return PreparedBatch(model, "image", spans, {"x": np.repeat(np.array(values, np.float32)[:, None], shape, axis=1)})


def vectors(values: np.ndarray) -> list[RecordFields]:
    return [{"vector": row} for row in values]


def run(batcher: Batcher, pieces: list[tuple[int, PreparedBatch]]) -> list[ClipResult]:
    found = [clip for key, each in pieces for clip in batcher.add(key, each)]
    return found + list(batcher.flush())


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # other work on the machine is no fault
@given(
    groups=st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=9), min_size=1, max_size=9),
    poison=st.sets(st.integers(0, 30)),
    size=st.integers(1, 12),
    memory=st.integers(1, 12),
)
def test_each_clip_has_one_result_and_only_the_poison_fails(
    groups: list[list[int]], poison: set[int], size: int, memory: int
) -> None:
    def encode(model: str, inputs: Inputs) -> list[RecordFields]:
        if len(inputs["x"]) > memory:
            raise MemoryError("too many")
        if bad := poison & set(inputs["x"][:, 0].astype(int).tolist()):
            raise RuntimeError(f"{bad} is poison")
        return vectors(inputs["x"] * 2)

    found = run(Batcher(encode, size), [(key, piece([float(v) for v in group])) for key, group in enumerate(groups)])
    told = sorted((clip.key, clip.start) for clip in found)
    assert told == [(key, float(i)) for key, group in enumerate(groups) for i in range(len(group))]
    for clip in found:
        value = groups[clip.key][int(clip.start)]
        if isinstance(clip.result, Exception):
            assert value in poison
        else:
            assert clip.result["vector"] == value * 2 and value not in poison


def test_after_running_out_of_memory_batches_stay_small() -> None:
    sizes: list[int] = []

    def encode(model: str, inputs: Inputs) -> list[RecordFields]:
        sizes.append(len(inputs["x"]))
        if len(inputs["x"]) > 4:
            raise MemoryError
        return vectors(inputs["x"])

    batcher = Batcher(encode, 16)
    run(batcher, [(i, piece([1.0] * 16)) for i in range(3)])
    assert sizes[:3] == [16, 8, 4]
    assert max(sizes[6:]) == 4


def test_models_and_shapes_do_not_share_a_batch() -> None:
    seen: list[tuple[str, tuple[int, ...]]] = []

    def encode(model: str, inputs: Inputs) -> list[RecordFields]:
        seen.append((model, inputs["x"].shape))
        return vectors(inputs["x"][:, :1])

    run(
        Batcher(encode, 10),
        [(0, piece([1.0, 2.0])), (1, piece([3.0], "n")), (2, piece([4.0], shape=5)), (3, piece([5.0]))],
    )
    assert sorted(seen) == [("m", (1, 5)), ("m", (3, 1)), ("n", (1, 1))]


def test_a_vector_that_is_not_finite_is_an_error_of_its_own_clip() -> None:
    batcher = Batcher(lambda model, inputs: vectors(np.where(inputs["x"] == 2, np.nan, inputs["x"])), 10)
    found = run(batcher, [(0, piece([1.0, 2.0, 3.0]))])
    assert [isinstance(clip.result, Exception) for clip in found] == [False, True, False]
    assert "1 of 1 numbers not finite" in str(found[1].result)


def test_what_is_dropped_does_not_come() -> None:
    batcher = Batcher(lambda model, inputs: vectors(inputs["x"]), 10)
    assert not list(batcher.add(1, piece([1.0]))) and not list(batcher.add(2, piece([2.0])))
    batcher.drop(1)
    assert [clip.key for clip in batcher.flush()] == [2]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"labels": ("a", "b"), "scores": (0.5, np.nan)}, "a score that is not finite"),
        ({"text": "a cup", "score": float("inf")}, "a score that is not finite"),
        ({"labels": ("a",), "scores": (0.5, 0.5)}, "2 scores for 1 labels"),
    ],
)
def test_what_no_table_could_hold_is_an_error_of_its_own_clip(fields: RecordFields, words: str) -> None:
    good: RecordFields = {"labels": ("a",), "scores": (0.5,), "text": "a cup", "score": None}
    batcher = Batcher(lambda model, inputs: [fields if x == 2 else good for x in inputs["x"]], 10)
    found = run(batcher, [(0, piece([1.0, 2.0, 3.0]))])
    assert [clip.result for clip in found[::2]] == [good, good]
    assert words in str(found[1].result)


def test_a_model_that_loses_rows_is_not_believed() -> None:
    batcher = Batcher(lambda model, inputs: [{"text": "a"}][: len(inputs["x"]) % 2], 10)
    found = run(batcher, [(0, piece([1.0, 2.0]))])
    assert [clip.result for clip in found] == [{"text": "a"}] * 2
