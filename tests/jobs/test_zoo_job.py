"""A folder of everything that goes wrong, through a whole job: nothing good is lost, nothing bad disappears."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tables import ledger, rows
from zoo import Zoo

from percepts.jobs.run import embed
from percepts.jobs.verify import verify

FAKES, DEFAULT = ("fake-image", "fake-audio"), ("conse", "melstats")


@pytest.fixture(scope="module", params=[FAKES, DEFAULT], ids=["fakes", "default"])
def models(request: pytest.FixtureRequest) -> tuple[str, str]:
    pair: tuple[str, str] = request.param
    return pair


@pytest.fixture(scope="module")
def runs(models: tuple[str, str], zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run over all of the zoo, and one over the good files alone, in other batches and other processes."""
    folder = tmp_path_factory.mktemp("zoo job")
    clean = folder / "clean"
    for path in zoo.good:
        copy = clean / path.relative_to(zoo.folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    embed(zoo.folder, folder / "all", models=models, workers=2, batch_size=32)
    embed(clean, folder / "good", models=models, workers=1, batch_size=5)
    return folder / "all", folder / "good"


def test_every_file_of_the_zoo_is_in_the_ledger_once(runs: tuple[Path, Path], zoo: Zoo) -> None:
    names = {path.name for path in (*zoo.good, *zoo.bad)}
    assert ledger(runs[0]).keys() == names
    verdict = verify(runs[0])
    assert verdict.ok, verdict.problems


def test_good_files_are_bit_identical_to_a_run_without_the_bad_ones(
    runs: tuple[Path, Path], models: tuple[str, str], zoo: Zoo
) -> None:
    bad = {path.name for path in zoo.bad}
    for model in models:
        found = rows(runs[0], model)
        assert {key: row for key, row in found.items() if key[0] not in bad} == rows(runs[1], model)
    assert {row["status"] for row in ledger(runs[1]).values()} == {"ok"}


def test_every_bad_file_says_where_and_why(runs: tuple[Path, Path], zoo: Zoo) -> None:
    found = ledger(runs[0])
    for path, stage in zoo.bad.items():
        row = found[path.name]
        missing = row["error"] in ("FileNotFoundError", "PermissionError")
        assert row["stage"] == ("fetch" if missing else stage), row
        assert row["message"] and row["error"], row
        # What came before the damage is kept; what gave nothing at all is an error.
        assert (row["status"] == "ok") == (row["error"] == "TruncatedMedia" and row["rows"] > 0), row


def test_a_film_gives_frames_and_sound(runs: tuple[Path, Path], models: tuple[str, str]) -> None:
    frames, sounds = ([key for key in rows(runs[0], model) if key[0] == "film.mp4"] for model in models)
    assert frames == [("film.mp4", 0.0), ("film.mp4", 1.0)]
    assert sounds[0] == ("film.mp4", 0.0)
    assert not [key for key in rows(runs[0], models[1]) if key[0] == "silent.mp4"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root has to step down to be refused")
def test_a_file_that_may_not_be_read(tmp_path: Path, zoo: Zoo) -> None:
    """For root, who may read everything: as nobody, in a process of its own."""
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(zoo.folder / "plain.jpg", folder / "readable.jpg")
    shutil.copy(zoo.folder / "plain.jpg", folder / "secret.jpg")
    (folder / "secret.jpg").chmod(0)
    out = tmp_path / "v"
    out.mkdir()
    out.chmod(0o777)
    for parent in tmp_path.parents:
        if "pytest-of-" in str(parent):  # private to whoever runs the tests, as pytest makes them
            parent.chmod(0o755)
    tmp_path.chmod(0o755)
    code = (
        "import os, sys\n"
        "from percepts.jobs.run import embed\n"
        "embed(sys.argv[1], sys.argv[2] + '/root', models=['fake-image'], workers=0)\n"  # all is imported by now
        "os.setgid(65534); os.setuid(65534)\n"
        "report = embed(sys.argv[1], sys.argv[2] + '/nobody', models=['fake-image'], workers=0)\n"
        "print(report.done, report.failed)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder), str(out)], capture_output=True, text=True)
    assert done.stdout.split() == ["1", "1"], done.stderr
    assert ledger(out / "nobody")["secret.jpg"]["error"] == "PermissionError"
    assert ledger(out / "nobody")["secret.jpg"]["stage"] == "fetch"
