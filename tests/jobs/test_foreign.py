"""Files that percepts did not make are there, byte for byte, whatever is done to the directory they are in."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from toytasks import Turns

from percepts.errors import JobError, PerceptsError
from percepts.jobs.merge import merge
from percepts.jobs.repair import repair
from percepts.jobs.run import embed, run
from percepts.jobs.storage.formats import FOLDERS
from percepts.jobs.verify import verify

MODEL = "fake-image"
VECTORS = ("npz", "jsonl", "clip-retrieval", "webdataset", "lance")
TEXTS = ("txt", "srt", "vtt", "tsv", "json", "rttm", "jsonl")
FORMATS = [f"{format}/mine.{format}" for format in FOLDERS]
NAMES = [
    *("x", "data/x", f"data/{MODEL}/x", f"data/{MODEL}/part-000000.parquet.bak", f"data/{MODEL}/part-1.parquet"),
    *("data/other/part-000000.parquet", "ledger/x", "ledger/part-00000.parquet", "data/.hidden", "ledger/sub/x"),
    *("json/package.json", "txt/talk.txt", "txt/talk.txt.tmp", "srt/talk.srt", "json/talk.json", "txt/toy/talk.txt"),
    *("jsonl/sub/mine.jsonl", f"jsonl/{MODEL}/part-000000.jsonl", f"jsonl/{MODEL}/part-000000.jsonl.tmp"),
    *(
        f"clip-retrieval/{MODEL}/img_emb/img_emb_0.npy",
        f"clip-retrieval/{MODEL}/x",
        f"clip-retrieval/{MODEL}/parts.json",
    ),
    *(f"webdataset/{MODEL}/parts.json", f"webdataset/{MODEL}/x.tar", f"webdataset/{MODEL}.tmp/x"),
    *(f"lance/{MODEL}/x", f"lance/{MODEL}.tmp/x", f"lance/{MODEL}/{MODEL}.lance/data/x", f"lance/{MODEL}/parts.json"),
    *("index/x", f"index/{MODEL}.json", f"index/{MODEL}.json.tmp", f"index/{MODEL}.lance/data/x", "index/other.json"),
    *("manifest.json", "manifest.json.tmp", "stats.json", "stats.json.tmp", "stalled.json", "stalled.json.tmp"),
    *(".lock", "formats.jsonl", "formats.jsonl.tmp", "shards/x", "shards/00001-of-00002/x", *FORMATS),
]
SMALL = [name for name in NAMES if "/" not in name and name != "x"]
REFUSED = [name for name in NAMES if name.startswith(("data/", "ledger/")) and name != "data/.hidden"] + SMALL
PLACES = sorted({"/".join(name.split("/")[:depth]) for name in NAMES for depth in (1, 2, 3)} - {"x"})
MINE = b"mine \x00\xff\n"


def put(out: Path, name: str) -> Path | None:
    """Put a file of the user's there; None where something is in its place already."""
    path = out / name
    if os.path.lexists(path) or any(above.is_file() for above in path.parents):
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(MINE)
    return path


def contents(folder: Path) -> dict[str, bytes | str]:
    """What a folder holds; links by where they point to."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        found[name] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else "folder"
    return found


def search(out: Path) -> None:
    from percepts.stores.lance import VectorIndex

    VectorIndex(out, MODEL).sync()


def commands(out: Path, folder: Path, formats: Sequence[str] = VECTORS) -> list[Callable[[], object]]:
    """Everything that writes to a job directory."""

    def job(**options: object) -> None:
        embed(folder, out, models=[MODEL], workers=0, formats=formats, **options)  # type: ignore[arg-type]

    def changed() -> None:
        path = sorted(folder.glob("*.png"))[0]
        os.utime(path, ns=(1, random.Random(str(out)).randrange(1 << 40)))
        path.write_bytes(path.read_bytes() + b" ")
        job()

    def others() -> None:
        run(Turns(), folder.parent / "talk.wav", out, workers=0, formats=TEXTS, overwrite=True)

    def merged() -> None:
        for i in (1, 2):
            embed(folder, out, models=[MODEL], workers=0, shard=(i, 2))
        merge(out)

    return [
        *(job, changed, lambda: job(retry_failed=True), lambda: search(out), lambda: verify(out)),
        *(lambda: repair(out, workers=0), lambda: job(overwrite=True), merged, others, lambda: repair(out, workers=0)),
    ]


def carried_out(todo: Sequence[Callable[[], object]], intact: Callable[[], None]) -> int:
    """Run commands; return how many were refused. What is the user's is looked at after each."""
    refused = 0
    for command in todo:
        try:
            command()
        except (PerceptsError, FileExistsError):
            refused += 1
        intact()
    return refused


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures, and a recording beside it."""
    (folder := tmp_path_factory.mktemp("media") / "photos").mkdir()
    for i in range(3):
        Image.new("RGB", (20, 16), (60 * i, 9, 9)).save(folder / f"{i:04d}.png")
    (folder / "bad.png").write_bytes(b"no picture")
    soundfile.write(folder.parent / "talk.wav", np.repeat([0.3, 0.1], 8000).astype(np.float32), 8000)
    return folder


@pytest.fixture(scope="module")
def jobs(media: Path) -> Path:
    """Two job directories with every format, `vectors` and `texts`; the first has an index too."""
    commands(media.parent / "vectors", media)[0]()
    search(media.parent / "vectors")
    commands(media.parent / "texts", media)[8]()
    return media.parent


@pytest.mark.parametrize("name", REFUSED)
def test_a_directory_that_holds_a_file_in_the_jobs_place_is_refused(name: str, media: Path, tmp_path: Path) -> None:
    put(out := tmp_path / "out", name)
    before = contents(out)

    def intact() -> None:
        assert contents(out).items() >= before.items()

    todo = commands(out, media)
    assert carried_out(todo[:1], intact) == 1 and contents(out).keys() <= before.keys() | {".lock"}
    carried_out(todo[1:], intact)


def test_files_that_are_there_before_the_job_stay(media: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mine = [path for name in NAMES if name not in REFUSED and (path := put(out, name))]

    def intact() -> None:
        assert all(path.read_bytes() == MINE for path in mine)

    assert len(mine) > 30 and carried_out(commands(out, media), intact) <= 3


@pytest.mark.parametrize("first", ["vectors", "texts"])
def test_files_that_are_put_into_a_job_stay(first: str, media: Path, jobs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    todo = commands(out, media)
    shutil.copytree(jobs / first, out)
    mine = [path for name in NAMES if name not in SMALL and (path := put(out, name))]
    edited = [path for format in FOLDERS for path in (out / format).rglob("*.*") if path.is_file() and path not in mine]
    for path in edited[::2]:
        path.write_bytes(path.read_bytes() + MINE)
    before = {path: path.read_bytes() for path in mine + edited[::2]}

    def intact() -> None:
        assert before == {path: path.read_bytes() for path in before}

    assert carried_out(todo, intact) <= (2 if first == "vectors" else 4) and len(mine) > 20  # other settings
    for name in SMALL:
        if path := put(out, name):
            before[path] = MINE
            carried_out(todo, intact)
            del before[path]
            path.unlink()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("place", PLACES)
def test_what_a_link_points_to_stays(place: str, when: str, media: Path, jobs: Path, tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    format = place.split("/")[0]
    todo = commands(out, media, (format,) if format in VECTORS else ())
    todo = [todo[i] for i in ((8, 5) if format in TEXTS[:6] else (0, 1, 3, 5, 6, 7))]
    if when == "after":
        shutil.copytree(jobs / ("texts" if format in TEXTS[:6] else "vectors"), out)
    link = out / place
    if any(above.is_file() for above in link.parents):
        pytest.skip("below a file")
    link.parent.mkdir(parents=True, exist_ok=True)
    victim.mkdir()
    if os.path.lexists(link):
        link.rename(victim / "target")  # as somebody does who keeps it on another disk
    elif "." in link.name:
        (victim / "target").write_bytes(MINE)
    else:
        (victim / "target").mkdir()
    if (victim / "target").is_dir():
        (victim / "target" / "mine").write_bytes(MINE)
        (victim / "target" / "part-000099.parquet").write_bytes(MINE)
    link.symlink_to(victim / "target")
    before = contents(victim)

    def intact() -> None:
        now = contents(victim)
        assert now == before or (place == "shards/00001-of-00002" and now.items() >= before.items())
        assert link.is_symlink()

    carried_out(todo, intact)


def test_the_job_directory_itself_may_be_a_link(media: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    assert carried_out(commands(tmp_path / "out", media), lambda: None) == 0
    assert (tmp_path / "out").is_symlink() and (tmp_path / "disk" / "manifest.json").exists()


def test_inputs_stay_where_the_output_is_the_folder_above_them(media: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    inputs = Path(shutil.copytree(media, project / "data"))
    shutil.copy(media.parent / "talk.wav", project)
    before = contents(project)
    for overwrite in (False, True):
        with pytest.raises(JobError, match=r"data: holds files that no job made \(0000.png, 0001.png, 0002.png …\)"):
            embed(inputs, project, models=[MODEL], workers=0, overwrite=overwrite)
    assert contents(project) == before
    inputs = inputs.rename(project / "photos")
    pictures = contents(inputs)
    carried_out(commands(project, inputs)[:1] + commands(project, inputs)[2:], lambda: None)
    assert contents(inputs) == pictures


def test_overwrite_needs_a_manifest_of_percepts(media: Path, tmp_path: Path) -> None:
    (out := tmp_path / "out").mkdir()
    (out / "manifest.json").write_text('{"name": "my app", "icons": []}')
    before = contents(out)
    with pytest.raises(JobError, match=r"manifest\.json"):
        embed(media, out, models=[MODEL], workers=0, overwrite=True)
    assert contents(out).items() >= before.items()


@pytest.mark.parametrize("first", ["vectors", "texts"])
def test_a_directory_without_a_list_of_its_formats_works(
    first: str, media: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As the last release left it: what is byte for byte what would be written is percepts' own, the rest is not."""
    out = tmp_path / "out"
    commands(out, media)[0 if first == "vectors" else 8]()  # of its own: other tests change the files in between
    (out / "formats.jsonl").unlink()
    made = [path for format in FOLDERS for path in (out / format).rglob("*") if path.is_file()]
    (edited := next(path for path in made if path.suffix in (".npz", ".srt"))).write_bytes(MINE)
    command = commands(out, media, ("npz", "jsonl") if first == "vectors" else TEXTS)[0 if first == "vectors" else 8]
    before = {path: path.read_bytes() for path in made}
    if first == "vectors":
        command()
    else:
        run(Turns(), media.parent / "talk.wav", out, workers=0, formats=TEXTS)
    assert {path: path.read_bytes() for path in made} == before and edited.name in caplog.text
    listed = (out / "formats.jsonl").read_text()
    assert sum(path.relative_to(out).as_posix() in listed for path in made) >= 3 and edited.name not in listed


@pytest.mark.parametrize("seed", range(4))
def test_a_list_of_formats_is_never_behind_a_kill(seed: int, media: Path, tmp_path: Path) -> None:
    """Killed at any instant, resumed: every file of a format is listed, and nothing of the user's is touched."""
    out = tmp_path / "out"
    moments = random.Random(seed)
    for _ in range(3):
        child = os.fork()
        if not child:
            signal.setitimer(signal.ITIMER_REAL, moments.uniform(0.02, 0.6))
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            with suppress(BaseException):
                embed(media, out, models=[MODEL], workers=0, formats=("npz", "jsonl", "webdataset"))
            os._exit(0)
        os.waitpid(child, 0)
        moments.random()
        put(out, "npz/mine.npz") if (out / "manifest.json").exists() else None
    embed(media, out, models=[MODEL], workers=0, formats=("npz", "jsonl", "webdataset"))
    listed = (out / "formats.jsonl").read_text()
    files = [path for format in VECTORS for path in (out / format).rglob("*") if path.is_file()]
    assert len(files) >= 4 and all(
        path.relative_to(out).as_posix() in listed for path in files if path.name != "mine.npz"
    )
    assert (out / "npz" / "mine.npz").read_bytes() == MINE and verify(out).ok


def test_a_manifest_that_cannot_be_read_is_kept_when_it_is_made_again(media: Path, jobs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(jobs / "vectors", out)
    (out / "manifest.json").write_bytes(MINE)
    repair(out, workers=0)
    assert (out / "manifest.old.json").read_bytes() == MINE and verify(out).ok
