"""npz per source: any path gives a good name, any length fits, and the rows are in order of time."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from percepts.stores import npz
from percepts.types import Record

RNG = np.random.default_rng(0)


def record(source: str, start: float, model: str = "toy", dim: int = 5) -> Record:
    return Record(source, start, start + 2, model, "audio", RNG.standard_normal(dim).astype(np.float32))


def test_each_source_and_model_is_a_file_with_its_rows_in_order_of_time(tmp_path):
    records = [record(s, float(t), m) for t in (3, 0, 1, 2) for s in ("/x/a.wav", "/y/a.wav") for m in ("one", "two")]
    store = npz.NpzStore(tmp_path / "npz")
    assert store.write(records) == 16
    paths = store.finish("/x/a.wav") + store.finish("/y/a.wav")
    store.close()
    assert sorted(paths) == sorted((tmp_path / "npz").iterdir()) and len(paths) == 4
    for path in paths:
        with np.load(path, allow_pickle=False) as found:
            assert sorted(found) == ["embedding", "model", "source", "start", "stop", "timestamps"]
            mine = [r for r in records if (r.source, r.model) == (str(found["source"]), str(found["model"]))]
            mine.sort(key=lambda r: r.start)
            assert path.name == npz.npz_name(mine[0].source, mine[0].model)
            assert found["embedding"].dtype == np.float32
            assert np.array_equal(found["embedding"], np.stack([r.vector for r in mine]))
            assert found["timestamps"].tolist() == found["start"].tolist() == [0, 1, 2, 3]
            assert found["stop"].tolist() == [2, 3, 4, 5]


def test_a_source_that_was_dropped_or_has_no_vector_leaves_nothing(tmp_path):
    store = npz.NpzStore(tmp_path)
    store.write([record("a", 0.0), Record("b", 0.0, 0.0, "toy", "image", labels=("cup",))])
    store.drop("a")
    store.drop("never seen")
    assert store.finish("a") == store.finish("b") == []
    store.close()
    assert not list(tmp_path.iterdir())


def test_the_same_rows_give_the_same_bytes_whether_they_were_spilled_or_not(tmp_path, monkeypatch):
    records = [record("a.wav", float(t)) for t in RNG.permutation(9000)]
    found = []
    for limit in (1 << 30, 100):
        monkeypatch.setattr(npz, "IN_MEMORY", limit)
        store = npz.NpzStore(tmp_path / str(limit))
        store.write(records)
        found.append(store.finish("a.wav")[0].read_bytes())
    assert found[0] == found[1]


def test_memory_does_not_grow_with_the_length_of_a_source(tmp_path):
    def long(rows):
        vector = np.zeros(1024, np.float32)
        return (Record("long.wav", float(t), t + 1.0, "toy", "audio", vector) for t in range(rows))

    def peak(rows):
        store = npz.NpzStore(tmp_path, overwrite=True)
        tracemalloc.start()
        store.write(long(rows))
        store.close()
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    # 12 000 rows more are 49 MB of vectors; two floats a row in lists, and their order, are 1.5 MB.
    assert peak(18_000) < peak(6_000) + 4e6


def test_vectors_of_two_lengths_in_one_file_are_refused(tmp_path):
    store = npz.NpzStore(tmp_path)
    with pytest.raises(ValueError, match=r"a at 1.0 s: expected 5 numbers"):
        store.write([record("a", 0.0), record("a", 1.0, dim=6)])
    store.drop("a")


NASTY = [
    "",
    ".",
    "..",
    "/",
    "a/..",
    "a b'\"\n.jpg",
    "ü" * 300,
    "x" * 5000,
    "-rf",
    "con",
    "a\\b",
    "https://h/p.jpg?q=1&r=2",
    "\udcff.jpg",
    "日本.png",
    ".hidden",
]


@given(
    st.lists(st.one_of(st.sampled_from(NASTY), st.text()), unique=True, max_size=8),
    st.sampled_from(["conse", "openai/clip " + "y" * 200]),
)
def test_names_are_unique_plain_and_short_for_any_path(sources, model):
    names = [npz.npz_name(source, model) for source in sources]
    assert len({name.lower() for name in names}) == len(sources)
    for name in names:
        assert len(name) <= 150 and set(name) <= set(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
        )
        assert name[0] not in ".-" and name.endswith(".npz")


def test_sources_of_the_nastiest_names_are_written(tmp_path):
    store = npz.NpzStore(tmp_path)
    store.write(record(source, 0.0) for source in NASTY)
    store.close()
    found = {str(np.load(path, allow_pickle=False)["source"]) for path in tmp_path.iterdir()}
    assert found == set(NASTY)


def test_nothing_is_left_in_the_folder_while_a_source_is_under_way(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "IN_MEMORY", 10)
    store = npz.NpzStore(tmp_path)
    store.write(record("a", float(t)) for t in range(100))
    # On Linux the spool has no name, so a kill leaves nothing; elsewhere the system deletes it when it is closed.
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".npz"]
    store.drop("a")
    assert not list(tmp_path.iterdir())
