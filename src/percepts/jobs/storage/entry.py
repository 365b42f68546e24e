"""Define the ledger entry of a source, in a module that workers can import without loading Arrow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "error", "skipped"]
Stage = Literal["", "fetch", "probe", "decode", "prepare", "encode", "write"]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """The ledger entry of a source.

    id         content id: the first 32 hex digits of the sha256; "" if the bytes could not be read
    uri        absolute path or URL
    sha256     digest of the bytes
    size, mtime_ns   of the file when it was read; a file that still has both is not read again
    status     ok; error: something of it is missing, see `message`; skipped: no model of the job takes it
    stage      where it failed, or where the damage of a file begins (status ok; `message` says how far it is good)
    error      class of the exception
    message    the text of the exception
    attempts   how often it was processed
    seconds    time for decoding, preparing and encoding
    rows       rows in the tables, of all models together
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
