from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from percepts.jobs.sources.walk import check_inputs, find_sources, fingerprint_name, printable_name


def listed(*inputs: Path, out: Path = Path("/nowhere")) -> list[str]:
    return [os.path.basename(path) for path in find_sources([str(path) for path in inputs], leave_out=out)]


def test_folders_are_walked_in_order_of_names(tmp_path: Path) -> None:
    for name in ("b/2.png", "a/1.png", "b/1.png", "c.png", "b/.hidden", ".git/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert listed(tmp_path) == ["1.png", "1.png", "2.png", "c.png"]
    assert listed(tmp_path / "b" / ".hidden") == [".hidden"]  # named outright it is meant


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.png").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "up").symlink_to(tmp_path)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    assert listed(tmp_path) == ["circle", "x.png"]


def test_the_output_is_left_out_by_whatever_name(tmp_path: Path) -> None:
    (tmp_path / "vectors").mkdir()
    (tmp_path / "vectors" / "part.png").touch()
    (tmp_path / "x.png").touch()
    (tmp_path / "linked").symlink_to(tmp_path / "vectors")
    assert listed(tmp_path, out=tmp_path / "linked") == ["x.png"]


def test_a_source_named_twice_comes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.png").touch()
    monkeypatch.chdir(tmp_path)
    assert listed(Path("x.png"), tmp_path / "x.png", Path(".")) == ["x.png"]


def test_urls_pass_through() -> None:
    assert list(find_sources(["https://example.org/a.png"], leave_out=Path("/x"))) == ["https://example.org/a.png"]


def test_a_typing_error_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="photoss"):
        check_inputs([tmp_path / "photoss"])
    with pytest.raises(ValueError, match="at least one"):
        check_inputs([])
    assert check_inputs([tmp_path, "missing.png"]) == [str(tmp_path), "missing.png"]


@pytest.mark.skipif(sys.platform == "darwin", reason="HFS+ and APFS refuse names that are no UTF-8")
def test_names_that_are_no_unicode_can_be_written_down(tmp_path: Path) -> None:
    name = os.path.join(os.fsencode(tmp_path), b"caf\xe9.png")
    Path(os.fsdecode(name)).touch()
    (found,) = find_sources([str(tmp_path)], leave_out=Path("/x"))
    assert printable_name(found).endswith("caf\\xe9.png")
    printable_name(found).encode("utf-8")
    assert len(fingerprint_name(found)) == 16
