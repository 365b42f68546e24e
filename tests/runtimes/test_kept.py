"""What percepts made itself and keeps in its cache: checked at each use, made again where it is not what was made."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from percepts import runtimes
from percepts.runtimes import Network, start_runner
from percepts.runtimes.kept import make_once, read_record, verified_digest, write_record
from percepts.support.files import file_digest


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped": flip,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "no digest": lambda path: path.with_name(path.name + ".sha256").unlink(),
    "odd digest": lambda path: path.with_name(path.name + ".sha256").write_bytes(b"\xff\xfe"),
    "empty digest": lambda path: path.with_name(path.name + ".sha256").write_bytes(b""),
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_file_that_is_not_what_was_made_is_made_again(tmp_path: Path, damage: str, caplog) -> None:
    path, made = tmp_path / "folder" / "file", list[int]()

    def make(part: Path) -> None:
        made.append(1)
        part.write_bytes(b"numbers" * 100)

    for _ in range(2):
        assert make_once(path, make) == path
    assert len(made) == 1 and verified_digest(path) == file_digest(path)
    with caplog.at_level(logging.WARNING):
        DAMAGES[damage](path)
        assert verified_digest(path) == ""
        make_once(path, make)
    assert len(made) == 2 and path.read_bytes() == b"numbers" * 100 and verified_digest(path)
    assert ("making it again" in caplog.text) == (damage != "gone")


def test_a_change_that_keeps_size_and_time_is_seen_in_the_same_process(tmp_path: Path) -> None:
    path = make_once(tmp_path / "file", lambda part: part.write_bytes(b"abc"))
    before = path.stat()
    path.write_bytes(b"abd")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert verified_digest(path) == ""


def test_what_fails_to_be_made_leaves_nothing(tmp_path: Path) -> None:
    def fail(part: Path) -> None:
        part.write_bytes(b"half")
        raise RuntimeError("no room")

    with pytest.raises(RuntimeError):
        make_once(tmp_path / "file", fail)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


@pytest.mark.parametrize("written", [b"", b"{", b"[]", b"1", b"{}", b'{"a": 2, "sha256": "x"}', b"\xff"])
def test_a_record_that_is_none_counts_as_absent(tmp_path: Path, written: bytes) -> None:
    path = tmp_path / "record.json"
    assert read_record(path) is None
    write_record(path, {"a": 1.5, "b": {"c": "ü"}})
    assert read_record(path) == {"a": 1.5, "b": {"c": "ü"}}
    path.write_text(path.read_text().replace("1.5", "2.5"))
    assert read_record(path) is None
    path.write_bytes(written)
    assert read_record(path) is None


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    """A linear layer of a checkpoint, of which every runtime is held against torch."""
    monkeypatch.setenv("PERCEPTS_CACHE", str(tmp_path / "cache"))

    def build():
        import torch

        layer = torch.nn.Linear(4, 3)
        torch.nn.init.constant_(layer.weight, 0.25)
        torch.nn.init.constant_(layer.bias, 1.0)
        return layer.eval()

    return Network("line", "line-1", build, {"x": np.ones((1, 4), np.float32)}, ("y",), rows=4)


def weights_flipped(path: Path) -> None:
    """Other numbers in a graph that loads."""
    data = path.read_bytes()
    assert np.float32(0.25).tobytes() * 12 in data
    path.write_bytes(data.replace(np.float32(0.25).tobytes(), np.float32(0.75).tobytes()))


@pytest.mark.parametrize("damage", [weights_flipped, *(DAMAGES[name] for name in ("cut", "empty", "no digest"))])
def test_a_damaged_graph_is_exported_again_and_judged_again(network: Network, damage) -> None:
    for _ in range(2):
        _, run = start_runner(network, "onnx", 1)
        (y,) = run(network.example)
        assert np.allclose(y, 2.0)
        damage(runtimes.graph_path(network))
    assert runtimes.export_graph(network) and verified_digest(runtimes.graph_path(network))


def test_the_judgement_holds_for_the_graph_that_was_judged(network: Network, monkeypatch) -> None:
    start_runner(network, "onnx", 1)
    seen = runtimes.graph_path(network).with_suffix(".onnx.faithful")
    assert read_record(seen) == {"graph": verified_digest(runtimes.graph_path(network))}
    judged = []
    monkeypatch.setattr(runtimes, "describe_deviation", lambda found, expected: judged.append(1) or "")
    start_runner(network, "onnx", 1)
    assert not judged
    seen.write_text("")
    start_runner(network, "onnx", 1)
    assert judged == [1] and read_record(seen)
