"""What writes and removes files: whole or not at all, never through a link, never what is not a file."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import percepts
from percepts.support import files

THERE = b"mine"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of the user's that must stay as it is."""
    path = tmp_path / "victim"
    path.write_bytes(THERE)
    return path


def write(path: Path) -> None:
    with files.atomic_file(path) as file:
        file.write(b"new")


def write_by_path(path: Path) -> None:
    with files.atomic_path(path) as part:
        part.write_bytes(b"new")


def open_for(mode: str) -> Callable[[Path], None]:
    def opened(path: Path) -> None:
        files.open_file(path, mode).close()

    return opened


WRITERS = {
    "atomic": write,
    "atomic_path": write_by_path,
    "write_file": lambda path: files.write_file(path, "new"),
    **{mode: open_for(mode) for mode in ("wb", "w", "ab", "x", "r+b")},
    "replace_file": lambda path: files.replace_file(_another(path), path),
}
REMOVERS = {"remove_file": files.remove_file, "remove_tree": files.remove_tree}


def _another(path: Path) -> Path:
    (other := path.with_name("other")).write_bytes(b"new")
    return other


@pytest.mark.parametrize("act", [*WRITERS, *REMOVERS])
def test_a_link_is_refused_and_what_it_points_to_stays(act: str, victim: Path, tmp_path: Path) -> None:
    (link := tmp_path / "link").symlink_to(victim)
    with pytest.raises(FileExistsError, match="symbolic link"):
        (WRITERS | REMOVERS)[act](link)
    assert link.is_symlink() and victim.read_bytes() == THERE


@pytest.mark.parametrize("act", [*WRITERS, *REMOVERS])
def test_a_link_to_nothing_is_refused_and_nothing_is_made_there(act: str, tmp_path: Path) -> None:
    (link := tmp_path / "link").symlink_to(tmp_path / "absent")
    with pytest.raises(FileExistsError, match="symbolic link"):
        (WRITERS | REMOVERS)[act](link)
    assert link.is_symlink() and not (tmp_path / "absent").exists()


@pytest.mark.parametrize("act", [name for name in WRITERS if name not in ("x", "r+b", "w", "wb", "ab")])
def test_a_folder_in_the_way_is_refused(act: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileExistsError, match="this is a folder"):
        WRITERS[act](tmp_path / "folder")
    assert (tmp_path / "folder").is_dir()


@pytest.mark.parametrize("hostile", ["link", "link to a folder", "folder", "fifo"])
def test_a_temporary_name_that_is_taken_is_refused(hostile: str, victim: Path, tmp_path: Path) -> None:
    taken = tmp_path / ("out" + files.SUFFIX)
    if hostile == "folder":
        taken.mkdir()
    elif hostile == "fifo":
        os.mkfifo(taken)
    else:
        taken.symlink_to(victim if hostile == "link" else tmp_path)
    with pytest.raises(FileExistsError):
        write(tmp_path / "out")
    assert victim.read_bytes() == THERE and not (tmp_path / "out").exists()
    assert os.path.lexists(taken)


def test_a_temporary_file_of_a_killed_writer_is_replaced(victim: Path, tmp_path: Path) -> None:
    os.link(victim, tmp_path / ("out" + files.SUFFIX))
    write(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"new" and victim.read_bytes() == THERE


@pytest.mark.parametrize("writer", [write, write_by_path])
def test_a_block_that_raises_leaves_the_old_file_alone(
    writer: Callable[[Path], None], victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        writer(victim)
    assert victim.read_bytes() == THERE and os.listdir(victim.parent) == ["victim"]


def test_a_link_put_there_while_the_file_is_written_is_refused(victim: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError), files.atomic_file(tmp_path / "out") as file:
        file.write(b"new")
        (tmp_path / "out").symlink_to(victim)
    assert victim.read_bytes() == THERE and sorted(os.listdir(tmp_path)) == ["out", "victim"]


def test_a_tree_is_removed_and_what_its_links_point_to_stays(victim: Path, tmp_path: Path) -> None:
    (outside := tmp_path / "outside").mkdir()
    (outside / "kept").write_bytes(THERE)
    (tree := tmp_path / "tree" / "deep").mkdir(parents=True)
    (tree / "file").write_bytes(b"gone")
    (tree / "link").symlink_to(victim)
    (tree / "folder").symlink_to(outside)
    files.remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    assert victim.read_bytes() == THERE and (outside / "kept").read_bytes() == THERE


def test_what_is_absent_is_removed_without_a_word(tmp_path: Path) -> None:
    files.remove_file(tmp_path / "absent")
    files.remove_file(tmp_path / "absent" / "deeper")
    files.remove_tree(tmp_path / "absent")
    assert not files.remove_empty_folder(tmp_path / "absent")


def test_only_an_empty_folder_is_removed_as_empty(victim: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    assert not files.remove_empty_folder(tmp_path) and not files.remove_empty_folder(tmp_path / "link")
    assert files.remove_empty_folder(tmp_path / "empty") and victim.read_bytes() == THERE


def test_a_file_for_a_library_may_be_private_or_as_others_are(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_by_path(tmp_path / "shared")
        with files.atomic_path(tmp_path / "private", permissions=0o600) as part:
            part.write_bytes(b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600


PACKAGE = Path(percepts.__file__).parent
METHODS = {
    "unlink",
    "rmtree",
    "rmdir",
    "removedirs",
    "rename",
    "renames",
    "write_text",
    "write_bytes",
    "touch",
    "copy2",
}
METHODS |= {"symlink_to", "hardlink_to", "copytree", "copyfile", "move", "savefig", "save_file", "truncate"}
FUNCTIONS = {f"os.{name}" for name in ("remove", "replace", "link", "symlink", "open", "truncate")} | {"shutil.copy"}
ALLOWED = {
    ("cli/doctor/canary.py", "write_text"): "for developers: the expected numbers of the repository",
    ("cli/doctor/checks.py", "write_bytes"): "into the draft that `atomic` gives",
    ("speech/whisper/ctranslate2_convert.py", "shutil.copy"): "into a folder of a random name that was just made",
    ("weights/openl3.py", "write_bytes"): "into the draft that `atomic` gives",
    ("weights/openl3.py", "write_text"): "into the draft that `atomic` gives",
    ("weights/wheels.py", "open"): "into the draft that `atomic` gives",
    ("interop/openl3/npz.py", "open"): "members of an archive",
    ("runtimes/kept.py", "write_text"): "into the draft that `atomic` gives",
    ("runtimes/ncnn.py", "write_bytes"): "into a folder of the caller's that was just made",
    ("runtimes/ncnn.py", "write_text"): "into a folder of the caller's that was just made",
    ("stores/npz.py", "open"): "members of an archive",
    ("stores/remote.py", "truncate"): "a file that is open",
    ("support/outputs.py", "os.open"): "a pipe or a device that the user named, never a file",
    ("tasks/heatmap.py", "savefig"): "into a file that is open",
    ("training/plots.py", "savefig"): "into a file that is open",
    ("weights/download.py", "truncate"): "a file that is open",
    ("jobs/storage/exports.py", "open"): "an archive in a file that is open",
    ("jobs/workers/worker.py", "open"): "the marker that the parent made under a random name",
}
"""Calls that write without following this module's rules, each with the reason why nothing of a user's is at risk."""


def calls_that_write(tree: ast.AST) -> Iterator[str]:
    """The calls that write to, rename or remove a file or folder by name."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        method = name.rpartition(".")[2]
        # `Path.replace` has one word, `str.replace` two, and those of dates and dataclasses have names.
        renames = method == "replace" and "." in name and len(node.args) == 1 and not node.keywords
        if name in FUNCTIONS:
            yield name
        elif method in METHODS or renames or (method == "open" and opens_to_write(node)):
            yield method


def opens_to_write(node: ast.Call) -> bool:
    words = [*node.args, *(word.value for word in node.keywords if word.arg == "mode")]
    modes = [word.value for word in words if isinstance(word, ast.Constant) and isinstance(word.value, str)]
    return any(set(mode) <= set("rwaxbt+:") and set(mode) & set("wax+") for mode in modes)


def test_nothing_else_in_the_package_writes_renames_or_removes() -> None:
    found = {
        (path.relative_to(PACKAGE).as_posix(), call)
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).as_posix() != "support/files.py"
        for call in calls_that_write(ast.parse(path.read_text("utf-8")))
    }
    assert not found - ALLOWED.keys(), "go through percepts.support.files, or say in ALLOWED why not"
    assert not ALLOWED.keys() - found, "these are not there any more"


@pytest.mark.parametrize(
    "code",
    [
        *("p.unlink()", "shutil.rmtree(p)", "os.replace(a, b)", "a.replace(b)", "open(p, 'w')", "p.open(mode='ab')"),
        *("p.write_text('')", "os.remove(p)", "open(p, 'r+b')", "tarfile.open(p, 'w:')", "figure.savefig(p)"),
    ],
)
def test_such_a_call_is_seen(code: str) -> None:
    assert list(calls_that_write(ast.parse(code)))


@pytest.mark.parametrize(
    "code", ["'a'.replace('a', 'b')", "replace(x, a=1)", "open(p)", "p.open('rb')", "files.copy()"]
)
def test_a_call_that_only_reads_is_not(code: str) -> None:
    assert not list(calls_that_write(ast.parse(code)))
