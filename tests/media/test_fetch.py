"""URLs: only of hosts that were named, only at addresses that were checked, never more or longer than allowed."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from percepts.errors import FetchError, MediaTooLarge
from percepts.media import Fetcher
from percepts.media.fetch import is_public

BODY = b"\x89PNG" + bytes(100_000)


class Handler(http.server.BaseHTTPRequestHandler):
    """Every way of answering, by path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        getattr(self, "do_" + self.path.strip("/").partition("?")[0].replace("-", "_"))()

    def answer(self, status: int = 200, body: bytes = BODY, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def do_good(self) -> None:
        self.answer()

    def do_chunked(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(BODY), 1000):
            part = BODY[at : at + 1000]
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def do_missing(self) -> None:
        self.answer(404, b"no")

    def do_busy(self) -> None:
        self.answer(503, b"later")

    def do_short(self) -> None:
        self.answer(length=len(BODY) + 10)

    def do_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(bytes(2**16))
        except OSError:
            self.close_connection = True

    def do_slow(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.trickle()

    def do_slow_head(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        self.trickle()

    def trickle(self) -> None:
        try:
            for _ in range(200):
                self.wfile.write(b".")
                time.sleep(0.05)
        except OSError:
            pass
        self.close_connection = True

    def do_reset(self) -> None:
        self.connection.close()
        self.close_connection = True

    def do_junk(self) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH\r\n")
        self.close_connection = True

    def do_packed(self) -> None:
        self.answer(Content_Encoding="gzip")

    def do_once(self) -> None:
        self.answer(302, b"", Location="/good")

    def do_loop(self) -> None:
        self.answer(302, b"", Location="/loop")

    def do_nowhere(self) -> None:
        self.answer(302, b"")

    def do_away(self) -> None:
        self.answer(302, b"", Location="http://other.example/good")

    def do_inside(self) -> None:
        self.answer(302, b"", Location=f"http://inside.example:{self.server.server_address[1]}/good")

    def do_file(self) -> None:
        self.answer(302, b"", Location="file:///etc/passwd")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass  # clients that hang up are what is tested

    with Quiet(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def fetcher(port: int, **options: Any) -> Fetcher:
    return Fetcher(hosts=(f"127.0.0.1:{port}",), **{"private": True, "seconds": 10.0} | options)


@pytest.mark.parametrize("path", ["good", "chunked", "once", "good?size=3&x=%20#part"])
def test_what_is_allowed_is_got(port: int, path: str) -> None:
    assert fetcher(port).get(f"http://127.0.0.1:{port}/{path}") == BODY


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing", "HTTP 404"),
        ("busy", "HTTP 503"),
        ("short", "10 bytes before its Content-Length"),
        ("reset", "reset"),
        ("junk", "junk"),
        ("packed", "gzip"),
        ("loop", "more than 5 redirects"),
        ("nowhere", "no Location"),
        ("away", r"other\.example.* is not allowed"),
        ("file", "expected http or https, got 'file'"),
    ],
)
def test_other_answers_are_errors_that_name_the_url(port: int, path: str, message: str) -> None:
    with pytest.raises(FetchError, match=message):
        fetcher(port).get(f"http://127.0.0.1:{port}/{path}")


@pytest.mark.parametrize("path", ["good", "chunked", "endless"])
def test_bytes_are_capped_whatever_is_announced(port: int, path: str) -> None:
    with pytest.raises(MediaTooLarge, match="max_bytes"):
        fetcher(port, max_bytes=50_000).get(f"http://127.0.0.1:{port}/{path}")
    if path != "endless":
        assert len(fetcher(port, max_bytes=len(BODY)).get(f"http://127.0.0.1:{port}/{path}")) == len(BODY)


@pytest.mark.parametrize("path", ["slow", "slow-head"])
def test_the_whole_exchange_is_capped_and_not_each_read(port: int, path: str) -> None:
    """A byte every 50 ms for ten seconds: no single read is late."""
    with pytest.raises(FetchError, match=r"no answer within 0\.3 s"):
        fetcher(port, seconds=0.3).get(f"http://127.0.0.1:{port}/{path}")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/x",
        "gopher://example.org/x",
        "data:,x",
        "/etc/passwd",
        "",
        "http://",
        "http://other.example/x",
        "http://example.org.evil.example/x",
        "http://notexample.org/x",
        "http://example.org:81/x",
        "https://example.org:80/x",
        "http://example.org:99999/x",
        "http://user@example.org/x",
        "http://user:secret@example.org/x",
        "http://example.org@other.example/x",
        "http://[::1/x",
        "http://wild.example/x",
        "http://wild.example.org/x",
    ],
)
def test_other_hosts_schemes_and_ports_are_refused_unasked(url: str) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("it was looked up")

    with pytest.raises(FetchError) as caught:
        Fetcher(hosts=("example.org", "*.wild.example"), resolve=never).get(url)
    assert "secret" not in str(caught.value)


def stub(*addresses: str) -> Any:
    """A resolver whose answers are these."""

    def resolve(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        kind = socket.AF_INET6 if ":" in addresses[0] else socket.AF_INET
        return [(kind, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return resolve


@pytest.mark.parametrize("host", ["EXAMPLE.org", "example.org.", "a.wild.example", "a.b.wild.example"])
def test_allowed_names_are_looked_up_in_any_case(host: str) -> None:
    with pytest.raises(FetchError, match=r"127\.0\.0\.1, which is not a public address"):
        Fetcher(hosts=("example.org", "*.Wild.example"), resolve=stub("127.0.0.1")).get(f"http://{host}/x")


PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
    "fc00::1",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
    "2001:db8::1",
    "fec0::1",  # the next ones are missing in the tables of Python 3.11
    "feff::1",
    "192.0.0.8",
    "192.0.0.170",
    "192.88.99.1",
    "64:ff9b:1:2::a00:1",
    "::ffff:0:10.0.0.1",
    "100::1",
    "2001::1",
    "2001:2::1",
    "2001:20::1",
    "3fff::1",
    "5f00::1",
    "198.19.255.255",
    "203.0.113.1",
    "192.175.48.1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_no_name_leads_inside(address: str) -> None:
    assert not is_public(address)
    for scheme in ("http", "https"):
        with pytest.raises(FetchError, match="not a public address"):
            Fetcher(hosts=("example.org",), resolve=stub(address)).get(f"{scheme}://example.org/x")


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_the_open_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]"])
def test_addresses_in_disguise_lead_nowhere_even_when_they_are_allowed(host: str) -> None:
    with pytest.raises(FetchError):
        Fetcher(hosts=(host, host.strip("[]"))).get(f"http://{host}/x")


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    with pytest.raises(FetchError, match=r"10\.0\.0\.1"):
        Fetcher(hosts=("example.org",), resolve=stub("93.184.216.34", "10.0.0.1")).get("http://example.org/x")


def test_a_name_that_changes_its_address_is_asked_once(port: int) -> None:
    """Rebinding: what is connected to is what was checked, since nobody looks a second time."""
    asked = []

    def resolve(host: str, where: int, **_: Any) -> Any:
        asked.append(host)
        return stub("127.0.0.1")(host, where)

    made = Fetcher(hosts=(f"example.org:{port}",), private=True, resolve=resolve)
    assert made.get(f"http://example.org:{port}/good") == BODY and asked == ["example.org"]


def test_a_redirect_is_checked_like_a_first_url(port: int) -> None:
    def resolve(host: str, where: int, **_: Any) -> Any:
        return stub("127.0.0.1")(host, where) if host == "127.0.0.1" else stub("10.0.0.1")(host, where)

    made = Fetcher(hosts=(f"127.0.0.1:{port}", f"inside.example:{port}"), resolve=resolve)
    with pytest.raises(FetchError, match=r"127\.0\.0\.1, which is not"):
        made.get(f"http://127.0.0.1:{port}/inside")
    allowed = Fetcher(hosts=(f"127.0.0.1:{port}",), resolve=resolve, private=True)
    with pytest.raises(FetchError, match=r"inside\.example.* is not allowed"):
        allowed.get(f"http://127.0.0.1:{port}/inside")


def test_a_host_that_does_not_answer_is_an_error(port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused
        closed = taken.getsockname()[1]
        with pytest.raises(FetchError, match=f"127.0.0.1:{closed}"):
            fetcher(closed).get(f"http://127.0.0.1:{closed}/x")
    # The second address of a name is tried when the first does not answer.
    made = Fetcher(hosts=(f"example.org:{port}",), private=True, resolve=stub("127.0.0.2", "127.0.0.1"))
    assert made.get(f"http://example.org:{port}/good") == BODY


def test_a_name_that_does_not_exist_is_an_error() -> None:
    def resolve(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(FetchError, match="Name or service not known"):
        Fetcher(hosts=("example.org",), resolve=resolve).get("http://example.org/x")


def test_https_wants_a_certificate(port: int) -> None:
    """A plain server behind an https URL: no bytes are exchanged in the clear."""
    with pytest.raises(FetchError):
        fetcher(port).get(f"https://127.0.0.1:{port}/good")
