"""Turn images, audio and video into what search engines and language models read: vectors, labels and text with times.

The steps that media goes through, and the name of each::

    path, bytes or URL                              percepts.probe
      │  decode    open_image open_audio            → Clip      samples or pixels, rate, start, source
      │            stream_audio stream_frames
      │  cut       percepts.windows                 → Clip      a window is a Clip, so it knows its time
      │  prepare   load_encoder("…").prepare        → Inputs    log-mel, pixels, patches
      │  encode    load_encoder("…").encode         → Features  (B, T, D), mask, seconds per step
      │  pool      percepts.encoders.pooling        → Record    source, start, stop, model, vector
      ├─ embed_iter    all of these steps for one source, lazily
      ├─ embed         … for any number of sources, into a directory; resumes after a crash
      ├─ search        find moments by text, image or audio: by vector, label or text
      ├─ classify      label media with a classifier; zero_shot: with labels of your own; similarity: compare
      ├─ transcribe, transcribe_iter   → Segment: start, stop, text, words, speaker
      ├─ stream        transcribe live audio: words that are final, and words that may still change
      ├─ diarize       find out who speaks when
      ├─ align         find the time of each word of a given text
      ├─ caption       describe images and video
      ├─ ask           answer a question about an image, page, video or table
      ├─ soft_tokens   convert Features to what a language model reads in place of words
      └─ verify        check that a job directory is complete and undamaged

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
    "PerceptsError": "errors",
    "Progress": "jobs.progress",
    "Record": "types",
    "Replay": "tasks.stream",
    "Report": "jobs.progress",
    "Segment": "types",
    "Similarity": "tasks.similarity",
    "Spec": "types",
    "StreamingConfig": "speech.streaming.online",
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
    "datasets_transform": "interop.datasets",
    "describe_model": "encoders.describe",
    "diarize": "tasks.diarize",
    "diarize_online": "tasks.diarize",
    "embed": "jobs.run",
    "embed_iter": "tasks.embed",
    "list_models": "encoders",
    "load_encoder": "encoders",
    "model_spec": "encoders",
    "open_audio": "media",
    "open_image": "media",
    "openl3": "interop",
    "probe": "media",
    "register_encoder": "encoders",
    "replay": "tasks.stream",
    "search": "tasks.search",
    "similarity": "tasks.similarity",
    "soft_tokens": "tasks.soft_tokens",
    "stream": "tasks.stream",
    "stream_audio": "media",
    "stream_frames": "media",
    "transcribe": "tasks.transcribe",
    "transcribe_iter": "tasks.transcribe",
    "verify": "jobs.verify",
    "zero_shot": "tasks.zero_shot",
}
"""Public names and the modules they live in; `__init__.pyi` lists the same for type checkers."""

_RENAMED = {
    "Frames": "Features",
    "Labelled": "LabelResult",
    "Patience": "StreamingConfig",
    "Verdict": "VerifyReport",
    "describe": "describe_model",
    "load": "load_encoder",
    "names": "list_models",
    "records": "embed_iter",
    "register": "register_encoder",
    "segments": "transcribe_iter",
    "spec": "model_spec",
    "transform": "datasets_transform",
}
"""Names of 0.1 and 0.2 and what they are called today. They are removed in 0.3.0."""

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name == "__version__":
        from importlib.metadata import version

        return version("percepts")
    if name in _RENAMED:
        from .support.deprecated import get_renamed

        return get_renamed(__name__, name, _RENAMED)
    if name not in _HOME:
        raise AttributeError(f"module 'percepts' has no attribute {name!r}; public names: {', '.join(__all__)}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__, "__version__"]
