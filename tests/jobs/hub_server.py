"""A server that speaks what huggingface_hub's file system asks of a hub: one dataset, read from a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

REPO = "me/photos"
COMMIT = {"id": "0" * 40, "title": "made", "date": "2026-11-25T00:00:00.000Z"}


class _Hub(BaseHTTPRequestHandler):
    """As https://huggingface.co/docs/hub/api has it; what is not there is a 404 with the hub's own code."""

    folder: Path

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        parts = [unquote(part) for part in unquote(url.path).strip("/").split("/")]
        match parts:
            case ["api", "datasets", *repo] if "/".join(repo[:2]) == REPO and (repo[2:3] in ([], ["revision"])):
                self._answer(
                    {"id": REPO, "sha": COMMIT["id"], "private": False, "downloads": 0, "likes": 0, "tags": []}
                )
            case ["api", "datasets", *repo] if "/".join(repo[:2]) == REPO and repo[2] == "tree":
                self._tree("/".join(repo[4:]), parse_qs(url.query).get("recursive") == ["true"])
            case ["datasets", *repo] if "/".join(repo[:2]) == REPO and repo[2] == "resolve":
                self._file(self.folder / "/".join(repo[4:]))
            case _:
                self._missing("RepoNotFound")

    def do_POST(self) -> None:
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        paths = [self.folder / name for name in asked.get("paths", [])]
        self._answer([self._entry(path) for path in paths if path.exists()])

    def _tree(self, below: str, recursive: bool) -> None:
        where = self.folder / below
        if where.is_dir():
            self._answer([self._entry(path) for path in sorted(where.rglob("*") if recursive else where.iterdir())])
        else:
            self._missing("EntryNotFound")

    def _entry(self, path: Path) -> dict[str, Any]:
        kind, size = ("directory", 0) if path.is_dir() else ("file", path.stat().st_size)
        name = path.relative_to(self.folder).as_posix()
        return {"type": kind, "path": name, "size": size, "oid": "0" * 40, "lastCommit": COMMIT}

    def _file(self, path: Path) -> None:
        if not path.is_file():
            self._missing("EntryNotFound")
            return
        data = path.read_bytes()
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        stop = int(last) + 1 if last else len(data)
        self._answer(data[int(first) : stop], 206, {"Content-Range": f"bytes {first}-{stop - 1}/{len(data)}"})

    def _missing(self, code: str) -> None:
        self._answer({"error": code}, 404, {"X-Error-Code": code, "X-Error-Message": code})

    def _answer(self, what: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = what if isinstance(what, bytes) else json.dumps(what).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words: object) -> None:
        """Nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address while it serves this folder as the dataset REPO."""
    handler = type("Hub", (_Hub,), {"folder": folder})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
