"""Read the package indexes that pip and uv use from their environment variables and configuration files."""

from __future__ import annotations

import configparser
import os
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import platformdirs

from .download import TIMEOUT_S, Access

PYPI = "https://pypi.org/simple"


@dataclass(frozen=True, slots=True)
class Indexes:
    """Where packages come from: URLs of indexes, folders and pages of links, and how to reach them."""

    indexes: tuple[str, ...]
    links: tuple[str, ...]
    access: Access


def read_indexes() -> Indexes:
    """Return what pip and uv would use together, without running either; PyPI where neither names an index.

    Project files (pyproject.toml, uv.toml of a project) are not read: the folder that a user happens to stand in does
    not decide where weights come from.
    """
    pip, uv = _read_pip_options(), _read_uv_options()
    no_index = _is_true(pip.get("no-index")) or _is_true(uv.get("no-index"))
    defaults = [*_split_words(pip.get("index-url"))[:1], *uv.get("default", [])]
    extras = [*_split_words(pip.get("extra-index-url")), *uv.get("extra", [])]
    indexes = [] if no_index else [*(defaults or [PYPI]), *extras]
    return Indexes(
        # The sort is stable, so that the user's order stays among local and among remote ones.
        tuple(dict.fromkeys(sorted(indexes, key=_is_remote))),
        tuple(dict.fromkeys([*_split_words(pip.get("find-links")), *uv.get("links", [])])),
        Access(
            certificates=pip.get("cert", ""),
            proxy=pip.get("proxy", ""),
            # pip allows HOST:PORT here; the port is not compared.
            trusted=tuple(host.partition(":")[0] for host in _split_words(pip.get("trusted-host"))),
            # pip documents PIP_DEFAULT_TIMEOUT, while its option is called --timeout.
            timeout=_parse_seconds(pip.get("default-timeout") or pip.get("timeout")),
        ),
    )


def _is_remote(place: str) -> bool:
    """Return whether an index is not on this machine; local ones come first, since they cost nothing to ask."""
    return urlsplit(place).scheme in ("http", "https")


def _split_words(value: str | None) -> list[str]:
    return (value or "").split()


def _is_true(value: Any) -> bool:
    # pip's words for true, those of distutils' strtobool.
    return str(value).lower() in ("1", "true", "yes", "on", "y", "t")


def _parse_seconds(value: str | None) -> float:
    try:
        # A timeout of 0 would make the sockets non-blocking.
        return max(1.0, float(value)) if value else TIMEOUT_S
    except ValueError:
        return TIMEOUT_S


# pip


def _read_pip_options() -> dict[str, str]:
    """Read the options of `pip download`: files from the most general to the most special, then the environment."""
    found: dict[str, str] = {}
    for path in _list_pip_files():
        # Raw: a % in a password is no interpolation.
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (OSError, configparser.Error, UnicodeDecodeError):
            continue  # pip itself says what is wrong with it
        # As in pip, the section of the command wins over the general one.
        for section in ("global", "download"):
            if parser.has_section(section):
                found |= {key.replace("_", "-"): value for key, value in parser.items(section)}
    prefix = "PIP_"
    for name, value in os.environ.items():
        if name.startswith(prefix) and value:
            found[name.removeprefix(prefix).lower().replace("_", "-")] = value
    return found


def _list_pip_files() -> Iterator[Path]:
    """Yield pip's files, as https://pip.pypa.io/en/stable/topics/configuration/#location lists them."""
    special = os.environ.get("PIP_CONFIG_FILE")
    # This is how pip itself is told to read no file.
    if special == os.devnull:
        return
    name = "pip.ini" if os.name == "nt" else "pip.conf"
    yield from (folder / "pip" / name for folder in _list_system_folders())
    if os.name != "nt":
        yield Path("/etc/pip.conf")
    home = Path.home()
    # pip's older place for the settings of a user, which it still reads.
    yield home / ("pip" if os.name == "nt" else ".pip") / name
    yield platformdirs.user_config_path("pip", appauthor=False, roaming=True) / name
    if sys.platform == "darwin":
        yield home / ".config" / "pip" / name
    yield Path(sys.prefix) / name  # of the virtual environment
    if special:
        yield Path(special)


def _list_system_folders() -> list[Path]:
    if os.name == "nt":
        return [Path(os.environ.get("PROGRAMDATA", "C:/ProgramData"))]
    if sys.platform == "darwin":
        return [Path("/Library/Application Support")]
    named = os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    # The first folder of XDG_CONFIG_DIRS matters most, so pip reads it last.
    return [Path(folder) for folder in reversed(named.split(os.pathsep)) if folder]


# uv


def _read_uv_options() -> dict[str, Any]:
    """Read {"default", "extra", "links", "no-index"} of uv's environment, else of its configuration for this user."""
    environment, files = _read_uv_environment(), _read_uv_file()
    return {key: environment.get(key) or files.get(key) or [] for key in ("default", "extra", "links", "no-index")}


def _read_uv_environment() -> dict[str, Any]:
    get = os.environ.get
    return {
        # UV_INDEX_URL and UV_EXTRA_INDEX_URL are uv's older names, which it still takes.
        "default": [_parse_named_index(url) for url in (get("UV_DEFAULT_INDEX") or get("UV_INDEX_URL"),) if url],
        "extra": [
            _parse_named_index(url) for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL") for url in _split_words(get(name))
        ],
        # uv separates links by commas, where pip has spaces.
        "links": [link for link in (get("UV_FIND_LINKS") or "").replace(",", " ").split() if link],
        "no-index": get("UV_NO_INDEX"),
    }


def _read_uv_file() -> dict[str, Any]:
    """Read uv's file, as https://docs.astral.sh/uv/concepts/configuration-files/ describes it."""
    if _is_true(os.environ.get("UV_NO_CONFIG")):
        return {}
    for path in _list_uv_files():
        try:
            # ValueError covers bad TOML and bad UTF-8; uv itself says what is wrong with it.
            row = tomllib.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue
        return _parse_uv_settings(row)
    return {}


def _list_uv_files() -> Iterable[Path]:
    if special := os.environ.get("UV_CONFIG_FILE"):
        return [Path(special)]
    user = platformdirs.user_config_path("uv", appauthor=False, roaming=True)
    return [
        user / "uv.toml",
        Path.home() / ".config" / "uv" / "uv.toml",
        # uv takes the first file that there is, so the folder that matters most comes first again.
        *(folder / "uv" / "uv.toml" for folder in reversed(_list_system_folders())),
        Path("/etc/uv/uv.toml"),
    ]


def _parse_uv_settings(row: Mapping[str, Any]) -> dict[str, Any]:
    pip = row.get("pip") if isinstance(row.get("pip"), dict) else {}
    both = [row, pip or {}]
    indexes = [index for index in _as_list(row.get("index")) if isinstance(index, dict) and index.get("url")]
    urls = {True: [], False: []}  # type: dict[bool, list[str]]
    for index in indexes:
        urls[bool(index.get("default"))].append(_add_credentials(str(index.get("name") or ""), str(index["url"])))
    return {
        "default": urls[True] or [str(part["index-url"]) for part in both if part.get("index-url")],
        "extra": urls[False] + [str(url) for part in both for url in _as_list(part.get("extra-index-url"))],
        "links": [str(link) for part in both for link in _as_list(part.get("find-links"))],
        "no-index": any(part.get("no-index") is True for part in both),
    }


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _parse_named_index(text: str) -> str:
    """Parse an index as UV_INDEX names it: URL, or NAME=URL."""
    # A URL may have an = of its own, in its query: what stands before it is then no name.
    name, equals, url = text.partition("=")
    return _add_credentials(name, url) if equals and name.replace("-", "").replace("_", "").isalnum() else text


def _add_credentials(name: str, url: str) -> str:
    """Add the user and password that uv takes for an index of this name from the environment."""
    key = "".join(letter if letter.isalnum() else "_" for letter in name.upper())
    user = os.environ.get(f"UV_INDEX_{key}_USERNAME", "")
    password = os.environ.get(f"UV_INDEX_{key}_PASSWORD", "")
    parts = urlsplit(url)
    if not name or not (user or password) or "@" in parts.netloc:
        return url
    # Nothing is safe for quote(): a / or @ in a password would end this part of the URL.
    return parts._replace(netloc=f"{quote(user, '')}:{quote(password, '')}@{parts.netloc}").geturl()
