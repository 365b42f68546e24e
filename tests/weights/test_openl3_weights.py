"""OpenL3's weight files: every layout gives the same arrays, everything else is refused by name, downloads hold."""

from __future__ import annotations

import gzip
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import openl3_recipe as recipe
import pytest

from percepts.errors import WeightsError
from percepts.networks.openl3.plan import PublishedModel
from percepts.weights import openl3 as files

h5py = pytest.importorskip("h5py", reason="h5py is not installed")
MODEL = PublishedModel("audio", "mel256", "music")


def same(found: files.Weights, expected: list[np.ndarray]) -> None:
    for ours, theirs in zip(found.arrays, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("what", ["mel256", "image"])
@pytest.mark.parametrize("ending", [".h5", "-v0_4_0.h5.gz", "-v0_2_0.h5", "-v0_2_0.h5.gz"])
def test_every_layout_gives_the_same_arrays(tmp_path: Path, what: str, ending: str) -> None:
    path = recipe.write(tmp_path, "net", what, ending)
    same(files.read_weights(path, "image" if what == "image" else "audio"), recipe.arrays(what))


def test_safetensors_give_back_what_was_written(tmp_path: Path) -> None:
    held = files.read_weights(recipe.write(tmp_path, "net", "mel256"), "audio")
    files.write_safetensors(held, tmp_path / "net.safetensors")
    again = files.read_weights(tmp_path / "net.safetensors", "audio")
    same(again, recipe.arrays("mel256"))
    assert files.digest(again) == files.digest(held)
    assert files.find_modality(tmp_path / "net.safetensors") == "audio"


def test_another_seed_is_another_digest(tmp_path: Path) -> None:
    one, two = (files.OpenL3Weights("audio", tuple(recipe.arrays("mel256", seed))) for seed in (1, 2))
    assert files.digest(one) != files.digest(two)


def foreign(path: Path) -> Path:
    """An h5 of some other Keras network."""
    with h5py.File(path, "w") as file:
        group = file.create_group("dense_1")
        group.attrs["weight_names"] = [b"dense_1/kernel:0", b"dense_1/bias:0"]
        group.create_dataset("dense_1/kernel:0", data=np.ones((3, 4), "f"))
        group.create_dataset("dense_1/bias:0", data=np.ones(4, "f"))
        file.attrs["layer_names"] = [b"dense_1"]
    return path


def linked(path: Path) -> Path:
    """An h5 that would have the reader open another file."""
    with h5py.File(path, "w") as file:
        file["conv2d_1"] = h5py.ExternalLink("/etc/other.h5", "/x")
        file.attrs["layer_names"] = [b"conv2d_1"]
    return path


def bad_files(folder: Path) -> list[tuple[Path, str]]:
    whole = recipe.write(folder, "whole", "mel256", ".h5.gz").read_bytes()
    plain = {
        "truncated gzip": (whole[: len(whole) // 2], "ends too early"),
        "damaged gzip": (whole[:5000] + bytes(2000) + whole[7000:], "damaged gzip.h5"),
        "truncated h5": (recipe.h5("mel256")[:100_000], "truncated"),
        "pickle": (pickle.dumps({"a": 1}), "neither h5, gzip nor safetensors"),
        "empty": (b"", "neither h5, gzip nor safetensors"),
        "html": (b"<!DOCTYPE html><html>not found</html>", "neither h5, gzip nor safetensors"),
    }
    made = []
    for name, (data, why) in plain.items():
        path = folder / f"{name}.h5"
        path.write_bytes(data)
        made.append((path, why))
    made.append((foreign(folder / "foreign.h5"), r"expected \(1,\)"))
    made.append((linked(folder / "linked.h5"), "no group in it"))
    made.append((recipe.write(folder, "picture", "image"), r"array 0 is \(3,\), expected \(1,\)"))
    return made


def test_what_is_no_openl3_network_is_refused_by_name(tmp_path: Path) -> None:
    for path, why in bad_files(tmp_path):
        with pytest.raises(WeightsError, match=why) as error:
            files.read_weights(path, "audio")
        assert str(path) in str(error.value)


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    (tmp_path / "bomb.h5.gz").write_bytes(gzip.compress(bytes(files.MAX_BYTES + 10), 1))
    with pytest.raises(WeightsError, match="more than 64 MB"):
        files.read_weights(tmp_path / "bomb.h5.gz", "audio")


def test_a_missing_file_is_pythons_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.read_weights(tmp_path / "none.h5", "audio")


class Server(ThreadingHTTPServer):
    """Gives `data` at every path; breaks off after `breaks` bytes as often as is said there; counts requests."""

    def __init__(self, data: bytes) -> None:
        self.data, self.breaks, self.ranges, self.seen = data, list[int](), True, list[str]()
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.seen.append(wanted)
        at = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        if at and at >= len(self.server.data):
            self.send_error(416)
            return
        rest = self.server.data[at:]
        self.send_response(206 if at else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: self.server.breaks.pop()] if self.server.breaks else rest)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return recipe.write(tmp_path_factory.mktemp("packed"), "net", "mel256", "-v0_4_0.h5.gz").read_bytes()


@pytest.fixture
def server(packed: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    running = Server(packed)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(files, "URL", f"http://127.0.0.1:{running.server_port}/{{stem}}-v0_4_0.h5.gz")
    monkeypatch.setenv("PERCEPTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PERCEPTS_OPENL3_WEIGHTS", raising=False)
    monkeypatch.delenv("PERCEPTS_OFFLINE", raising=False)
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def test_weights_are_fetched_once(server: Server, packed: bytes) -> None:
    told: list[tuple[str, int, int]] = []
    path = files.local_path(MODEL, on_progress=lambda *said: told.append(said))
    assert path.read_bytes() == packed
    assert told[-1] == (path.name, len(packed), len(packed))
    assert files.local_path(MODEL) == path
    assert len(server.seen) == 1
    same(files.read_weights(path, "audio"), recipe.arrays("mel256"))


def test_a_broken_download_goes_on_where_it_broke_off(server: Server, packed: bytes) -> None:
    server.breaks = [0, 0, 0, 10_000, 50_000]
    with pytest.raises(WeightsError, match="run it again to go on from there"):
        files.local_path(MODEL)
    assert files.find_file(MODEL) is None
    assert files.local_path(MODEL).read_bytes() == packed
    assert server.seen == ["", "bytes=50000-", *["bytes=60000-"] * 4]


def test_a_server_that_cannot_go_on_sends_it_all_anew(server: Server, packed: bytes) -> None:
    server.breaks, server.ranges = [50_000], False
    assert files.local_path(MODEL).read_bytes() == packed


def test_a_wrong_file_is_not_kept(server: Server, packed: bytes) -> None:
    server.data = gzip.compress(b"<html>moved</html>")
    with pytest.raises(WeightsError, match="gave no weights of openl3-mel256-music"):
        files.local_path(MODEL)
    server.data = packed
    assert files.local_path(MODEL).read_bytes() == packed


def test_a_file_that_changed_in_the_cache_is_fetched_again(server: Server, packed: bytes, caplog) -> None:
    path = files.local_path(MODEL)
    path.write_bytes(packed[:-1])
    assert files.local_path(MODEL).read_bytes() == packed
    assert "is not the file that was fetched" in caplog.text
    assert len(server.seen) == 2


def test_offline_the_error_says_which_file_to_put_where(server: Server, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PERCEPTS_OFFLINE", "1")
    with pytest.raises(WeightsError) as error:
        files.local_path(MODEL)
    for part in ("openl3_audio_mel256_music-v0_4_0.h5.gz", str(tmp_path / "cache"), "PERCEPTS_OPENL3_WEIGHTS=DIR"):
        assert part in str(error.value)
    assert not server.seen


def test_a_server_that_is_not_there_is_such_an_error_too(server: Server, monkeypatch) -> None:
    monkeypatch.setattr(files, "URL", "http://127.0.0.1:9/{stem}")
    with pytest.raises(WeightsError, match=r"Put openl3_audio_mel256_music-v0_4_0.h5.gz"):
        files.local_path(MODEL)


@pytest.mark.parametrize("ending", [".h5", "-v0_4_0.h5.gz", "-v0_2_0.h5.gz"])
def test_a_folder_of_ones_own_comes_before_the_cache(server: Server, monkeypatch, tmp_path: Path, ending: str) -> None:
    own = tmp_path / "own"
    own.mkdir()
    path = recipe.write(own, MODEL.stem, "mel256", ending)
    assert files.local_path(MODEL, own) == path
    monkeypatch.setenv("PERCEPTS_OPENL3_WEIGHTS", str(own))
    assert files.local_path(MODEL) == path
    assert not server.seen
    assert files.list_missing([MODEL, PublishedModel("image", "linear", "env")])[0].stem == "openl3_image_linear_env"
