"""A package index on this machine that speaks PEP 503 or PEP 691 and misbehaves as it is told."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class IndexServer(ThreadingHTTPServer):
    """Serves one wheel and a page that links to it, and notes what it was asked.

    form      "json" or "html", what the page is written in
    breaks    after how many bytes each answer of the wheel ends; what remains is sent whole
    statuses  HTTP statuses that the next answers have instead
    """

    daemon_threads = True

    def __init__(self, package: str, filename: str, data: bytes, sha256: str, form: str = "json") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.package, self.filename, self.data, self.sha256, self.form = package, filename, data, sha256, form
        self.breaks: list[int] = []
        self.statuses: list[int] = []
        self.ranges, self.absent, self.page = True, False, b""
        self.length: int | None = None
        self.target = ""
        self.headers: dict[str, str] = {}
        self.seen: list[tuple[str, str, str]] = []

    @property
    def url(self) -> str:
        """Of the index."""
        return f"http://127.0.0.1:{self.server_port}/simple"

    @property
    def fetched(self) -> list[str]:
        """The ranges that were asked of the wheel."""
        return [asked for path, asked, _ in self.seen if path.startswith("/files/")]

    def write_page(self) -> tuple[str, bytes]:
        """The content type and the page of the package."""
        link = f"../../files/{self.filename}"
        if self.form == "html":
            fragment = f"#sha256={self.sha256}" if self.sha256 else ""
            page = f'<!DOCTYPE html><html><body><a href="{link}{fragment}" data-yanked="old">x</a></body></html>'
            return "text/html", self.page or page.encode()
        file = {"filename": self.filename, "url": link, "hashes": {"sha256": self.sha256} if self.sha256 else {}}
        page = json.dumps({"meta": {"api-version": "1.1"}, "name": self.package, "files": [file]})
        return "application/vnd.pypi.simple.v1+json", self.page or page.encode()


class _Handler(BaseHTTPRequestHandler):
    server: Any
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer one request and close the connection."""
        self.close_connection = True
        server = self.server
        server.seen.append((self.path, self.headers.get("Range", ""), self.headers.get("Authorization", "")))
        if server.statuses:
            self.send_error(server.statuses.pop(0))
        elif self.path == f"/simple/{server.package}/" and not server.absent:
            kind, page = server.write_page()
            self._send(200, page, {"Content-Type": kind})
        elif self.path.startswith("/files/") and server.target:
            self._send(302, b"", {"Location": server.target})
        elif self.path in (f"/files/{server.filename}", "/moved") or "/resolve/" in self.path:
            self._file(server.data)
        else:
            self.send_error(404)

    def _file(self, data: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and self.server.ranges else 0
        if start >= len(data):
            return self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        headers = dict(self.server.headers)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(206 if start else 200, data[start:], headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        server = self.server
        is_file = status in (200, 206) and "Content-Type" not in headers
        self.send_response(status)
        length = server.length if server.length is not None and is_file else len(body)
        for name, value in {"Content-Length": str(length), "Connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: server.breaks.pop(0)] if server.breaks and is_file else body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(server: IndexServer) -> Iterator[IndexServer]:
    """Run it until the block ends."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
