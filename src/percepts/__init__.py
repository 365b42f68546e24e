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
      ├─ soft_tokens   Frames through an adapter: what a language model reads in place of words
      ├─ embed     … for any number of sources, restartably, into a directory
      ├─ transcribe, segments   a recording or film in, what is said out → Segment   start, stop, text, words, speaker
      ├─ stream    sound as it comes in, words that stay and words that may change out
      ├─ diarize   a recording in, who spoke when out → Segment   start, stop, speaker
      ├─ caption   a picture or a film in, what it shows out → Record   text, score, start, stop
      ├─ ask       a picture, page, film or table and a question in → Answer
      ├─ align     a recording and its text in, when each word was said out
      ├─ classify  a classifier's labels, zero_shot labels of one's own, similarity a matrix of media and texts
      ├─ verify    proof that nothing in it is lost
      └─ search    text, a picture or a sound in, the moments that fit best out, by vector, label or text

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
    "Answer": "tasks.answers",
    "Classifier": "types",
    "Clip": "types",
    "Diarization": "tasks.diarize",
    "Encoder": "types",
    "Event": "speech.streaming.events",
    "Features": "types",
    "Hit": "tasks.search",
    "LabelResult": "tasks.labelling",
    "StreamingConfig": "speech.streaming.online",
    "PerceptsError": "errors",
    "Progress": "jobs.progress",
    "Record": "types",
    "Replay": "tasks.stream",
    "Report": "jobs.progress",
    "Segment": "types",
    "Similarity": "tasks.similarity",
    "Spec": "types",
    "TableAnswer": "tasks.ask_table",
    "TextEncoder": "types",
    "TranscribeOptions": "speech.options",
    "Transcript": "speech.results",
    "VerifyReport": "jobs.verify",
    "align": "tasks.align",
    "ask": "tasks.ask",
    "ask_table": "tasks.ask_table",
    "caption": "tasks.caption",
    "classify": "tasks.classify",
    "describe_model": "encoders.describe",
    "diarize": "tasks.diarize",
    "diarize_online": "tasks.diarize",
    "embed": "jobs.run",
    "load_encoder": "encoders",
    "list_models": "encoders",
    "open_audio": "media",
    "open_image": "media",
    "openl3": "interop",
    "probe": "media",
    "embed_iter": "tasks.embed",
    "register_encoder": "encoders",
    "replay": "tasks.stream",
    "search": "tasks.search",
    "transcribe_iter": "tasks.transcribe",
    "similarity": "tasks.similarity",
    "soft_tokens": "tasks.soft_tokens",
    "model_spec": "encoders",
    "stream": "tasks.stream",
    "stream_audio": "media",
    "stream_frames": "media",
    "transcribe": "tasks.transcribe",
    "datasets_transform": "interop.datasets",
    "verify": "jobs.verify",
    "zero_shot": "tasks.zero_shot",
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
