"""Read a Hugging Face checkpoint, a folder of config.json and safetensors, without torch or transformers.

A checkpoint is named by a folder's absolute path or by "owner/name@revision". What it holds is data: weights are
safetensors and nothing in it is run, so there is no switch for remote code.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import WeightsError
from ..support.checkpoint_settings import Settings, check_cost, parse_json, read_settings
from .files import hash_file, is_offline

FETCH_PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model", "*/config.json", "README.md")
"""Files of a repository that are fetched: settings, weights, vocabularies, and the licence in the front matter."""
# The revision may hold slashes: "refs/pr/1" is one.
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_TRANSFORMERS_FILES = ("preprocessor_config.json", "processor_config.json", "generation_config.json")
"""Settings that transformers reads, too, and that are checked before it does."""
_MAX_HEADER_BYTES = 100_000_000
"""Largest header of a safetensors file; the limit of its own library."""
# numpy has no BF16, so that a scalar of this type counts as absent.
_DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32}


def is_checkpoint(name: str) -> bool:
    """Return whether this names a folder or a repository, and not weights of our own table."""
    return os.path.isabs(name) or _HUB_ID.fullmatch(name) is not None


def resolve_name(name: str) -> str | None:
    """Return the full name of a checkpoint that a user typed: an absolute path or owner/name@revision, else None.

    A folder that is there wins over a repository of the same name. Without a revision, that of the newest copy here is
    taken, else that of the hub, so that it is pinned from then on.
    """
    if os.path.isfile(os.path.join(name, "config.json")):
        return str(Path(name).resolve())
    if os.path.isdir(name):
        raise WeightsError(f"{name}: a folder without config.json is no checkpoint; it holds {_list_files(Path(name))}")
    # "./folder" would also match the pattern of a repository.
    if name.startswith((".", "/", "~")):
        raise WeightsError(f"{name}: there is no such folder; expected one with config.json and *.safetensors")
    if _HUB_ID.fullmatch(name) is None:
        return None
    repository, _, revision = name.partition("@")
    return f"{repository}@{_resolve_revision(repository, revision or 'main')}"


def local_path(name: str) -> Path:
    """Return the folder of a checkpoint, fetched if it is not here. WeightsError where it cannot be had."""
    if os.path.isabs(name):
        if not (Path(name) / "config.json").is_file():
            raise WeightsError(f"the checkpoint {name} is not here any more: expected a folder with config.json")
        return Path(name)
    repository, _, revision = name.partition("@")
    return _find_snapshot(repository, revision) or _fetch_snapshot(repository, revision)


def is_present(name: str) -> bool:
    """Return whether the checkpoint is here; nothing is fetched."""
    repository, _, revision = name.partition("@")
    return _is_complete(Path(name)) if os.path.isabs(name) else _find_snapshot(repository, revision) is not None


def hash_checkpoint(name: str) -> str:
    """Return the sha256 over the names and contents of all files of a checkpoint that can change a number."""
    root = local_path(name)
    # The last pattern is README.md, which changes no number. Sorted: glob has the order of the disk.
    files = sorted(path for pattern in FETCH_PATTERNS[:-1] for path in root.glob(pattern) if path.is_file())
    # With slashes on every system: on Windows the digest must be the same.
    sums = [f"{path.relative_to(root).as_posix()}={_hash_file(path, *_stat_key(path))}" for path in files]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()


@dataclass(frozen=True)
class Checkpoint:
    """Settings of a checkpoint, and single tensors of it."""

    folder: Path

    @classmethod
    def open(cls, name: str) -> Checkpoint:
        """Return the checkpoint of a name, after a check that it holds weights that can be read."""
        found = cls(local_path(name))
        if not any(found.folder.glob("*.safetensors")):
            raise WeightsError(
                f"{found.folder}: expected weights as *.safetensors, found {_list_files(found.folder)}; pickled ones "
                "are not read: save them again with save_pretrained, or take a revision that has safetensors"
            )
        # Read for the checks alone: transformers parses them again without any.
        for name in _TRANSFORMERS_FILES:
            found.json(name)
        return found

    @cached_property
    def config(self) -> Settings:
        """Contents of config.json."""
        return self._read_settings("config.json")

    @cached_property
    def processor(self) -> Settings:
        """Settings of preprocessing: preprocessor_config.json, or the part for media of processor_config.json."""
        if found := self.json("preprocessor_config.json"):
            return found
        whole = self._read_settings("processor_config.json")
        parts = ("image_processor", "feature_extractor", "video_processor")
        return Settings(next((whole[part] for part in parts if isinstance(whole.get(part), dict)), {}), whole.path)

    @cached_property
    def license(self) -> str:
        """Licence in the front matter of its README, in lower case there; "unknown" where there is none."""
        readme = self.folder / "README.md"
        text = readme.read_text("utf-8", "replace") if readme.is_file() else ""
        found = re.search(r"\A---\n.*?^license: *\"?([^\s\"]+)", text, re.DOTALL | re.MULTILINE)
        return found[1] if found else "unknown"

    @property
    def model_type(self) -> str:
        """Family that config.json names; "" where it names none."""
        return str(self.config.get("model_type", ""))

    def section(self, name: str) -> Settings:
        """Return a nested configuration, such as "vision_config"; empty where there is none."""
        found = self.config.get(name)
        return Settings(found if isinstance(found, dict) else {}, f"{self.config.path}: {name}")

    def read_scalar(self, name: str) -> float | None:
        """Read one number of the weights by the name of its parameter, without the others; None where it is absent."""
        for path in sorted(self.folder.glob("*.safetensors")):
            found = _read_scalar(path, name)
            if found is not None:
                return found
        return None

    def count_parameters(self) -> int:
        """Count the numbers that the weights hold, from the headers of the files."""
        return sum(math.prod(row["shape"]) for row in self.tensors.values())

    def check_size(self) -> None:
        """Raise WeightsError where config.json describes a network far larger than the weights are."""
        check_cost(self.config, self.count_parameters(), self.folder / "config.json")

    def has_parameter(self, begins: str) -> bool:
        """Return whether the weights have a parameter whose name begins so."""
        return any(name.startswith(begins) for name in self.tensors)

    @cached_property
    def tensors(self) -> dict[str, Any]:
        """Dtype and shape by the name of the parameter, from the headers of the files."""
        headers = [_read_header(path)[0] for path in sorted(self.folder.glob("*.safetensors"))]
        # In this format "__metadata__" is the only key that names no tensor.
        return {name: row for header in headers for name, row in header.items() if name != "__metadata__"}

    def json(self, name: str) -> Settings | None:
        """Read the object of one of its files; None where there is no such file."""
        path = self.folder / name
        return read_settings(path) if path.is_file() else None

    def _read_settings(self, name: str) -> Settings:
        found = self.json(name)
        return Settings({}, self.folder / name) if found is None else found


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Read the table of a safetensors file; return it with the offset where the data begins."""
    with path.open("rb") as file:
        # Length of the table (8 bytes, little-endian), table (JSON), data: https://huggingface.co/docs/safetensors
        head = file.read(8)
        size = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        # A stranger wrote this length: no more is read than the file holds.
        if not 0 < size <= min(path.stat().st_size - 8, _MAX_HEADER_BYTES):
            raise WeightsError(
                f"{path}: expected a safetensors file, got {path.stat().st_size} bytes of something else"
            )
        table = parse_json(file.read(size), path)
    _check_header(table, path)
    return table, 8 + size


def _check_header(table: Any, path: Path) -> None:
    """Check the rows of a table of tensors; WeightsError names the first that is wrong."""
    rows = table.items() if isinstance(table, dict) else [("its header", table)]
    for name, row in rows:
        if name != "__metadata__" and not _is_tensor_row(row):
            raise WeightsError(f"{path}: expected dtype, shape and offsets of {name[:80]!r}, got {str(row)[:80]}")


def _is_tensor_row(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("dtype"), str):
        return False
    lists = [row.get(key) for key in ("shape", "data_offsets")]
    # type() and not isinstance(): a bool is an int, too.
    sound = all(isinstance(found, list) and all(type(n) is int and 0 <= n < 1 << 63 for n in found) for found in lists)
    return sound and len(row["data_offsets"]) == 2 and len(row["shape"]) <= 16


def damage(path: Path) -> str:
    """Return what is wrong with a safetensors file as its header tells; "" where nothing is."""
    try:
        table, base = _read_header(path)
        # Offsets in the table count from its end.
        promised = base + max(
            (int(row["data_offsets"][1]) for k, row in table.items() if k != "__metadata__"), default=0
        )
    except WeightsError:
        return "it is no safetensors file, or it is cut in its header"
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        return f"its header cannot be read ({type(error).__name__})"
    size = path.stat().st_size
    return "" if size == promised else f"it has {size:,} bytes, and its header promises {promised:,}"


def _read_scalar(path: Path, name: str) -> float | None:
    table, base = _read_header(path)
    row: Mapping[str, Any] | None = table.get(name)
    if row is None or row["dtype"] not in _DTYPES:
        return None
    begin = row["data_offsets"][0]
    with path.open("rb") as file:
        file.seek(base + begin)  # offsets count from the end of the table
        found = np.frombuffer(file.read(np.dtype(_DTYPES[row["dtype"]]).itemsize), _DTYPES[row["dtype"]])
    if not len(found):
        raise WeightsError(f"{path}: expected a number at {name}, the file ends before it")
    return float(found[0])


def _cache_folder(repository: str) -> Path:
    """Return where the cache of huggingface_hub keeps a repository: its layout is public, and this needs no import."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    cache = os.environ.get("HF_HUB_CACHE") or Path(home) / "hub"
    return Path(cache).expanduser() / f"models--{repository.replace('/', '--')}"


def _resolve_revision(repository: str, revision: str) -> str:
    """Return the commit that a branch, tag or short hash means here, else on the hub."""
    return (_find_snapshot(repository, revision) or _fetch_snapshot(repository, revision)).name


def _find_snapshot(repository: str, revision: str) -> Path | None:
    """Return the cached copy of a commit, of the beginning of one, or of what a branch or tag meant last."""
    root = _cache_folder(repository)
    mark = root / "refs" / revision
    commit = mark.read_text().strip() if mark.is_file() else revision
    found = (
        # With a slash it is a branch that was not fetched, and glob would look into subfolders.
        [path for path in (root / "snapshots").glob(f"{commit}*") if _is_complete(path)] if "/" not in commit else []
    )
    # Several commits may begin with these digits: the hub says which one is meant.
    return found[0] if len(found) == 1 else None


def _is_complete(snapshot: Path) -> bool:
    # A download that broke off may have the settings without the weights.
    return (snapshot / "config.json").is_file() and any(snapshot.glob("*.safetensors"))


def _fetch_snapshot(repository: str, revision: str) -> Path:
    if is_offline():
        raise WeightsError(
            f"PERCEPTS_OFFLINE forbids fetching {repository} ({revision}), and it is not in the cache. Unset it, or "
            "copy the folder, with config.json and *.safetensors, and give its path"
        )
    import huggingface_hub  # late: a checkpoint that is here needs no client of the hub

    try:
        return Path(
            huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=list(FETCH_PATTERNS))
        )
    except Exception as error:  # of the network, of the account, of the disk: the cure is the same
        reason = str(error).splitlines()[0] if str(error) else "no message"
        raise WeightsError(
            f"Cannot fetch {repository} ({revision}) from the Hugging Face hub, and it is not in the cache: "
            f"{type(error).__name__}: {reason}. Online: percepts models --fetch {repository}. Offline: copy the "
            "folder, with config.json and *.safetensors, and give its path"
        ) from error


def _list_files(root: Path) -> str:
    found = sorted(path.name for path in root.iterdir())
    return ", ".join(found[:8]) + (" …" if len(found) > 8 else "") if found else "nothing"


def _stat_key(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=1024)
def _hash_file(path: Path, size: int, mtime_ns: int) -> str:
    """Return the sha256 of a file, computed once while its size and time of change stay the same."""
    return hash_file(path)
