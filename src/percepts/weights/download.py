"""Fetch one file by its URL, with resuming, checks and limits; all weights share this retry policy."""

from __future__ import annotations

import base64
import http.client
import netrc
import os
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ..support.files import open_file, remove_file
from .files import hash_file

MAX_TRIES = 3
"""Connections in a row without a byte before a source is given up; one that hangs counts twice."""
MAX_CONNECTIONS = 20
"""Connections for one file in all."""
PAUSE_S = 0.5
"""Seconds before the second try; twice as many before each further one."""
TIMEOUT_S = 60.0
"""Seconds without a byte after which a connection counts as dead."""
BLOCK_BYTES = 1 << 20
_TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that may be different at the next try."""


class Unavailable(Exception):
    """This source does not have the file; the message says why and holds no credentials."""


class _Interrupted(Exception):
    """The connection ended early or was not answered: worth another try."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach URLs.

    certificates   file or folder of certificate authorities; "": those of the environment, the system and certifi
    proxy          URL of a proxy; "": as the environment says
    trusted        hosts whose certificates are not verified
    timeout        seconds without an answer
    """

    certificates: str = ""
    proxy: str = ""
    trusted: tuple[str, ...] = ()
    timeout: float = TIMEOUT_S


def fetch_file(
    url: str,
    partial: Path,
    *,
    size: int | None = None,
    sha256: str = "",
    limit: int,
    access: Access | None = None,
    on_progress: Callable[[int, int], Any] | None = None,
) -> None:
    """Write the file at `url` to `partial`, which is resumed where it is there already.

    Args:
        url: https, or http where the user named an index by http.
        partial: stays where the connection breaks off, so that the next run goes on from it.
        size: bytes it must have, if known.
        sha256: digest it must have; a file with another one is removed.
        limit: bytes at which an unknown size ends.
        access: certificates, proxy and timeout.
        on_progress: called with the bytes that are here and those there will be (0 where unknown).

    Raises:
        Unavailable: the source does not have it, or does not answer.
    """
    resumed = _file_size(partial) > 0
    _fetch_all(url, partial, size, limit, access or Access(), on_progress or (lambda here, total: None))
    if not sha256 or (found := hash_file(partial)) == sha256:
        return
    remove_file(partial)
    if resumed:  # it may have begun with the bytes of another file
        fetch_file(url, partial, size=size, sha256=sha256, limit=limit, access=access, on_progress=on_progress)
        return
    raise Unavailable(f"not the file that was tested: expected sha256 {sha256}, got {found}")


def read_page(url: str, headers: Mapping[str, str], limit: int, access: Access) -> tuple[str, str, bytes]:
    """Return the final URL, the content type and the body of a page of at most `limit` bytes; Unavailable if none."""
    for attempt in range(1, MAX_TRIES + 1):
        try:
            with _open_url(url, headers, access) as answer:
                # One byte more shows whether the page is too large or just fits.
                body = answer.read(limit + 1)
                if len(body) > limit:
                    raise Unavailable(f"its page is larger than {limit >> 20} MB")
                # http.client's count of what is missing: read(n) raises nothing where the connection ends early.
                if answer.length:
                    raise _Interrupted(f"ended {answer.length} bytes early")
                return answer.geturl(), answer.headers.get_content_type(), body
        except (_Interrupted, OSError, http.client.HTTPException) as error:
            # A server that hangs costs a minute each time: the next source is asked instead.
            if attempt == MAX_TRIES or isinstance(error, TimeoutError):
                raise Unavailable(_describe_error(error)) from error
            time.sleep(PAUSE_S * 2 ** (attempt - 1))
    raise AssertionError("unreachable")


def strip_secrets(url: str) -> str:
    """Return a URL as it may be shown: without a user, a password and a query, which may be signed."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _fetch_all(
    url: str, partial: Path, size: int | None, limit: int, access: Access, on_progress: Callable[[int, int], Any]
) -> None:
    barren = 0
    for _ in range(MAX_CONNECTIONS):
        before = _file_size(partial)
        try:
            _fetch_more(url, partial, size, limit, access, on_progress)
            return
        except (_Interrupted, OSError, http.client.HTTPException) as error:
            # A connection that brought bytes shows that the source is alive.
            barren = 0 if _file_size(partial) > before else barren + (2 if _is_timeout(error) else 1)
            if barren >= MAX_TRIES:
                raise Unavailable(_describe_error(error)) from error
            why = _describe_error(error)
        time.sleep(PAUSE_S * 2 ** max(0, barren - 1))
    raise Unavailable(f"{why}; {MAX_CONNECTIONS} connections brought {_file_size(partial)} bytes")


def _fetch_more(
    url: str, partial: Path, size: int | None, limit: int, access: Access, on_progress: Callable[[int, int], Any]
) -> None:
    """Append what one connection brings. A server that cannot resume sends the whole file again."""
    here = _file_size(partial)
    # Longer than the pinned file, so it cannot be the beginning of it.
    if size is not None and here > size:
        remove_file(partial)
        here = 0
    if here and here == size:
        return
    try:
        answer = _open_url(url, {"Range": f"bytes={here}-"} if here else {}, access)
    except _RangeNotSatisfiable as error:
        if error.total == here:  # nothing is missing
            return
        remove_file(partial)
        raise _Interrupted("HTTP 416: another file than the one that was begun") from error
    with answer:
        start, total = _parse_range(answer, here)
        if start not in (0, here):
            remove_file(partial)
            raise _Interrupted(f"bytes from {start} were sent, those from {here} were asked for")
        if size is not None and total is not None and total != size:
            raise Unavailable(f"offers {total} bytes where the pinned file has {size}")
        here, expected = start, size if size is not None else total
        with open_file(partial, "ab" if start else "wb", permissions=0o600) as file:
            while here != size and (
                # One byte beyond the limit is how a file that is too long shows.
                block := answer.read(min(BLOCK_BYTES, (limit if size is None else size) - here + 1))
            ):
                here += len(block)
                if here > (limit if size is None else size):
                    # Emptied, or the next run would resume the wrong file.
                    file.truncate(0)
                    raise Unavailable(f"more than {limit if size is None else size} bytes")
                file.write(block)
                on_progress(here, expected or 0)
    if expected is not None and here < expected:
        raise _Interrupted(f"the connection ended after {here} of {expected} bytes; run it again to go on from there")


class _RangeNotSatisfiable(Exception):
    """HTTP 416: there are no bytes from there on."""

    def __init__(self, total: int | None):
        super().__init__("HTTP 416")
        self.total = total


def _open_url(url: str, headers: Mapping[str, str], access: Access) -> Any:
    """Open a URL. Raises Unavailable for an answer that stays, _Interrupted or OSError for one that may change."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise Unavailable(f"expected https, got {parts.scheme or 'no scheme'!r}")
    host = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(
        parts._replace(netloc=host, fragment="").geturl(),
        # Plain bytes: sizes and ranges are those of the file itself.
        headers={"User-Agent": "percepts", "Accept-Encoding": "identity", **headers},
    )
    if credentials := _find_credentials(parts.netloc.rpartition("@")[0], parts.hostname or ""):
        # Unredirected: credentials must not go on to another host.
        request.add_unredirected_header("Authorization", credentials)
    try:
        answer = _build_opener(parts.hostname or "", access).open(request, timeout=min(access.timeout, TIMEOUT_S))
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:
                total = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
                raise _RangeNotSatisfiable(int(total[1]) if total else None) from None
            kind = _Interrupted if error.code in _TRANSIENT_STATUSES else Unavailable
            raise kind(" ".join(f"HTTP {error.code} {error.reason}".split())) from None
    except urllib.error.URLError as error:
        reason = error.reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise Unavailable(f"its certificate cannot be verified: {reason.verify_message}") from None
        # A name server that does not answer may do so soon; an unknown host stays unknown.
        if isinstance(reason, socket.gaierror) and reason.errno != socket.EAI_AGAIN:
            raise Unavailable(f"no such host: {parts.hostname}") from None
        raise (reason if isinstance(reason, OSError) else _Interrupted(str(reason))) from None
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        answer.close()
        raise Unavailable(f"sends it as {encoding}, though plain bytes were asked for")
    return answer


class _RedirectHandler(urllib.request.HTTPRedirectHandler):
    """Follow a few redirects, never from https to anything else; credentials stay with the host they are for."""

    max_redirections = 5  # urllib allows 10

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if after.scheme not in ("http", "https") or (before.scheme == "https" and after.scheme != "https"):
            raise Unavailable(f"redirects to {strip_secrets(newurl)}, which is refused")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and before.netloc == after.netloc and (kept := req.unredirected_hdrs):
            # urllib leaves these behind at each redirect, even to another path of the same host.
            request.unredirected_hdrs.update({k: v for k, v in kept.items() if k == "Authorization"})
        return request


def _build_opener(host: str, access: Access) -> urllib.request.OpenerDirector:
    proxies = {"http": access.proxy, "https": access.proxy} if access.proxy else None
    context = _build_ssl_context(access)
    if host in access.trusted:
        # Only for hosts that the user's own pip settings call trusted.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return urllib.request.build_opener(
        urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context), _RedirectHandler()
    )


def _build_ssl_context(access: Access) -> ssl.SSLContext:
    # pip obeys these two variables, since it downloads with requests.
    named = access.certificates or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    context = ssl.create_default_context()  # which knows SSL_CERT_FILE and SSL_CERT_DIR
    try:
        if named:
            context.load_verify_locations(**{"capath" if os.path.isdir(named) else "cafile": named})
        elif not os.environ.get("SSL_CERT_FILE") and not os.environ.get("SSL_CERT_DIR"):
            import certifi  # Pythons that uv brings may know no authorities of the system

            context.load_verify_locations(certifi.where())
    except ImportError:
        pass
    except OSError as error:
        raise Unavailable(f"the certificates {named} cannot be read: {error}") from error
    return context


def _find_credentials(in_url: str, host: str) -> str:
    """Return the header for a user and password in the URL, else for those that netrc has for the host."""
    user, _, password = (unquote(part) for part in in_url.partition(":"))
    if not in_url:
        try:
            found = netrc.netrc(os.environ.get("NETRC")).hosts.get(host)
        except (OSError, netrc.NetrcParseError):  # none, or one that cannot be read: most sources ask for no password
            found = None
        if found is None:
            return ""
        user, _, password = found[0] or "", "", found[2] or ""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _parse_range(answer: Any, asked: int) -> tuple[int, int | None]:
    """Return the first byte that an answer holds, and the bytes of the whole file, None where it does not say."""
    length = answer.headers.get("Content-Length", "")
    # isdecimal(), since isdigit() lets "²" through, at which int() fails.
    rest = int(length) if length.isdecimal() else None
    if answer.status != 206:
        return 0, rest
    said = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if said is None:  # it does as it was asked, though it does not say so
        return asked, None if rest is None else asked + rest
    return int(said[1]), int(said[2]) if said[2] != "*" else None


def _file_size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_timeout(error: Exception) -> bool:
    return isinstance(error, TimeoutError)


def _describe_error(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
