"""Files that a user names, from Python: FileExistsError unless `overwrite=True`, and never an input."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import percepts
from percepts.support.outputs import RECORD, OutputFolder, check_output_file, check_output_files, output_file
from percepts.types import Record

FOREIGN = b"years of work"
ROOMS = ("cli", "jobs", "support")
"""Commands have a table of their own (tests/cli/test_outputs.py), jobs have tests/jobs."""


def heatmap(path: Path, **how: Any) -> None:
    found = percepts.Similarity(np.eye(2, dtype=np.float32), ("a", "b"), ("c", "d"), "toy", sources=(b"", b""))
    found.heatmap(path.with_suffix(".png"), **how)


def tokens(path: Path, **how: Any) -> None:
    from percepts.tasks.tokens import Tokens

    one = np.zeros((1, 1))
    Tokens("toy", one[..., None], one > 0, one[0], one[0], one, ("token",), (1,), 0.0).save(path, **how)


def adapter(path: Path, **how: Any) -> None:
    from percepts import adapters

    adapters.save_adapter(adapters.make_adapter("linear", 2, 2), path.parent, **how)


def curve(path: Path, **how: Any) -> None:
    from percepts.training.plots import plot_curve

    (path.parent / "log.csv").write_text("step,epoch,lr,loss,score,seconds\n1,0,0.1,2.0,,0.1\n")
    plot_curve(path.parent / "log.csv", path, **how)


def confusion(path: Path, **how: Any) -> None:
    from percepts.training.plots import plot_confusion

    plot_confusion(np.eye(2, dtype=int), "ab", path, **how)


def picture(path: Path, **how: Any) -> None:
    from percepts.training.plots import new_figure, save

    save(new_figure()[0], path, **how)


def law(path: Path, **how: Any) -> None:
    from percepts.toolbox.scaling import fit_power_law, plot_law

    x, loss = [1.0, 2.0, 4.0], [3.0, 2.0, 1.5]
    plot_law(fit_power_law(x, loss), x, loss, path, upto=9.0, **how)


def sizes(path: Path, **how: Any) -> None:
    from percepts.toolbox.scaling import plot_model_sizes

    plot_model_sizes(path, **how)


def lines(path: Path, **how: Any) -> None:
    from percepts.stores.jsonl import JsonlStore

    with JsonlStore(path, **how) as store:
        store.write([Record("a", 0.0, 1.0, "toy", "image", np.ones(2, np.float32))])


def arrays(path: Path, **how: Any) -> None:
    from percepts.stores.npz import NpzStore

    store = NpzStore(path.parent, **how)
    store.write([Record("a", 0.0, 1.0, "toy", "image", np.ones(2, np.float32))])
    store.close()


def onnx(path: Path, **how: Any) -> None:
    from percepts.interop.openl3.export import export

    export(None, path, **how)  # type: ignore[arg-type]  # refused before the model is looked at


def table(path: Path) -> Path:
    made = path.parent.parent / "table.csv"
    made.write_text("source,label,text\n" + "".join(f"{n}.png,{'ab'[n % 2]},word\n" for n in range(20)))
    return made


def head(path: Path, **how: Any) -> None:
    from percepts.training.heads import train_head

    train_head(path.parent.parent, table(path), path.parent, **how)


def trained_adapter(path: Path, **how: Any) -> None:
    from percepts.training.adapter import train_adapter

    train_adapter(table(path), path.parent, encoder="melstats", lm="none/none", prompt="<audio>", **how)


def classifier(path: Path, **how: Any) -> None:
    from percepts.training.ast import train_ast

    train_ast(table(path), path.parent, base="none/none", **how)


def fitted(path: Path, **how: Any) -> None:
    import torch

    from percepts.training.loop import fit
    from percepts.training.plan import Plan

    model = torch.nn.Linear(1, 1)
    fit(model, lambda batch, rng: model(torch.ones(1, 1)).mean(), 2, Plan(steps=1), path.parent, settings={}, **how)


WRITERS: dict[str, tuple[str, Callable[..., None], bool]] = {
    "tasks/similarity.py heatmap": ("a.png", heatmap, True),
    "tasks/tokens.py save": ("a.npz", tokens, True),
    "adapters/files.py save_adapter": ("adapter.json", adapter, True),
    "training/plots.py plot_curve": ("a.png", curve, True),
    "training/plots.py plot_confusion": ("a.png", confusion, True),
    "training/plots.py save": ("a.pdf", picture, True),
    "toolbox/scaling.py plot_law": ("a.png", law, True),
    "toolbox/scaling.py plot_model_sizes": ("a.png", sizes, True),
    "stores/jsonl.py __init__": ("a.jsonl", lines, True),
    "stores/npz.py __init__": ("a-ca978112ca1bbdca.toy.npz", arrays, True),
    "training/loop.py fit": ("log.csv", fitted, True),
    "interop/openl3/export.py export": ("a.onnx", onnx, False),
    "training/heads.py train_head": ("metrics.json", head, False),
    "training/adapter.py train_adapter": ("curve.png", trained_adapter, False),
    "training/ast.py train_ast": ("preprocessor_config.json", classifier, False),
}
"""Where each is defined: a name of a file it writes, how to call it, whether it can finish without weights."""
OTHERS = {
    "tasks/heatmap.py check_heatmap_file", "tasks/heatmap.py draw_heatmap", "training/loop.py check_run",
    "training/features.py cache_features",
    *(f"interop/openl3/files.py {name}" for name in
      ("check_outputs", "process_audio_file", "process_image_file", "process_video_file")),
}  # fmt: skip
"""Steps of those above, and openl3's functions, whose `overwrite=False` skips (tests/interop)."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERCEPTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PERCEPTS_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_replaced_only_where_the_caller_says_so(name: str, place: Path) -> None:
    file, write, whole = WRITERS[name]
    (place / file).write_bytes(FOREIGN)
    with pytest.raises(FileExistsError, match=f"{file} exists already.*overwrite=True"):
        write(place / file)
    assert (place / file).read_bytes() == FOREIGN
    if whole:
        write(place / file, overwrite=True)
        assert (place / file).read_bytes() not in (FOREIGN, b"")
        assert not [path for path in place.iterdir() if path.suffix in (".part", ".tmp")]


@pytest.mark.parametrize("name", WRITERS)
def test_a_link_is_not_followed(name: str, place: Path) -> None:
    file, write, _ = WRITERS[name]
    (place.parent / "mine").write_bytes(FOREIGN)
    (place / file).symlink_to(place.parent / "mine")
    with pytest.raises(FileExistsError, match="symbolic link"):
        write(place / file, overwrite=True)
    assert (place.parent / "mine").read_bytes() == FOREIGN and (place / file).is_symlink()


def functions_that_overwrite() -> Iterator[str]:
    root = Path(percepts.__file__).parent
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] in ROOMS:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and (node.name == "__init__" or not node.name.startswith("_")):
                given = (*node.args.args, *node.args.kwonlyargs)
                if "overwrite" in {argument.arg for argument in given}:
                    yield f"{path.relative_to(root)} {node.name}"


def test_every_function_that_can_overwrite_is_in_the_table() -> None:
    assert set(functions_that_overwrite()) == WRITERS.keys() | OTHERS


def test_the_sources_of_a_heatmap_and_of_tokens_are_inputs(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    found = percepts.similarity([tmp_path / "a.png"], model="fake-image")
    with pytest.raises(FileExistsError, match="never overwritten"):
        found.heatmap(tmp_path / "a.png", overwrite=True)
    from percepts.tasks.tokens import tokens

    os.link(tmp_path / "a.png", tmp_path / "a.npz")
    with pytest.raises(FileExistsError, match="never overwritten"):
        tokens(tmp_path / "a.png", "fake-image").save(tmp_path / "a.npz", overwrite=True)
    assert (tmp_path / "a.png").read_bytes() == before


# The functions themselves


def test_a_file_that_appears_while_the_work_goes_on_is_kept(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError), output_file(tmp_path / "a") as file:
        file.write(b"new")
        (tmp_path / "a").write_bytes(FOREIGN)
    assert (tmp_path / "a").read_bytes() == FOREIGN and os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["", ".", "..", "sub/", "a\0b", "x" * 300, "a/b", "日" * 100])
def test_a_name_that_nothing_can_have_is_an_error_that_says_so(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_bytes(FOREIGN)
    with pytest.raises((OSError, ValueError)) as error:
        check_output_file(name)
    assert (name or ".") in str(error.value) or "zero byte" in str(error.value)


@pytest.mark.parametrize("name", ["日" * 80 + ".npz", "-rf", " ", "a\nb", "\udcff.png", "x" * 255])
def test_any_other_name_is_written(name: str, tmp_path: Path) -> None:
    with output_file(tmp_path / name) as file:
        file.write(b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]


def test_inputs_that_are_no_files_of_this_machine_count_as_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(FOREIGN)
    strange = ["s3://bucket/a", "https://h/a", "a\0b", b"bytes of a picture", tmp_path / "absent", 7, None]
    check_output_file(tmp_path / "a", inputs=strange, overwrite=True)


def test_two_results_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="two results"):
        check_output_files([tmp_path / "a", tmp_path / "link" / "a"])


def written(folder: Path, data: bytes, **how: Any) -> None:
    with OutputFolder(folder, **how).file("sub/a") as file:
        file.write(data)


def test_a_folder_replaces_its_own_files_and_no_others(tmp_path: Path) -> None:
    written(tmp_path / "d", b"one")
    written(tmp_path / "d", b"two")
    (tmp_path / "d" / "sub" / "a").write_bytes(FOREIGN)
    with pytest.raises(FileExistsError, match="exists already"):
        written(tmp_path / "d", b"three")
    assert (tmp_path / "d" / "sub" / "a").read_bytes() == FOREIGN
    written(tmp_path / "d", b"three", overwrite=True)
    assert (tmp_path / "d" / "sub" / "a").read_bytes() == b"three"


def test_the_files_of_a_library_come_one_by_one_and_keep_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(FOREIGN)
    for names in (("a", "b"), ("a", "c")):
        with (
            pytest.raises(FileExistsError) if "b" in names else output_file(tmp_path / "x"),
            OutputFolder(tmp_path).staging() as folder,
        ):
            for name in names:
                (folder / name).write_bytes(b"new")
    assert (tmp_path / "b").read_bytes() == FOREIGN and (tmp_path / "c").read_bytes() == b"new"
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]


@pytest.mark.parametrize(
    "record", ["[]", "{}", "{", '{"files": [], "folders": 3}', "[" * 100_000, '{"files": {"a": 1}}']
)
def test_a_list_that_is_none_is_the_users(record: str, tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text(record)
    with pytest.raises(FileExistsError, match=RECORD):
        written(tmp_path, b"new")
    assert (tmp_path / RECORD).read_text() == record and os.listdir(tmp_path) == [RECORD]


def test_a_folder_inside_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError, match="symbolic link"):
        written(tmp_path / "d", b"new", overwrite=True)
    assert not os.listdir(tmp_path / "elsewhere")


@pytest.mark.parametrize("at", range(1, 6))
def test_a_kill_leaves_the_old_file_or_the_new_one_and_the_next_run_goes_on(at: int, tmp_path: Path) -> None:
    written(tmp_path, b"old")
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nimport percepts.support.files as files\n"
        f"left, replace = {at}, os.replace\n"
        "def die():\n    global left\n    left -= 1\n    left or os.kill(os.getpid(), signal.SIGKILL)\n"
        "def replaced(*a):\n    die(); replace(*a); die()\n"
        "files.os.replace = replaced\n"
        "from percepts.support.outputs import OutputFolder\n"
        "with OutputFolder(sys.argv[1]).file('sub/a') as file:\n    file.write(b'new')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode in (-signal.SIGKILL, 0), done.stderr
    assert (tmp_path / "sub" / "a").read_bytes() in (b"old", b"new")
    written(tmp_path, b"newer")
    assert (tmp_path / "sub" / "a").read_bytes() == b"newer"
