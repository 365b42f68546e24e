"""Names of older releases work until the release that removes them, and say what to write instead."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path

import pytest
from PIL import Image

import percepts
from percepts.cli import main
from percepts.stores.scoring import Hit, Match
from percepts.support.deprecated import OldArgument, accept_old_arguments
from percepts.types import Record

GOES = r"is deprecated and will be removed in percepts 0\.3\.0: use "
MODULES = {
    "percepts": percepts._RENAMED,
    "percepts.encoders": importlib.import_module("percepts.encoders")._RENAMED,
    "percepts.adapters": importlib.import_module("percepts.adapters")._RENAMED,
    "percepts.types": {"Frames": "Features"},
}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (32, 24), "red").save(tmp_path / "red.png")
    return tmp_path / "red.png"


@pytest.mark.parametrize(
    ("module", "old", "new"), [(module, *pair) for module, renamed in MODULES.items() for pair in renamed.items()]
)
def test_an_old_name_is_the_new_one(module: str, old: str, new: str) -> None:
    home = importlib.import_module(module)
    with pytest.warns(DeprecationWarning, match=rf"^{module}\.{old} {GOES}{module}\.{new}$") as caught:
        assert getattr(home, old) is getattr(home, new)
    assert caught[0].filename == __file__
    assert old not in getattr(home, "__all__", ()) and old not in dir(home)


def test_a_name_that_never_was_is_an_attribute_error() -> None:
    for module in MODULES:
        with pytest.raises(AttributeError, match="nonsense"):
            _ = importlib.import_module(module).nonsense


def test_old_arguments_of_embed_iter_and_embed(photo: Path) -> None:
    with pytest.warns(DeprecationWarning, match=rf"^embed_iter\(whole=\) {GOES}rows=\"source\"$") as caught:
        (record,) = percepts.embed_iter(photo, "fake-image", whole=True)  # type: ignore[call-arg]
    assert caught[0].filename == __file__
    assert repr(record) == repr(next(percepts.embed_iter(photo, "fake-image", rows="source")))
    with pytest.warns(DeprecationWarning, match=r"^embed\(whole=\)"):
        percepts.embed(photo, photo.parent / "old", models=["fake-image"], whole=True, workers=0)  # type: ignore[call-arg]
    again = percepts.embed(photo, photo.parent / "old", models=["fake-image"], rows="source", workers=0)
    assert (again.done, again.unchanged) == (0, 1)


def test_old_arguments_of_search_and_similarity(photo: Path) -> None:
    percepts.embed(photo, photo.parent / "out", models=["fake-image"], workers=0)
    with pytest.warns(DeprecationWarning, match=rf"^search\(folder=\) {GOES}under=$"):
        assert percepts.search(photo.parent / "out", "red", folder="/nowhere") == []  # type: ignore[call-arg]
    with pytest.warns(DeprecationWarning, match=rf"^similarity\(to=\) {GOES}against=$"):
        found = percepts.similarity(photo, to=photo, model="fake-image")  # type: ignore[call-arg]
    assert found.matrix.shape == (1, 1)
    with pytest.warns(DeprecationWarning, match=rf"^Similarity\.temperature {GOES}\.logit_scale$"):
        assert found.temperature is None


def test_the_old_task_of_labels(photo: Path) -> None:
    labels = ["red", "blue"]
    with pytest.warns(DeprecationWarning, match=rf"^zero_shot\(task=\) {GOES}multi_label=True or False$"):
        old = percepts.zero_shot(photo, labels, model="fake-image", task="single")  # type: ignore[call-arg]
    assert old.overall.scores == percepts.zero_shot(photo, labels, model="fake-image", multi_label=False).overall.scores
    with pytest.warns(DeprecationWarning), pytest.raises(ValueError, match="single or multi"):
        percepts.zero_shot(photo, labels, model="fake-image", task="both")  # type: ignore[call-arg]
    with pytest.warns(DeprecationWarning, match=rf"^LabelResult\.whole {GOES}\.overall$"):
        assert old.whole is old.overall


def test_old_fields_of_hits_and_of_the_streaming_config() -> None:
    hit = Hit(Record("a", 0, 0, "m", "image"), 1.0, (Match("vector", 1.0, "m"),))
    with pytest.warns(DeprecationWarning, match=rf"^Hit\.matched {GOES}\.matches$"):
        assert hit.matched == hit.matches
    assert [field.name for field in dataclasses.fields(hit)] == ["record", "score", "matches"]
    with pytest.warns(DeprecationWarning, match=rf"^StreamingConfig\(chunk=\) {GOES}chunk_s=$"):
        assert percepts.StreamingConfig(chunk=2.0) == percepts.StreamingConfig(chunk_s=2.0)  # type: ignore[call-arg]


def test_the_old_and_the_new_name_at_once_are_refused() -> None:
    @accept_old_arguments(old=OldArgument("new"))
    def function(new: int = 0) -> int:
        return new

    assert function(new=3) == 3
    with pytest.raises(TypeError, match=r"got new and old, its old name: give new alone"):
        function(new=1, old=2)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("old", "new", "today"),
    [
        ("embed red.png -m fake-image -o {} --workers 0 --whole",
         "embed red.png -m fake-image -o {} --workers 0 --rows source", "--rows source"),
        ("search vectors --sound clap.wav", "search vectors --audio clap.wav", "--audio"),
        ("search vectors red --folder .", "search vectors red --under .", "--under"),
        ("zero-shot red.png -l red -l blue -m fake-image --task single",
         "zero-shot red.png -l red -l blue -m fake-image --single-label", "--multi-label or --single-label"),
        ("similarity red.png -m fake-image --to red.png", "similarity red.png -m fake-image --against red.png",
         "--against"),
    ],
)  # fmt: skip
def test_an_old_option_does_what_the_new_one_does_and_says_so(
    old: str, new: str, today: str, photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photo.parent)
    if old.startswith("search"):
        Path("clap.wav").write_bytes(wav())
        run("embed red.png clap.wav -m fake-image -m fake-audio -o vectors --workers 0", capsys)
    (code, out, err), expected = run(old.format("old"), capsys), run(new.format("new"), capsys)
    assert (code, expected[0]) == (0, 0), err
    assert out.split(" (")[0].replace("in old", "in new") == expected[1].split(" (")[0]
    assert f"will be removed in percepts 0.3.0: use {today}" in err
    assert "deprecated" not in expected[2]


@pytest.mark.parametrize("command", ["embed", "search", "classify", "zero-shot", "similarity"])
def test_old_options_are_not_in_the_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, text, _ = run(f"{command} --help", capsys)
    assert not {"--whole", "--sound", "--folder", "--task", "--to"} & set(text.replace(",", " ").split())


def test_an_old_option_beside_the_new_one_is_refused(
    photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photo.parent)
    code, _, err = run("similarity red.png -m fake-image --to red.png --against red.png", capsys)
    assert code == 2 and "old name of --against" in err


def run(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    """Run a command in this process; its exit code, stdout and stderr."""
    with pytest.raises(SystemExit) as end:
        main(line.split())
    shown = capsys.readouterr()
    return end.value.code or 0, shown.out, shown.err


def wav() -> bytes:
    import io

    import numpy as np
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.sin(np.arange(16000) / 9).astype(np.float32), 8000, format="WAV")
    return file.getvalue()
