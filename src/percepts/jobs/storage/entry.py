"""One source's line in the ledger; apart from the ledger, so that a worker knows it without loading Arrow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "error", "skipped"]
Stage = Literal["", "fetch", "probe", "decode", "prepare", "encode", "write"]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One source's line in the ledger.

    id         content id: the first 32 hex digits of the sha256; "" where the bytes could not be read
    uri        absolute path or URL
    sha256     of the bytes
    size, mtime_ns   of the file when it was read; a file that still has both is not read again
    status     ok; error: something of it is missing, see `message`; skipped: no model here takes it
    stage      where it went wrong, or where a damaged rest was met (status ok, and `message` says how far it goes)
    error      class of the exception
    rows       vectors in the tables, of all models together
    seconds    of decoding, preparing and encoding
    """

    id: str
    uri: str
    sha256: str
    size: int
    mtime_ns: int
    status: Status
    stage: Stage = ""
    error: str = ""
    message: str = ""
    attempts: int = 1
    seconds: float = 0.0
    rows: int = 0
