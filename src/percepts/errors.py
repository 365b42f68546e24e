"""One tree of exceptions; each message says what came, what was expected, what to do.

    PerceptsError
    ├── MediaError            this file, URL or array cannot be used (also a ValueError)
    │   ├── NotMedia          its bytes are no picture, sound or film
    │   ├── DecodeError       it is one, and it is damaged
    │   │   └── TruncatedMedia   what came before the damage was delivered and is good
    │   ├── MediaTooLarge     over a cap of pixels, bytes or seconds
    │   └── FetchError        a URL that is not allowed or does not answer
    ├── UnknownModel          no encoder of that name (also a LookupError)
    ├── MissingExtra          an optional dependency is not installed (also an ImportError)
    ├── WeightsError          weights absent and not to be had, or not the bytes they should be
    ├── EncodeError           the model failed on these inputs, or gave something that is no vector
    ├── JobError              a job directory cannot be used as asked
    │   ├── SettingsDiffer    it was made with other settings; the message names them
    │   ├── JobLocked         another run holds it
    │   └── JobDamaged        its files are not what its manifest says
    └── SearchError           this query cannot be put to this directory

A missing file is Python's own FileNotFoundError, an unreadable one its PermissionError.
"""

from __future__ import annotations


class PerceptsError(Exception):
    """The root: `except PerceptsError` catches everything this library raises on purpose."""


class MediaError(PerceptsError, ValueError):
    """This file, URL or array cannot be used."""


class NotMedia(MediaError):
    """Its bytes are no picture, sound or film."""


class DecodeError(MediaError):
    """It is media, and it is damaged."""


class TruncatedMedia(DecodeError):
    """The rest cannot be decoded; everything delivered before this was raised is good."""


class MediaTooLarge(MediaError):
    """Over a cap of pixels, bytes or seconds."""


class FetchError(MediaError):
    """A URL that is not allowed or does not answer."""


class UnknownModel(PerceptsError, LookupError):
    """No encoder of that name."""


class MissingExtra(PerceptsError, ImportError):
    """An optional dependency is not installed; the message holds the command that cures it."""


class WeightsError(PerceptsError):
    """Weights are absent and not to be had, or are not the bytes they should be."""


class EncodeError(PerceptsError):
    """The model failed on these inputs, or gave something that is no vector."""


class JobError(PerceptsError):
    """A job directory cannot be used as asked."""


class SettingsDiffer(JobError):
    """The directory was made with other settings."""


class JobLocked(JobError):
    """Another run holds the directory."""


class JobDamaged(JobError):
    """The files of the directory are not what its manifest says."""


class SearchError(PerceptsError):
    """This query cannot be put to this directory."""
