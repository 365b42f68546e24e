"""JSON lines: read back the same, by this library or by any other."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from percepts.stores import jsonl
from percepts.types import Record

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
RECORDS = st.builds(
    Record,
    source=st.text(),
    start=st.floats(0, 1e9),
    stop=st.floats(0, 1e9),
    model=st.text(),
    kind=st.sampled_from(["image", "audio", "video", "text"]),
    vector=st.none() | st.lists(FLOATS, min_size=1, max_size=20).map(lambda v: np.array(v, np.float32)),
    labels=st.lists(st.text(), max_size=3).map(tuple),
    text=st.none() | st.text(min_size=1),
    box=st.none() | st.tuples(*[st.floats(0, 1e5)] * 4),
)


@given(RECORDS)
def test_a_record_is_one_line_of_json_and_comes_back_the_same(record):
    text = jsonl.format_record(record).decode()
    assert text.count("\n") == 1 and text.endswith("\n")
    row = json.loads(text)
    assert row["source"] == record.source and row.get("text") == record.text
    assert (row["start"], row["stop"], row["kind"]) == (record.start, record.stop, record.kind)
    assert row.get("box") == (None if record.box is None else list(record.box))
    if record.vector is None:
        assert "vector" not in row
    else:
        assert np.array_equal(np.array(row["vector"], np.float32), record.vector)


def test_numbers_are_as_short_as_float32_allows():
    vector = np.array([0.1, 1 / 3, 16777217.0, 3e-38], np.float32)
    assert b'"vector": [0.1, 0.33333334, 16777216, 3e-38]' in jsonl.format_record(
        Record("a", 0.0, 1.0, "m", "image", vector)
    )


def test_a_file_appears_whole_at_the_end_or_not_at_all(tmp_path):
    path = tmp_path / "a.jsonl"
    records = [Record(f"naïve {n}", 0.0, 1.0, "m", "image", np.ones(3, np.float32), ("cup",)) for n in range(5)]
    store = jsonl.JsonlStore(path)
    assert store.write(records[:2]) == 2 and store.write(records[2:]) == 3 and not path.exists()
    store.close()
    back = list(jsonl.read_records(path))
    assert [r.source for r in back] == [r.source for r in records]
    assert all(r.labels == ("cup",) and np.array_equal(r.vector, np.ones(3)) for r in back)
    bad = Record("bad", 0.0, 1.0, "m", "image", np.full(3, np.nan, np.float32))
    with pytest.raises(ValueError, match="finite"):
        jsonl.write_part(path, [records[0], bad])
    assert len(list(jsonl.read_records(path))) == 5 and list(tmp_path.iterdir()) == [path]


def test_an_undecodable_file_name_makes_a_line_all_the_same():
    assert json.loads(jsonl.format_record(Record("\udcff.jpg", 0.0, 0.0, "m", "image")))["source"] == "\udcff.jpg"
