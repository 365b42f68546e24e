"""Download URLs: only from hosts allowed by name, at public addresses, within limits of bytes and time."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from ..errors import FetchError, MediaTooLarge
from .source import is_url

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[..., list[tuple[Any, ...]]]

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# IPv6 prefixes that carry an IPv4 address: NAT64 (RFC 6052), IPv4-compatible, IPv4-translated.
_CARRIERS = tuple(ipaddress.IPv6Network(net) for net in ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96"))
# IANA's registries of special-purpose addresses, and what was withdrawn from use. Python's own table changes with its
# release, and that of 3.11 lacks some of these: https://www.iana.org/assignments/iana-ipv4-special-registry, …-ipv6-…
_NETS = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 "
    "192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 "
    "203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 "
    "::/127 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001:db8::/32 2620:4f:8000::/48 3fff::/20 5f00::/16 "
    "fc00::/7 fe80::/10 fec0::/10 ff00::/8"
)
_SPECIAL = tuple(map(ipaddress.ip_network, _NETS.split()))


@dataclass(frozen=True)
class Fetcher:
    """Downloader for URLs of allowed hosts. Every other URL is refused before a byte is sent.

    A name is resolved once for each redirect, and the connection goes to the address that was checked. So a name that
    changes its address in between (DNS rebinding) gains nothing. Proxies of the environment are not used.

    Attributes:
        hosts: allowed names: "example.org"; "*.example.org" for all below it; "example.org:8080" for another port.
        max_bytes: limit on the body, whatever its Content-Length says.
        seconds: limit on one download, redirects included. A system resolver that hangs is not interrupted.
        redirects: number of redirects to follow.
        private: connect to private, loopback and link-local addresses, too.
        resolve: function with the signature of `socket.getaddrinfo`.
    """

    hosts: tuple[str, ...]
    max_bytes: int = 2**28
    seconds: float = 60.0
    redirects: int = 5
    private: bool = False
    resolve: Resolver = field(default=socket.getaddrinfo, repr=False)

    def get(self, url: str) -> bytes:
        """Return the body of a URL.

        Raises:
            FetchError: the URL is not allowed or not reached, its status is not 200, or it takes over `seconds`.
            MediaTooLarge: the body has more than `max_bytes`.
        """
        deadline = time.monotonic() + self.seconds
        first = url
        for _ in range(self.redirects + 1):
            parts = self._check_allowed(url)
            body, target = self._request(parts, url, deadline)
            if target is None:
                return body
            # what was to be encrypted is not fetched in the open
            if parts.scheme == "https" and urlsplit(target).scheme == "http":
                raise FetchError(f"{first}: redirected from https to {target}, which is refused")
            url = target
        raise FetchError(f"{first}: more than {self.redirects} redirects")

    def _check_allowed(self, url: str) -> SplitResult:
        """Return the parts of a URL; raise FetchError where it may not be requested."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError as error:
            raise FetchError(f"{url}: is not a valid URL: {error}") from error
        if parts.scheme not in _PORTS:
            raise FetchError(f"{url}: expected http or https, got {parts.scheme or 'nothing'!r}")
        if parts.username is not None or parts.password is not None:
            raise FetchError(f"{parts.scheme}://…@{host}: names and passwords in a URL are refused")
        if not any(_matches_host(host, port or _PORTS[parts.scheme], parts.scheme, allowed) for allowed in self.hosts):
            names = ", ".join(self.hosts) or "none"
            raise FetchError(f"{url}: host {parts.netloc!r} is not allowed; allowed are: {names} (hosts)")
        return parts

    def _request(self, parts: SplitResult, url: str, deadline: float) -> tuple[bytes, str | None]:
        """Send one request; return the body, and the URL that it redirects to or None."""
        connection: http.client.HTTPConnection | None = None
        watch: threading.Timer | None = None
        ours: socket.socket | None = None
        try:
            raw = self._connect(parts, url, deadline)
            # A server that sends a byte a second never exceeds the timeout of a read; the timer ends the exchange.
            ours = raw.dup()
            watch = threading.Timer(max(0.0, deadline - time.monotonic()), _close_connection, (ours,))
            watch.daemon = True
            watch.start()
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port or _PORTS[parts.scheme])
            connection.auto_open = 0  # http.client would resolve the name again, and the address was checked
            connection.sock = _start_tls(raw, parts)
            path = parts._replace(scheme="", netloc="", fragment="", path=parts.path or "/").geturl()
            connection.request("GET", path, headers={"Accept-Encoding": "identity", "User-Agent": "percepts"})
            answer = self._read_response(connection.getresponse(), url)
            if time.monotonic() >= deadline:  # a connection closed by the timer looks like the end of a response
                raise TimeoutError
            return answer
        except MediaTooLarge:
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            if time.monotonic() >= deadline:
                raise FetchError(f"{url}: no answer within {self.seconds:g} s") from error
            if isinstance(error, FetchError):
                raise
            raise FetchError(f"{url}: {error or type(error).__name__}") from error
        finally:
            if watch is not None:
                watch.cancel()
            if ours is not None:
                ours.close()
            if connection is not None:
                connection.close()

    def _read_response(self, response: http.client.HTTPResponse, url: str) -> tuple[bytes, str | None]:
        if response.status in _REDIRECTS:
            target = response.getheader("Location")
            if not target:
                raise FetchError(f"{url}: redirects to nowhere (HTTP {response.status} with no Location)")
            return b"", urljoin(url, target)
        if response.status != 200:
            raise FetchError(f"{url}: HTTP {response.status} {response.reason}")
        if (encoding := response.getheader("Content-Encoding", "identity")) != "identity":
            raise FetchError(f"{url}: sent as {encoding}, though plain bytes were asked for")
        if response.length is not None and response.length > self.max_bytes:
            raise MediaTooLarge(f"{url}: {response.length} bytes, more than the {self.max_bytes} allowed (max_bytes)")
        body = bytearray()
        while data := response.read(2**16):
            body += data
            if len(body) > self.max_bytes:
                raise MediaTooLarge(f"{url}: more than the {self.max_bytes} bytes allowed (max_bytes)")
        if response.length:  # bytes missing of Content-Length: http.client raises nothing for reads of a given size
            raise FetchError(f"{url}: ended {response.length} bytes before its Content-Length")
        return bytes(body), None

    def _connect(self, parts: SplitResult, url: str, deadline: float) -> socket.socket:
        """Connect to the first address that answers. Raise FetchError where any address of the name is not public."""
        addresses = self.resolve(parts.hostname, parts.port or _PORTS[parts.scheme], type=socket.SOCK_STREAM)
        for *_, address in addresses:
            if not self.private and not is_public(str(address[0])):
                raise FetchError(f"{url}: {parts.hostname} is at {address[0]}, which is not a public address")
        failure: OSError = OSError("the name has no address")
        for family, kind, protocol, _, address in addresses:
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                connection.connect(address)
                return connection
            except OSError as error:
                connection.close()
                failure = error
        raise failure


def is_public(address: str) -> bool:
    """Return whether an IP address is public. An IPv4 address inside an IPv6 address is checked as IPv4."""
    ip: Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if any(ip in net for net in _CARRIERS):
            inner = inner or ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner:
            return is_public(str(inner))
    if any(ip in net for net in _SPECIAL):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not ip.is_unspecified


def _matches_host(host: str, port: int, scheme: str, allowed: str) -> bool:
    name, _, stated = allowed.lower().partition(":") if allowed.count(":") == 1 else (allowed.lower(), "", "")
    if port != (int(stated) if stated.isdigit() else _PORTS[scheme]):
        return False
    return host.endswith(name[1:]) and len(host) > len(name) - 1 if name.startswith("*.") else host == name


def _start_tls(raw: socket.socket, parts: SplitResult) -> socket.socket:
    if parts.scheme == "http":
        return raw
    try:
        return ssl.create_default_context().wrap_socket(raw, server_hostname=parts.hostname)
    except BaseException:
        raw.close()
        raise


def _close_connection(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it may be closed already
        connection.shutdown(socket.SHUT_RDWR)


__all__ = ["Fetcher", "is_public", "is_url"]
