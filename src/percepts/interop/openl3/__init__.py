"""Provide the interface of openl3 0.4.2 with the same numbers and weight files, without TensorFlow.

>>> from percepts import openl3
>>> embedding, timestamps = openl3.get_audio_embedding(audio, 44100)  # doctest: +SKIP

Memory does not grow with the length of a file. Where openl3 loses data or is wrong, this is right: docs/openl3.md lists
each place, and `strict=True` gives openl3's number where only a number differs.
"""

# Users of openl3 write `openl3.models.load_…` and `openl3.core.…` after one import.
from . import core, models
from .core import get_audio_embedding, get_image_embedding, preprocess_audio
from .files import get_output_path, process_audio_file, process_image_file, process_video_file
from .models import EmbeddingModel
from .openl3_exceptions import OpenL3Error
from .openl3_warnings import OpenL3Warning

__version__ = "0.4.2"
"""The version of openl3 whose interface this is."""

__all__ = [
    "EmbeddingModel",
    "OpenL3Error",
    "OpenL3Warning",
    "__version__",
    "core",
    "get_audio_embedding",
    "get_image_embedding",
    "get_output_path",
    "models",
    "preprocess_audio",
    "process_audio_file",
    "process_image_file",
    "process_video_file",
]
