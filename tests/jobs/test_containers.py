"""Archives, tables and lists from a stranger: a damaged one is one entry of the ledger, and none opens other files."""

from __future__ import annotations

import io
import json
import os
import tarfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import Photos, ledger, rows

from percepts.jobs.run import embed
from percepts.jobs.sources import containers
from percepts.jobs.verify import verify
from percepts.stores.remote import open_filesystem

MODEL = "fake-image"


@pytest.fixture
def good(photos: Photos, tmp_path: Path) -> list[bytes]:
    """The bytes of six pictures, which are also in tmp_path/photos."""
    return [path.read_bytes() for path in sorted(photos(6).iterdir())]


def write_tar(path: Path, members: Sequence[tuple[str, bytes]], **options: Any) -> Path:
    with tarfile.open(path, "w", **options) as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def run(inputs: Any, out: Path, **more: Any) -> Any:
    return embed(inputs, out, **{"models": [MODEL], "workers": 0} | more)


def cut_tar(path: Path, good: list[bytes], at: str) -> None:
    """Six members, harmed in the fourth."""
    write_tar(path, [(f"{n}.png", data) for n, data in enumerate(good)])
    with tarfile.open(path) as file:
        fourth = file.getmembers()[3]
    data = bytearray(path.read_bytes())
    if at == "data":
        data = data[: fourth.offset_data + 20]
    elif at == "header cut":
        data = data[: fourth.offset + 100]
    elif at == "header changed":
        data[fourth.offset : fourth.offset + 512] = os.urandom(512)
    elif at == "size lies":
        data = data[: fourth.offset + 512]
    path.write_bytes(data)


@pytest.mark.parametrize("at", ["data", "header cut", "header changed", "size lies"])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_cut_tar_is_one_entry_and_the_run_goes_on(good: list[bytes], tmp_path: Path, at: str, workers: int) -> None:
    tar, out = tmp_path / "cut.tar", tmp_path / "v"
    cut_tar(tar, good, at)
    report = run([tar, tmp_path / "photos"], out, workers=workers)
    assert (report.done, report.failed) == (3 + 6, 1) and verify(out).ok
    entry = ledger(out)["cut.tar"]
    assert (entry["status"], entry["stage"], entry["error"]) == ("error", "fetch", "NotMedia")
    again = run([tar, tmp_path / "photos"], out, workers=workers)
    assert (again.done, again.failed, again.unchanged) == (0, 0, 10)
    write_tar(tar, [(f"{n}.png", data) for n, data in enumerate(good)])  # mended
    mended = run([tar, tmp_path / "photos"], out, workers=workers)
    assert (mended.done, mended.failed) == (3, 0) and verify(out).ok
    assert ledger(out)["cut.tar"]["status"] == "skipped"
    assert run([tar, tmp_path / "photos"], out).unchanged == 12


DAMAGED = {
    "a.tar": b"neither",
    "empty.tar": b"",
    "a.parquet": b"neither",
    "cut.parquet": None,
    "a.jsonl": b'{"uri": "photos/0000.png"}\n{"uri": \n{"uri": "photos/0001.png"}\n',
    "b.jsonl": b'{"uri": "photos/0000.png"}\n\xff\xfe\n',
    "c.jsonl": b'{"uri": "photos/0000.png"}\n5\n',
    "d.jsonl": b'{"uri": "photos/0000.png"}\n' + b"[" * 100_000 + b"\n",
    "a.csv": b"uri\nphotos/0000.png\n\xff\n",
    "b.csv": b"file,label\nphotos/0000.png,1\n",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_container_or_list_is_one_entry(good: list[bytes], tmp_path: Path, name: str) -> None:
    path, out = tmp_path / name, tmp_path / "v"
    if name == "cut.parquet":
        pq.write_table(pa.table({"image": good}), path)
        path.write_bytes(path.read_bytes()[:-50])
    else:
        path.write_bytes(DAMAGED[name] or b"")
    report = run([path, tmp_path / "photos"], out)
    assert (report.done, report.failed) == (6, 1) and verify(out).ok
    assert ledger(out)[name]["stage"] == "fetch"


def test_a_container_that_may_not_be_read_is_one_entry(good: list[bytes], tmp_path: Path) -> None:
    for name in ("x.tar", "x.csv", "x.parquet"):  # folders like any other
        (tmp_path / name).mkdir()
        (tmp_path / name / "in.png").write_bytes(good[0])
        report = run([tmp_path / name, tmp_path / "photos"], tmp_path / "v")
        assert (report.done + report.unchanged, report.failed) == (7, 0)
    os.mkfifo(tmp_path / "y.tar")
    assert run([tmp_path / "y.tar", tmp_path / "photos"], tmp_path / "v").unchanged == 6  # and does not wait for it
    assert "named pipe" in ledger(tmp_path / "v")["y.tar"]["message"]


HOSTILE = [
    "../../up.png",
    "/etc/abs.png",
    "a//b.png",
    "x/../y.png",
    "./z.png",
    "a!b.png",
    "\x1b[31m\n.png",
    "..\\w.png",
]


@pytest.mark.parametrize("workers", [0, 1])
def test_the_member_is_what_is_read_and_its_name_is_never_resolved(
    good: list[bytes], tmp_path: Path, workers: int
) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    tar, out = tmp_path / "deep/er/evil.tar", tmp_path / "v"
    write_tar(tar, list(zip(HOSTILE, [good[0]] * len(HOSTILE), strict=True)))
    for name in ("up.png", "y.png"):  # what the names would lead to
        (tmp_path / name).write_bytes(good[5])
    (tmp_path / "deep/er/evil.tar!..").mkdir()
    (tmp_path / "deep/er/evil.tar!x").mkdir()
    (tmp_path / "deep/er/y.png").write_bytes(good[5])
    report = run(tar, out, workers=workers)
    assert (report.done, report.failed) == (len(HOSTILE), 0) and verify(out).ok
    run(tmp_path / "photos/0000.png", tmp_path / "w")
    assert {row[3] for row in rows(out, MODEL).values()} == {row[3] for row in rows(tmp_path / "w", MODEL).values()}
    assert run(tar, out).unchanged == len(HOSTILE)
    one = run(f"{os.path.relpath(tar)}!../../up.png", tmp_path / "one")
    assert one.done == 1


def test_members_of_one_name_are_told(good: list[bytes], tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [("a.png", good[0]), ("b.png", good[1]), ("a.png", good[2]), ("x.cls", b"1")])
    report = run(tmp_path / "a.tar", tmp_path / "v")
    assert (report.done, report.failed) == (2, 1)
    assert "a.png" in ledger(tmp_path / "v")["a.tar"]["message"]


def test_a_member_of_no_end_and_headers_that_lead_back_end_the_tar(good: list[bytes], tmp_path: Path) -> None:
    for size in (-1024, 2**62, 2**40):
        path = write_tar(tmp_path / "a.tar", [("a.png", good[0]), ("b.png", good[1])], format=tarfile.GNU_FORMAT)
        with tarfile.open(path) as file:
            header = file.getmembers()[1]
        header.size = size
        data = bytearray(path.read_bytes())
        try:
            data[header.offset : header.offset + 512] = header.tobuf(tarfile.GNU_FORMAT)[:512]
        except ValueError:
            continue
        path.write_bytes(data)
        assert (report := run(path, tmp_path / f"v{size}")).failed == 1 and report.done == 1


def test_exported_members_stay_in_the_folder(good: list[bytes], tmp_path: Path) -> None:
    names = ["../../up.png", "/etc/up.png", "x/../y.png", "a\nb.png", "\x1b[31m.png", "..\\w.png", "ok/ü 1.png"]
    write_tar(tmp_path / "a.tar", [(name, data) for name, data in zip(names, [good[0]] * 7, strict=True)])
    run(tmp_path / "a.tar", tmp_path / "v", formats=("webdataset",))
    (tar,) = (tmp_path / "v/webdataset").rglob("*.tar")
    with tarfile.open(tar) as file:
        written = file.getnames()
    assert "ok/ü 1.npy" in written and len(set(written)) == 7
    for name in written:
        assert name.isprintable() and not name.startswith("/") and ".." not in name.split("/") and "\\" not in name


def table(path: Path, cells: Sequence[Any]) -> Path:
    pq.write_table(
        pa.table({"image": pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))}), path
    )
    return path


@pytest.mark.timeout(60)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_cell_opens_regular_files_beside_the_table_and_below_named_folders_only(
    good: list[bytes], tmp_path: Path, workers: int
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "in.png").write_bytes(good[0])
    (folder / "link.png").symlink_to(tmp_path / "photos/0001.png")
    os.mkfifo(folder / "pipe")
    outside = ["/dev/zero", "/dev/stdin", "/proc/self/mem", "/proc/kmsg", str(tmp_path / "photos/0002.png"), "link.png",
               "a\0b", "../photos/0003.png", "http://localhost/x.png", "s3://b/x.png", "", "pipe", "."]  # fmt: skip
    cells = [{"bytes": None, "path": path} for path in ("in.png", str(folder / "in.png"), *outside)]
    report = run(table(folder / "t.parquet", cells), tmp_path / "v", workers=workers)
    assert (report.done, report.failed) == (2, len(outside)) and verify(tmp_path / "v").ok
    assert "neither in the folder" in ledger(tmp_path / "v")["2"]["message"]
    more = run([folder / "t.parquet", tmp_path / "photos"], tmp_path / "w", workers=workers)
    assert more.done == 6 + 2 + 3  # the folder that three of them lead to was named


def test_a_file_that_says_that_it_is_empty_is_not_waited_for(tmp_path: Path, good: list[bytes]) -> None:
    (tmp_path / "photos/z.png").symlink_to("/proc/version")
    assert (report := run(tmp_path / "photos", tmp_path / "v")).done == 6 and report.failed == 1


@pytest.mark.parametrize(
    "state",
    [b"", b"{", b"[]", b"{}", b'{"_data_files": 5}', b'{"_data_files": [5]}', b'{"_data_files": [{"filename": 5}]}',
     *(json.dumps({"_data_files": [{"filename": name}]}).encode() for name in
       ("../x.arrow", "/etc/passwd", "..", "", "pipe", "absent.arrow", "x\0", "bad.arrow"))],
)  # fmt: skip
@pytest.mark.timeout(60)
def test_the_state_of_a_saved_dataset_names_files_in_its_folder_only(
    good: list[bytes], tmp_path: Path, state: bytes
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "dataset_info.json").write_text("{}")
    (folder / "state.json").write_bytes(state)
    (folder / "bad.arrow").write_bytes(b"x" * 100)
    os.mkfifo(folder / "pipe")
    report = run([folder, tmp_path / "photos"], tmp_path / "v")
    assert (report.done, report.failed) == (6, 1)


def test_an_arrow_file_that_is_damaged_costs_no_earlier_one(good: list[bytes], tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    first = pa.table({"image": good[:3]})
    with pa.OSFile(str(folder / "a.arrow"), "wb") as sink, pa.ipc.new_stream(sink, first.schema) as writer:
        writer.write_table(first)
    (folder / "b.arrow").write_bytes((folder / "a.arrow").read_bytes()[:200])
    files = [{"filename": "a.arrow"}, {"filename": "b.arrow"}]
    (folder / "state.json").write_text(json.dumps({"_data_files": files}))
    report = run(folder, tmp_path / "v")
    assert (report.done, report.failed) == (3, 1) and verify(tmp_path / "v").ok


@pytest.fixture
def memory(good: list[bytes]) -> Iterator[str]:
    name = f"memory://{uuid.uuid4()}"
    system, path = open_filesystem(name)
    for number, data in enumerate(good):
        system.pipe_file(f"{path}/photos/{number}.png", data)
        system.pipe_file(f"{path}/secret/{number}.png", data)
    yield name


def test_a_list_opens_no_store_that_was_not_named(memory: str, tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    uris = [f"{memory}/photos/0.png", f"{memory}/secret/0.png", f"{memory}/photos/../secret/1.png", "s3://b/x.png"]
    path.write_text("".join(json.dumps({"uri": uri}) + "\n" for uri in uris))
    report = run(path, tmp_path / "v")
    assert (report.done, report.failed) == (0, 4)
    assert {entry["error"] for entry in ledger(tmp_path / "v").values()} == {"FetchError"}
    again = run([], tmp_path / "v", retry_failed=True)  # the ledger is data, too
    assert (again.done, again.failed) == (0, 4)
    for number, (inputs, hosts) in enumerate(
        [([path], [f"{memory}/photos"]), ([path, f"{memory}/photos/"], []), ([path, f"{memory}/photos/*.png"], [])]
    ):
        out = tmp_path / f"w{number}"
        report = run(inputs, out, hosts=hosts)
        assert report.failed == 3 and report.done in (1, 6, 7)
        assert all("photos/" in source for source, _ in rows_of(out))


def rows_of(out: Path) -> Iterator[tuple[str, float]]:
    from percepts.stores.parquet import read_parts

    for batch in read_parts(out, MODEL, ["source", "start"]):
        yield from zip(batch.column("source").to_pylist(), batch.column("start").to_pylist(), strict=True)


def test_a_file_whose_name_looks_like_a_member_is_a_file_where_there_is_no_such_container(
    good: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "photos/gone.tar!a.png").write_bytes(good[0])
    assert containers.split_member(str(tmp_path / "photos/gone.tar!a.png")) is None
    assert run(tmp_path / "photos", tmp_path / "v").done == 7


def test_what_is_finished_is_committed_when_the_run_breaks(
    good: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from percepts.jobs import loop as loop_module

    step, calls = loop_module.JobLoop.step, []

    def breaking(self: Any, crew: Any) -> bool:
        if self._finished:
            raise RuntimeError("the machine")
        calls.append(1)
        return step(self, crew)

    with monkeypatch.context() as broken:
        broken.setattr(loop_module.JobLoop, "step", breaking)
        with pytest.raises(RuntimeError, match="the machine"):
            run(tmp_path / "photos", tmp_path / "v", batch_size=1)
    assert verify(tmp_path / "v").counts["ok"] >= 1
    assert run(tmp_path / "photos", tmp_path / "v").unchanged >= 1 and np.size(calls)
