"""Manifests changed as a stranger would: every command ends in 0, 1 or 2, touches nothing else, and calls none whole.

`PERCEPTS_FUZZ=2000 pytest tests/jobs/test_manifest_fuzz.py` tries more of them.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from percepts.cli import main
from percepts.interop.datasets import datasets_transform
from percepts.jobs.run import embed
from percepts.training.job_vectors import load_job_vectors

MODEL = "fake-image"
EXAMPLES = int(os.environ.get("PERCEPTS_FUZZ", "60"))


@dataclass(frozen=True)
class Place:
    """A good job directory, of which each example has a copy, and what must not be touched."""

    root: Path
    good: Path
    manifest: dict[str, Any]

    def outside(self) -> dict[str, bytes]:
        found = (path for name in ("photos", "victim", "good") for path in (self.root / name).rglob("*"))
        return {str(path): path.read_bytes() for path in found if path.is_file()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("fuzz")
    (root / "photos").mkdir()
    for number in range(4):
        Image.fromarray(np.full((8, 8, 3), 60 * number, np.uint8)).save(root / f"photos/{number}.png")
    files = sorted((root / "photos").iterdir())
    for several in (files[:2], files[:3]):  # two parts
        embed(several, root / "good", models=[MODEL], workers=0)
    for victim in ("data/fake-image", "ledger"):
        (root / "victim" / victim).mkdir(parents=True)
        (root / "victim" / victim / "part-000000.parquet").write_bytes(b"mine")
    return Place(root, root / "good", json.loads((root / "good/manifest.json").read_text()))


NAMES = [
    "{victim}/data/fake-image/part-000000.parquet", "../victim/ledger/part-000000.parquet", "data/../../victim/x",
    "ledger/part-000000.parquet", "data/fake-image/part-000000.parquet", "data/fake-image/part-000009.parquet",
    "manifest.json", "", "..", "\0", "a\nb", "\x1b[31m",
]  # fmt: skip
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5)
    | st.sampled_from(NAMES) | st.sampled_from([2**31, 2**63, 2**64, 10**30, 1e308, "0" * 64, "ok", MODEL]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=4) | st.just(MODEL), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def spots(raw: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a document."""
    yield path
    inner = raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    for key, value in inner:
        yield from spots(value, (*path, key))


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[str, float, Any]]:
    kinds = st.sampled_from(["replace", "replace", "remove", "double", "nest", "swap"])
    return draw(st.lists(st.tuples(kinds, st.floats(0, 1, exclude_max=True), JUNK), min_size=1, max_size=3))


def change(raw: Any, kind: str, where: float, junk: Any, victim: str) -> None:
    paths = list(spots(raw))[1:]
    if not paths:
        return
    *parents, key = paths[int(where * len(paths))]
    held = raw
    for each in parents:
        held = held[each]
    junk = json.loads(json.dumps(junk).replace("{victim}", victim))
    if kind == "replace":
        held[key] = junk
    elif kind == "remove":
        del held[key]
    elif kind == "nest":
        deep: Any = junk
        for _ in range(500):
            deep = [deep]
        held[key] = deep
    elif isinstance(held, list):
        held.append(copy.deepcopy(held[key])) if kind == "double" else held.reverse()
    else:
        held[f"{key}2" if kind == "double" else key] = copy.deepcopy(held[next(iter(held))])


def call(*arguments: str) -> int:
    """Run a command in this process; whatever it raises but an exit is a traceback at the user's."""
    said = io.TextIOWrapper(io.BytesIO())  # one that `main` can reconfigure
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(arguments)
        except SystemExit as leaving:
            return int(leaving.code or 0)
    return 0


def facts(manifest: dict[str, Any]) -> Any:
    files = [info for part in manifest["parts"] for info in (*part["data"].values(), part["ledger"]) if info]
    counts = {name: number for name, number in manifest["counts"].items() if number}  # none is 0
    return sorted(files, key=lambda info: str(info["name"])), counts


COMMANDS = ("verify", "embed", "search", "repair", "merge", "read")


@pytest.mark.filterwarnings("ignore")
@settings(
    print_blob=False,
    max_examples=EXAMPLES, deadline=None, derandomize="PERCEPTS_FUZZ" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(changes=changes(), command=st.sampled_from(COMMANDS))
def test_a_manifest_of_a_stranger_harms_nothing(place: Place, changes: list[Any], command: str) -> None:
    target, before = laid(place, command) / "manifest.json", place.outside()
    raw = copy.deepcopy(place.manifest)
    for kind, where, junk in changes:
        change(raw, kind, where, junk, str(place.root / "victim"))
    target.write_text(json.dumps(raw))

    code = run(command, place)
    assert code in (0, 1, 2)
    if command == "verify" and code == 0:
        assert facts(raw) == facts(place.manifest), "damaged, and called whole"
    assert place.outside() == before


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_same_commands_work_on_a_good_one(place: Place, command: str) -> None:
    laid(place, command)
    assert run(command, place) == 0


def laid(place: Place, command: str) -> Path:
    """Copy the good directory to where a command finds it: as a share, for `merge`."""
    shutil.rmtree(place.root / "job", ignore_errors=True)
    target = place.root / "job" / ("shards/00001-of-00001" if command == "merge" else "")
    shutil.copytree(place.good, target)
    return target


def run(command: str, place: Place) -> int:
    job, photos = str(place.root / "job"), str(place.root / "photos")
    if command == "read":
        from percepts.errors import PerceptsError

        with contextlib.suppress(PerceptsError):
            load_job_vectors(job)
        assert datasets_transform(MODEL) is not None
        return 0
    commands = {
        "verify": ("verify", job),
        "embed": ("embed", photos, "-o", job, "-m", MODEL, "--workers", "0", "--progress", "none"),
        "search": ("search", job, "red"),
        "repair": ("verify", job, "--repair", "--workers", "0"),
        "merge": ("merge", job),
    }
    return call(*commands[command])
