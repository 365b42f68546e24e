"""Find a pinned wheel among the links of a package index (PEP 503, PEP 691), or of a folder or page of links."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import url2pathname

from .download import Access, Unavailable, read_page

# HTML, with a lower q, only where an index has no JSON (PEP 691).
ACCEPT = (
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1, "
    "application/xhtml+xml;q=0.1"
)
MAX_PAGE_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Link:
    """A file that an index offers: its URL, and its sha256 where the index says it."""

    url: str
    sha256: str = ""

    @property
    def name(self) -> str:
        """The name of the file."""
        return PurePosixPath(unquote(urlsplit(self.url).path)).name

    @property
    def path(self) -> Path | None:
        """Where it lies, if that is on this machine."""
        parts = urlsplit(self.url)
        return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def find_in_index(index: str, package: str, version: str, sha256: str, access: Access) -> Link:
    """Return the wheel of this version, in an index by URL or folder; Unavailable, with the reason, where it is not."""
    page = f"{index.rstrip('/')}/{_normalise_name(package)}/"
    return _choose_link(_read_links(page, access), package, version, sha256)


def find_in_links(place: str, package: str, version: str, sha256: str, access: Access) -> Link:
    """Return the same out of a folder with wheels in it, or a page of links."""
    return _choose_link(_read_links(place, access), package, version, sha256)


def _normalise_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()  # PEP 503


def _choose_link(links: Iterator[Link], package: str, version: str, sha256: str) -> Link:
    """Return the link with this digest, else the one of this name and version that says none."""
    others, fitting = [], None
    for link in links:
        if link.sha256 == sha256:
            return link
        # A wheel is called NAME-VERSION-PYTHON-ABI-PLATFORM.whl.
        parts = link.name.removesuffix(".whl").split("-")
        if not link.name.endswith(".whl") or len(parts) < 5 or _normalise_name(parts[0]) != _normalise_name(package):
            continue
        others.append(parts[1])
        if parts[1] == version:
            if link.sha256:  # it differs, or the link was returned above
                raise Unavailable(f"{link.name} is another file there: expected sha256 {sha256}, got {link.sha256}")
            fitting = fitting or link
    if fitting:
        return fitting
    known = ", ".join(dict.fromkeys(others[-5:]))
    raise Unavailable(f"no wheel of {package} {version} there" + (f"; it has {known}" if known else ""))


def _read_links(place: str, access: Access) -> Iterator[Link]:
    parts = urlsplit(place)
    if parts.scheme in ("http", "https"):
        url, kind, body = read_page(place, {"Accept": ACCEPT}, MAX_PAGE_BYTES, access)
        found = _parse_json_links(body, url) if kind.endswith("json") else _parse_html_links(body, url)
        # A page by https must not lead to files by http.
        yield from (link for link in found if urlsplit(link.url).scheme in ("https", parts.scheme))
    else:
        path = Path(url2pathname(parts.path)) if parts.scheme == "file" else Path(place).expanduser()
        yield from _read_local_links(path)


def _read_local_links(path: Path) -> Iterator[Link]:
    page = path / "index.html" if path.is_dir() else path
    try:
        if page.is_file():
            yield from _parse_html_links(page.read_bytes()[:MAX_PAGE_BYTES], page.absolute().as_uri())
        if path.is_dir():
            yield from (Link(wheel.absolute().as_uri()) for wheel in sorted(path.glob("*.whl")))
        elif not page.is_file():
            raise Unavailable("not there")
    except OSError as error:
        raise Unavailable(error.strerror or str(error)) from error


def _parse_json_links(body: bytes, base: str) -> Iterator[Link]:
    """Parse the JSON page of an index (PEP 691)."""
    try:
        files: list[dict[str, Any]] = json.loads(body)["files"]
        found = [Link(urljoin(base, str(file["url"])), _get_digest(file.get("hashes"))) for file in files]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable(f"its page cannot be read: {type(error).__name__}: {error}") from error
    yield from found


def _get_digest(hashes: Any) -> str:
    return str(hashes.get("sha256", "")).lower() if isinstance(hashes, dict) else ""


def _parse_html_links(body: bytes, base: str) -> Iterator[Link]:
    """Parse the HTML page of an index (PEP 503), where digests are in the fragments of links."""
    parser = _AnchorParser(base)
    parser.feed(body.decode("utf-8", "replace"))
    for href in parser.hrefs:
        try:
            url = urljoin(parser.base, href)
            fragment = re.search(r"(?:^|&)sha256=([0-9a-fA-F]{64})", urlsplit(url).fragment)
        except ValueError:  # urlsplit refuses some links, such as http://[: the others may still do
            continue
        yield Link(urlsplit(url)._replace(fragment="").geturl(), fragment[1].lower() if fragment else "")


class _AnchorParser(HTMLParser):
    """Parser that collects the targets of all links of a page, and their base."""

    def __init__(self, base: str):
        super().__init__()
        self.base = base
        self.hrefs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the target of a link or of the base."""
        target = dict(attrs).get("href")
        if target and tag == "a":
            self.hrefs.append(target)
        elif target and tag == "base":
            self.base = urljoin(self.base, target)
