"""Decode images, audio and video into clips. The format is found from the first bytes, never from the file name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .limits import limit_seconds
from .probe import Probe, probe
from .source import Source, is_url

if TYPE_CHECKING:
    from .audio import array_audio, mix_to_mono, open_audio, stream_audio
    from .fetch import Fetcher
    from .image import array_image, open_image
    from .video import stream_frames

# FFmpeg, libsndfile and Pillow take 0.1 s each to import, so each is imported only when its kind of media is needed.
_HOMES = {
    "open_image": "image",
    "array_image": "image",
    "stream_audio": "audio",
    "open_audio": "audio",
    "mix_to_mono": "audio",
    "array_audio": "audio",
    "stream_frames": "video",
    "Fetcher": "fetch",
}

__all__ = [
    "Fetcher",
    "Probe",
    "Source",
    "array_audio",
    "array_image",
    "is_url",
    "limit_seconds",
    "mix_to_mono",
    "open_audio",
    "open_image",
    "probe",
    "stream_audio",
    "stream_frames",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
