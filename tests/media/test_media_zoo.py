"""Every file of the zoo is either clips or a named error, from its path and from its bytes alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from zoo import BAD, FILMS, PICTURES, SOUNDS, Zoo

from percepts.errors import MediaError
from percepts.media import open_image, probe, stream_audio, stream_frames
from percepts.types import Clip

pytestmark = pytest.mark.filterwarnings("ignore:(Corrupt EXIF|Truncated File)")  # Pillow's, beside our error


def decoded(source: Path | bytes) -> list[Clip]:
    """Everything a job would decode of it, in order."""
    found = probe(source)
    clips = [open_image(source)] if found.kind == "image" else []
    clips += stream_frames(source, fps=5) if found.video else []
    clips += stream_audio(source, block=0.3) if found.audio else []
    return clips


@pytest.mark.parametrize("name", [*PICTURES, *SOUNDS, *FILMS])
def test_good_files_give_clips_of_their_kind(zoo: Zoo, name: str) -> None:
    path = zoo.folder / name
    assert probe(path).kind == zoo.kinds[path]
    clips = decoded(path)
    assert clips and all(clip.source == str(path) and clip.data.size for clip in clips)
    assert all(np.isfinite(clip.data).all() and np.abs(clip.data).max() <= 1 for clip in clips if clip.kind == "audio")


@pytest.mark.parametrize("name", [*PICTURES, *SOUNDS, *FILMS])
def test_bytes_give_what_the_path_gives(zoo: Zoo, name: str) -> None:
    path = zoo.folder / name
    ours, theirs = decoded(path), decoded(path.read_bytes())
    assert probe(path) == probe(path.read_bytes())
    assert [(c.kind, c.rate, c.start) for c in ours] == [(c.kind, c.rate, c.start) for c in theirs]
    assert all(np.array_equal(a.data, b.data) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", BAD)
def test_bad_files_give_an_error_that_names_them_at_their_stage(zoo: Zoo, name: str) -> None:
    path = zoo.folder / name
    call = probe if zoo.bad[path] == "probe" else decoded
    with pytest.raises(MediaError) as caught:
        call(path)
    assert name in str(caught.value)
    if zoo.bad[path] == "decode":
        probe(path)


def test_links_in_circles_lead_to_no_file(zoo: Zoo) -> None:
    loops = [path for path in zoo.bad if path.is_symlink()]
    if not loops:
        pytest.skip("this system makes no symbolic links")
    for path in loops:
        with pytest.raises(FileNotFoundError, match=path.name):
            probe(path)


def test_an_unreadable_file_is_python_s_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(b"")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)  # root reads whatever its mode says
    with pytest.raises(PermissionError, match=r"x\.jpg"):
        probe(path)
