"""Cache folders: made for one user, refused where others can write, shared by a group that was meant to."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from percepts.errors import WeightsError
from percepts.runtimes.kept import make_once, verified_digest
from percepts.support import trust
from percepts.support.cache import atomic_cache_path, cache_root, lock_path, make_folder

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has no such permissions")
root_only = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root alone gives files away")
ME, OTHER, GROUP = 54_321, 54_322, 54_400


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache that is not there yet, below a folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    monkeypatch.setenv("PERCEPTS_CACHE", str(folder / "cache"))
    trust._warned.clear()
    yield folder / "cache"
    shutil.rmtree(folder)


@contextmanager
def acting_as(user: int, *groups: int) -> Iterator[None]:
    """As this user, who is in these groups, and in one of the user's own number."""
    before = os.getgroups()
    os.setgroups(groups)
    os.setegid(user)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o002])
def test_new_folders_and_files_are_the_users_alone(cache: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        make_once(cache / "graphs/deep/x", lambda part: part.write_bytes(b"x"))
    finally:
        os.umask(before)
    assert {mode(path) for path in (cache, cache / "graphs", cache / "graphs/deep")} == {0o700}
    assert {mode(path) for path in (cache / "graphs/deep").iterdir()} == {0o600}


def test_folders_of_older_releases_go_on_working(cache: Path) -> None:
    (cache / "graphs").mkdir(parents=True)
    cache.chmod(0o755)
    (cache / "graphs").chmod(0o755)
    assert make_once(cache / "graphs/x", lambda part: part.write_bytes(b"x")).read_bytes() == b"x"
    assert mode(cache) == 0o755


@pytest.mark.parametrize("where", [".", "graphs"])
@pytest.mark.parametrize("permissions", [0o777, 0o1777, 0o702])
def test_a_folder_that_everybody_can_write_is_refused(cache: Path, where: str, permissions: int) -> None:
    (cache / "graphs").mkdir(parents=True, mode=0o700)
    (cache / where).chmod(permissions)
    for use in (lambda: make_folder(cache / "graphs"), lambda: lock_path(cache / "graphs/x")):
        with pytest.raises(WeightsError, match=r"every user of this machine can write .*PERCEPTS_CACHE"):
            use()
    (cache / where).chmod(0o700)
    make_folder(cache / "graphs")


def test_a_graph_in_a_folder_that_everybody_can_write_is_not_read(cache: Path) -> None:
    path = make_once(cache / "graphs/x", lambda part: part.write_bytes(b"x"))
    cache.chmod(0o777)
    with pytest.raises(WeightsError, match="not used"):
        make_once(path, lambda part: part.write_bytes(b"x"))


def test_a_parent_that_everybody_can_write_is_refused_unless_it_is_sticky(cache: Path) -> None:
    cache.mkdir(mode=0o700)
    cache.parent.chmod(0o777)
    with pytest.raises(WeightsError, match=f"can write to {cache.parent} and rename it"):
        make_folder(cache)
    cache.parent.chmod(0o1777)
    make_folder(cache)


def test_a_link_to_a_folder_is_judged_by_both_places(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, open_place = cache.parent / "real", cache.parent / "open"
    real.mkdir(mode=0o700)
    cache.symlink_to(real)
    make_folder(cache / "graphs")
    assert (real / "graphs").is_dir()
    real.chmod(0o777)
    with pytest.raises(WeightsError, match="every user"):
        make_folder(cache / "graphs")
    real.chmod(0o700)
    open_place.mkdir()
    open_place.chmod(0o777)
    (open_place / "link").symlink_to(real)
    monkeypatch.setenv("PERCEPTS_CACHE", str(open_place / "link"))
    with pytest.raises(WeightsError, match="rename it"):
        make_folder(cache_root())


@root_only
def test_a_folder_of_another_user_is_refused_and_one_of_root_is_not(cache: Path) -> None:
    cache.mkdir(mode=0o755)
    os.chown(cache, OTHER, OTHER)
    with pytest.raises(WeightsError, match=rf"{cache} is not used: it belongs to user {OTHER}"):
        make_folder(cache)
    os.chown(cache, 0, 0)
    (cache / "graphs").mkdir()
    os.chown(cache / "graphs", ME, ME)
    with acting_as(ME):
        make_folder(cache / "graphs")


@root_only
def test_a_parent_of_another_user_is_refused(cache: Path) -> None:
    cache.mkdir(mode=0o700)
    os.chown(cache, ME, ME)
    os.chown(cache.parent, OTHER, OTHER)
    with acting_as(ME), pytest.raises(WeightsError, match=f"{cache.parent}, which it lies in, belongs to user {OTHER}"):
        make_folder(cache)


@root_only
def test_a_group_that_the_user_is_not_in_is_refused(cache: Path) -> None:
    cache.mkdir()
    os.chown(cache, ME, GROUP)
    cache.chmod(0o2770)
    with acting_as(ME), pytest.raises(WeightsError, match=rf"the group {GROUP} can write to it, and you are not in it"):
        make_folder(cache)


@root_only
def test_a_group_shares_a_cache_with_one_warning(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache.mkdir()
    os.chown(cache, 0, GROUP)
    cache.chmod(0o2770)
    made = []

    def make(part: Path) -> None:
        made.append(os.geteuid())
        part.write_bytes(b"numbers")

    with caplog.at_level(logging.WARNING):
        for user in (ME, OTHER, ME):
            with acting_as(user, GROUP):
                path = make_once(cache / "graphs/x", make)
                with lock_path(path):
                    assert path.read_bytes() == b"numbers"
        assert made == [ME]
        path.write_bytes(b"changed")
        with acting_as(OTHER, GROUP):
            assert make_once(path, make).read_bytes() == b"numbers" and verified_digest(path)
            with atomic_cache_path(cache / "graphs/y") as part:
                part.write_bytes(b"y")
    assert made == [ME, OTHER]
    assert mode(cache / "graphs") == 0o2770 and (cache / "graphs").stat().st_gid == GROUP
    assert caplog.text.count(f"everybody in the group {GROUP} can change") == 1
    with acting_as(60_000), pytest.raises(WeightsError):
        make_folder(cache / "graphs")


def test_other_folders_than_the_cache_are_not_judged(cache: Path) -> None:
    output = cache.parent / "output"
    output.mkdir()
    output.chmod(0o777)
    with atomic_cache_path(output / "net.onnx") as part:
        part.write_bytes(b"x")
    assert (output / "net.onnx").read_bytes() == b"x"
