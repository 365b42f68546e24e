"""Images, audio and video to what language models and search engines read: vectors with their times, labels, text.

The way of the data, and the name for each step of it::

    path or bytes                                   percepts.probe
      │  decode    open_image open_audio            → Clip      samples or pixels, rate, start, source
      │            stream_audio stream_frames
      │  cut       percepts.windows                 → Clip      a window is a Clip: it still knows when
      │  prepare   load("…").prepare                → Inputs    log-mel, pixels, patches
      │  encode    load("…").encode                 → Frames    (B, T, D), mask, seconds per step
      │  pool      percepts.encoders.pooling        → Record    source, start, stop, model, vector
      ├─ records   all of that for one source, lazily
      ├─ embed     … for any number of sources, restartably, into a directory
      ├─ diarize   a recording in, who spoke when out → Segment   start, stop, speaker
      ├─ verify    proof that nothing in it is lost
      └─ search    text, a picture or a sound in, the nearest moments out

>>> import percepts
>>> report = percepts.embed(["photos/", "talk.flac", "film.mp4"], "vectors/")  # doctest: +SKIP
>>> percepts.search("vectors/", "a cup of coffee")[0].record.source  # doctest: +SKIP
'photos/breakfast.jpg'

Nothing heavy is imported until a name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Classifier": "types",
    "Clip": "types",
    "Diarization": "tasks.diarize",
    "Encoder": "types",
    "Frames": "types",
    "Hit": "tasks.search",
    "PerceptsError": "errors",
    "Progress": "jobs.progress",
    "Record": "types",
    "Report": "jobs.progress",
    "Segment": "types",
    "Spec": "types",
    "TextEncoder": "types",
    "Verdict": "jobs.verify",
    "diarize": "tasks.diarize",
    "embed": "jobs.run",
    "load": "encoders",
    "names": "encoders",
    "open_audio": "media",
    "open_image": "media",
    "openl3": "interop",
    "probe": "media",
    "records": "tasks.embed",
    "register": "encoders",
    "search": "tasks.search",
    "spec": "encoders",
    "stream_audio": "media",
    "stream_frames": "media",
    "verify": "jobs.verify",
}
"""Public names and the modules they live in; `__init__.pyi` says the same to type checkers."""

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'percepts' has no attribute {name!r}; public names: {', '.join(__all__)}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
