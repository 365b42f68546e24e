"""A manifest from a stranger: every field is checked where it is parsed, and the message names what is wrong."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from percepts.errors import JobDamaged, JobTooNew
from percepts.stores.manifest import MAX_BYTES, MAX_DEPTH, is_part_name, parse_manifest, read_manifest

SPEC = {
    "name": "toy", "target": ".toy:Toy", "kind": "image", "rate": 0.0, "window": 0.0, "dim": 4, "pool": "mean",
    "weights": [], "license": "MIT",
}  # fmt: skip


def info(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "rows": 1, "bytes": 9, "sha256": "0" * 64} | more


def good() -> dict[str, Any]:
    """Two parts; the second has lost rows of its ledger, so its file of vectors kept an older number."""
    return {
        "fingerprint": {"task": "embed", "models": {"toy": {"dim": 4}}},
        "models": {"toy": {"spec": dict(SPEC), "weights": "", "runtime": "numpy"}},
        "parts": [
            {
                "number": number,
                "data": {"toy": info(f"data/toy/part-00000{file}.parquet")},
                "ledger": info(f"ledger/part-00000{number}.parquet"),
            }
            for number, file in ((0, 0), (2, 1))
        ],
        "unfinished": ["/a/ü.png"],
        "counts": {"ok": 2},
        "versions": {"percepts": "0.1.0"},
        "schema": 1,
        "next_part": 3,
    }


def parse(raw: Any) -> Any:
    return parse_manifest(raw if isinstance(raw, bytes) else json.dumps(raw).encode(), "job")


def test_a_good_manifest_is_read_as_it_is() -> None:
    found = parse(good())
    assert [part.number for part in found.parts] == [0, 2] and found.next_part == 3
    assert found.specs["toy"].dim == 4 and found.specs["toy"].precision == "float32"  # what an older one lacks
    assert sorted(found.files) == [
        "data/toy/part-000000.parquet", "data/toy/part-000001.parquet",
        "ledger/part-000000.parquet", "ledger/part-000002.parquet",
    ]  # fmt: skip


NAMES = [
    "/home/me/.bashrc", "../../.bashrc", "data/../../x/part-000000.parquet", "data/toy/../part-000000.parquet",
    "data/./part-000000.parquet", "data/../part-000000.parquet", "./data/toy/part-000000.parquet",
    "data\\toy\\part-000000.parquet", "C:\\part-000000.parquet", "data/toy/part-000000.parquet\0",
    "data/toy/part-000000.parquet\n", "data/toy//part-000000.parquet", "data/toy/part-00000.parquet",
    "data/toy/part-٠٠٠٠٠٠.parquet", "data/other/part-000000.parquet", "ledger/part-000000.parquet", "manifest.json",
    ".lock", "", "data/toy/PART-000000.parquet", "data/toy/part-000000.parquet.tmp",
    5, None, True, [], {}, "data/toy/part-999999999999999999.parquet", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_that_no_part_has_is_refused(name: Any) -> None:
    raw = good()
    raw["parts"][0]["data"]["toy"]["name"] = name
    with pytest.raises(JobDamaged, match=r"job/manifest\.json: (parts\[0\]|next_part).*verify job --repair"):
        parse(raw)


def test_names_that_are_parts() -> None:
    assert is_part_name("ledger/part-000000.parquet") and is_part_name("data/a..b/part-1234567.parquet")
    assert not any(is_part_name(name) for name in NAMES[:14])


def put(*path: Any) -> Callable[[dict[str, Any], Any], None]:
    def change(raw: Any, value: Any) -> None:
        for key in path[:-1]:
            raw = raw[key]
        raw[path[-1]] = value

    return change


NUMBERS = ["1", None, True, -1, 1.5, [], {}, 2**63, 10**400]
WRONG: dict[tuple[Any, ...], list[Any]] = {
    ("schema",): [0, -1, True, 2**63, "1", None, []],
    ("next_part",): [*NUMBERS, 0, 2],
    ("parts",): [None, {}, "x", [None], [5], [[]], [{}], [{"number": 0}]],
    ("parts", 0, "number"): [*NUMBERS, 2],
    ("parts", 1, "number"): [0],
    ("parts", 0, "ledger"): [5, [], {}, "x", {"name": "ledger/part-000000.parquet"}],
    ("parts", 0, "data"): [None, [], {"other": info("data/other/part-000000.parquet")}, {"toy": None}],
    ("parts", 0, "data", "toy", "rows"): NUMBERS,
    ("parts", 0, "data", "toy", "bytes"): NUMBERS,
    ("parts", 0, "data", "toy", "sha256"): ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64, None, 5],
    ("parts", 0, "data", "toy", "more"): [1],
    ("parts", 1, "data", "toy", "name"): ["data/toy/part-000000.parquet"],
    ("models",): [None, [], "x", 5, {"toy": None}, {}, {"toy": {}}, {"": {"spec": {**SPEC, "name": ""}}}],
    ("models", "toy", "spec"): [None, [], {}, {"name": "toy"}],
    ("models", "toy", "runtime"): [5, None, []],
    ("models", "toy", "spec", "name"): ["other", "", None, 5],
    ("models", "toy", "spec", "kind"): ["smell", None, []],
    ("models", "toy", "spec", "dim"): NUMBERS,
    ("models", "toy", "spec", "rate"): ["x", None, True, -1, 1e999],
    ("models", "toy", "spec", "weights"): ["x", None, [5], {}],
    ("fingerprint",): [None, [], "x", {"models": []}, {"models": {"toy": 5}}],
    ("unfinished",): [None, "x", [5], [None], {}, ["\ud800"]],
    ("counts",): [None, [], {"ok": "x"}, {"ok": -1}, {"ok": True}],
    ("versions",): [None, [], {"percepts": 5}],
    ("more",): [1],
}


def test_a_newer_layout_is_refused_and_not_called_damaged() -> None:
    with pytest.raises(
        JobTooNew, match=r"^job/manifest\.json: a newer release .*layout 2.*pip install -U percepts"
    ) as e:
        parse(good() | {"schema": 2, "what": "comes later"})
    assert "--repair" not in str(e.value)


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, values in WRONG.items() for value in values])
def test_what_percepts_does_not_write_is_refused_by_the_name_of_the_field(path: tuple[Any, ...], value: Any) -> None:
    raw = copy.deepcopy(good())
    put(*path)(raw, value)
    with pytest.raises(JobDamaged, match=r"^job/manifest\.json: .*verify job --repair"):
        parse(raw)


@pytest.mark.parametrize("key", sorted(good()))
def test_a_key_that_is_missing_is_named(key: str) -> None:
    raw = good()
    del raw[key]
    with pytest.raises(JobDamaged, match=key):
        parse(raw)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"null", b"5", b"[]", b"\xff\xfe{\0}\0", b"\xef\xbb\xbf{}", b'"\\ud800"', b"[" * 200_000, b"1" * 10_000,
     json.dumps(good()).replace('"dim": 4', '"dim": NaN').encode(),
     json.dumps(good()).replace("0.1.0", "\\ud800").encode()],
    ids=range(12),
)  # fmt: skip
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(JobDamaged, match=r"manifest\.json"):
        parse(data)


def test_settings_nested_without_end_are_refused() -> None:
    for depth, fits in ((MAX_DEPTH - 2, True), (MAX_DEPTH, False), (900, False)):
        raw, inner = good(), dict[str, Any]()
        raw["fingerprint"]["deep"] = inner
        for _ in range(depth - 1):
            inner["x"] = inner = {}
        if fits:
            parse(raw)
        else:
            with pytest.raises(JobDamaged, match=r"fingerprint|JSON"):
                parse(raw)


def test_a_manifest_that_is_no_file_or_far_too_long_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(JobDamaged, match="not a regular file"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with (tmp_path / "manifest.json").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(JobDamaged, match="expected at most"):
        read_manifest(tmp_path)
