"""Read the limits of this machine, and recognise its errors among those of files and models."""

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
"""Most bytes of memory that one worker may use."""
LEAST_MEMORY = 1 << 30
"""Bytes that a worker should have: enough for a large image, decoded and resized, and for the libraries."""
SHARE = 0.75
"""Fraction of the memory that all workers together may use. The rest is for the model and other programs."""

_CURES = {
    errno.ENOSPC: "free some space on that disk",
    errno.EDQUOT: "your quota on that disk is used up: free some space",
    errno.EROFS: "write to a file system that is not read-only",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`), or take fewer --workers",
    errno.ENFILE: "the whole system has too many files open: close other programs, or take fewer --workers",
}
"""Errors of the system that no input file can cause, and what the user can do about each."""
_NO_MEMORY = (errno.ENOMEM, errno.EAGAIN)
"""Errors for no memory. A thread fails to start with EAGAIN where its stack does not fit; FFmpeg passes it on."""
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
    """Return whether an error of Python, the system or a library of models says that memory ran out.

    >>> is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"))
    True
    >>> is_out_of_memory(ValueError("out of memory cards"))  # no allocator raises a ValueError
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
            message = str(each).lower()
            if any(text in message for text in _OUT_OF_MEMORY_TEXTS):
                return True
    return False


def describe_machine_fault(error: BaseException) -> str:
    """Return what failed and what to do for an error of the machine, such as a full disk; "" for other errors.

    Running out of memory does not count: one huge file can cause it in a worker, whose memory is limited.

    >>> describe_machine_fault(OSError(errno.EMFILE, "Too many open files", "a.jpg"))
    'a.jpg: Too many open files: raise the limit of open files (`ulimit -n`), or take fewer --workers'
    """
    for each in _iterate_causes(error):
        if isinstance(each, OSError) and each.errno in _CURES:
            name = f"{os.fsdecode(each.filename)}: " if isinstance(each.filename, str | bytes) else ""
            return f"{name}{each.strerror or os.strerror(each.errno)}: {_CURES[each.errno]}"
    return ""


def _iterate_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and those that it was raised from."""
    cause: BaseException | None = error
    for _ in range(8):  # a chain of causes may be a circle
        if cause is None:
            return
        yield cause
        cause = cause.__cause__


# Memory


def memory_limit(workers: int = 1) -> int:
    """Return the bytes that one of `workers` processes may use, so that all of them fit into this machine.

    That is WORKER_MEMORY, or less: one worker may use half of the memory of the machine or container, all of them
    together SHARE of it, and none more than the limits of this process (`ulimit -d`, `ulimit -v`).
    """
    room = machine_memory()
    wanted = min(WORKER_MEMORY, room // 2, int(room * SHARE) // max(1, workers))
    return min([wanted, *_process_limits()])


def count_fitting_workers(wanted: int) -> int:
    """Return how many workers of LEAST_MEMORY bytes each fit into the memory, at least 1 and at most `wanted`."""
    return max(1, min(wanted, int(machine_memory() * SHARE) // LEAST_MEMORY))


def limit_data(wanted: int) -> None:
    """Limit the memory that this process can allocate to `wanted` bytes, or to the present limit if that is lower."""
    if resource is not None:
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        least = min([wanted, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)])
        resource.setrlimit(resource.RLIMIT_DATA, (least, hard))  # the hard limit stays: it could not be raised again


def machine_memory() -> int:
    """Return the bytes of memory of this machine, or of the container or control group of this process."""
    # 1 << 62: no limit is known on Windows, which has no sysconf
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 1 << 62
    limits = (_read_number(path) for path in _control_group_files("memory.max", "memory.limit_in_bytes"))
    return min([physical, *(limit for limit in limits if limit)])


def memory_kills() -> int:
    """Return how many processes the kernel has killed so far for lack of memory, on the machine or in the group."""
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
    """Return the files of control groups with that name in version 2 or 1, from this process's group to the root."""
    paths: list[Path] = []
    for controllers, group in _control_groups():
        if controllers and "memory" not in controllers.split(","):
            continue
        root, name = (Path("/sys/fs/cgroup/memory"), first) if controllers else (Path("/sys/fs/cgroup"), second)
        # in a container the path may be that of the host, where only the root exists here
        folder = root / group.lstrip("/")
        parents = [folder, *folder.parents] if folder != root else [root]
        paths += [each / name for each in parents if each == root or root in each.parents]
    return [path for path in dict.fromkeys(paths) if path.is_file()]


@cache
def _control_groups() -> tuple[tuple[str, str], ...]:
    try:
        # number:controllers:path, where version 2 names no controllers
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
    """Return the seconds of CPU time after which the system kills this process (`ulimit -t`); None for no limit.

    The value is cached, because `limit_cpu` lowers the limit later.
    """
    limits = () if resource is None else resource.getrlimit(resource.RLIMIT_CPU)
    return min((limit for limit in limits if limit != resource.RLIM_INFINITY), default=None)


def cpu_used() -> float:
    """Return the seconds of CPU time that this process has used."""
    used = None if resource is None else resource.getrusage(resource.RUSAGE_SELF)
    return 0.0 if used is None else used.ru_utime + used.ru_stime


def limit_cpu(seconds: int) -> None:
    """Let the system kill this process after so many more seconds of CPU time, or at `cpu_limit` if that is earlier."""
    if resource is not None:
        ceiling = cpu_limit()
        wanted = int(cpu_used()) + seconds  # the limit counts from the start of the process
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (wanted if ceiling is None else min(wanted, ceiling), hard))
