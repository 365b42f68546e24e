"""Read the limits of this machine, and tell its faults from those of a file or a model."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

WORKER_MEMORY = 4 << 30
"""Bytes that one worker may have for itself, at most."""
LEAST_MEMORY = 1 << 30
"""Bytes that a worker should have: a large picture, decoded and resized, and the libraries."""
SHARE = 0.75
"""Part of the memory that all workers together may have; the rest is for the model and for other programs."""

_CURES = {
    errno.ENOSPC: "free some space on that disk",
    errno.EDQUOT: "your quota on that disk is used up: free some space",
    errno.EROFS: "write to a file system that is not read-only",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`), or take fewer --workers",
    errno.ENFILE: "the whole system has too many files open: close other programs, or take fewer --workers",
}
"""Errors of the system that no input file can cause, and what to do."""
_NO_MEMORY = (errno.ENOMEM, errno.EAGAIN)
"""EAGAIN is what starting a thread says where there is no room for its stack; FFmpeg passes it on."""
_OUT_OF_MEMORY_TEXTS = (
    "not enough memory",  # torch on a CPU, Windows
    "can't allocate memory",  # torch on a CPU, Linux
    "out of memory",  # CUDA, CTranslate2, OpenVINO on a GPU
    "bad_alloc",  # C++: ONNX Runtime, OpenVINO
    "bad allocation",
    "failed to allocate memory",  # ONNX Runtime
    "cannot allocate memory",
    "alloc_failed",  # cuBLAS, cuDNN
    "cudaerrormemoryallocation",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, in the words of Python, the system, or a library of models.

    >>> out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"))
    True
    >>> out_of_memory(ValueError("out of memory cards"))  # no allocator raises a ValueError
    False
    """
    for each in _iterate_causes(error):
        if isinstance(each, MemoryError) or type(each).__name__ == "OutOfMemoryError":
            return True
        if isinstance(each, OSError):
            if each.errno in _NO_MEMORY:
                return True
        # ONNX Runtime's errors are no RuntimeErrors, and cannot be named without importing it
        elif isinstance(each, RuntimeError) or type(each).__module__.startswith("onnxruntime"):
            said = str(each).lower()
            if any(words in said for words in _OUT_OF_MEMORY_TEXTS):
                return True
    return False


def describe_machine_fault(error: BaseException) -> str:
    """Return what failed and what to do where an error is one of the machine, such as a full disk; else "".

    Running out of memory is none here: it may be one huge file, in a worker that may only have so much.

    >>> machine_fault(OSError(errno.EMFILE, "Too many open files", "a.jpg"))
    'a.jpg: Too many open files: raise the limit of open files (`ulimit -n`), or take fewer --workers'
    """
    for each in _iterate_causes(error):
        if isinstance(each, OSError) and each.errno in _CURES:
            name = f"{os.fsdecode(each.filename)}: " if isinstance(each.filename, str | bytes) else ""
            return f"{name}{each.strerror or os.strerror(each.errno)}: {_CURES[each.errno]}"
    return ""


def _iterate_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and those that it was raised from."""
    found: BaseException | None = error
    for _ in range(8):
        if found is None:
            return
        yield found
        found = found.__cause__


# Memory


def memory_limit(workers: int = 1) -> int:
    """Return the bytes that one of so many worker processes may use, so that all of them fit this machine.

    That is WORKER_MEMORY, or less: half of the memory of the machine or container for one worker, SHARE of it for all
    of them together, and never more than the limits of this process (`ulimit -d`, `ulimit -v`).
    """
    room = machine_memory()
    wanted = min(WORKER_MEMORY, room // 2, int(room * SHARE) // max(1, workers))
    return min([wanted, *_process_limits()])


def count_fitting_workers(wanted: int) -> int:
    """Return how many workers of LEAST_MEMORY each the memory has room for, at least 1 and at most `wanted`."""
    return max(1, min(wanted, int(machine_memory() * SHARE) // LEAST_MEMORY))


def limit_data(wanted: int) -> None:
    """Limit what this process may allocate to `wanted` bytes, or to a limit that is there already and lower."""
    if resource is not None:
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        least = min([wanted, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)])
        resource.setrlimit(resource.RLIMIT_DATA, (least, hard))


def machine_memory() -> int:
    """Return the bytes of memory of this machine, or of the container or control group that this process is in."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 1 << 62
    limits = (_read_number(path) for path in _control_group_files("memory.max", "memory.limit_in_bytes"))
    return min([physical, *(limit for limit in limits if limit)])


def memory_kills() -> int:
    """Return how many processes the kernel has ended for lack of memory, here and in this control group, so far."""
    counts = 0
    for path in (*_control_group_files("memory.events", "memory.oom_control"), Path("/proc/vmstat")):
        try:
            rows = dict(line.split(None, 1) for line in path.read_text().splitlines())
            counts += int(rows.get("oom_kill", 0))
        except (OSError, ValueError):
            continue
    return counts


def _process_limits() -> Iterator[int]:
    if resource is not None:
        for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS):
            yield from (limit for limit in resource.getrlimit(kind) if limit != resource.RLIM_INFINITY)


def _control_group_files(second: str, first: str) -> list[Path]:
    """Return the files of that name in version 2 or 1 of control groups, from this process's group up to the root."""
    found: list[Path] = []
    for controllers, group in _control_groups():
        if controllers and "memory" not in controllers.split(","):
            continue
        root, name = (Path("/sys/fs/cgroup/memory"), first) if controllers else (Path("/sys/fs/cgroup"), second)
        # in a container the path may be that of the host, and only the root is there
        folder = root / group.lstrip("/")
        parents = [folder, *folder.parents] if folder != root else [root]
        found += [each / name for each in parents if each == root or root in each.parents]
    return [path for path in dict.fromkeys(found) if path.is_file()]


@cache
def _control_groups() -> tuple[tuple[str, str], ...]:
    try:
        rows = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return ()
    return tuple((row[1], row[2]) for row in rows if len(row) == 3)


def _read_number(path: Path) -> int:
    """Return the number in a file; 0 for "max", or where it cannot be read."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


# Time


@cache
def cpu_limit() -> int | None:
    """Return the seconds of CPU after which the system ends this process (`ulimit -t`); None where it never does.

    Asked once, before a lower limit is set by `limit_cpu`.
    """
    limits = () if resource is None else resource.getrlimit(resource.RLIMIT_CPU)
    return min((limit for limit in limits if limit != resource.RLIM_INFINITY), default=None)


def cpu_used() -> float:
    """Return the seconds of CPU that this process has used."""
    used = None if resource is None else resource.getrusage(resource.RUSAGE_SELF)
    return 0.0 if used is None else used.ru_utime + used.ru_stime


def limit_cpu(seconds: int) -> None:
    """Let the system end this process after so many more seconds of CPU, or at `cpu_limit` where that comes first."""
    if resource is not None:
        ceiling = cpu_limit()
        wanted = int(cpu_used()) + seconds
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (wanted if ceiling is None else min(wanted, ceiling), hard))
