"""One tree of exceptions; each message says what came, what was expected, what to do.

    PerceptsError
    ├── MediaError            this file, URL or array cannot be used (also a ValueError)
    │   ├── NotMedia          its bytes are no picture, sound or film
    │   ├── DecodeError       it is one, and it is damaged
    │   │   └── TruncatedMedia   what came before the damage was delivered and is good
    │   ├── WrongMedium       it is sound media, of a kind that this model or task does not take
    │   ├── MediaTooLarge     over a cap of pixels, bytes or seconds
    │   ├── TableError        rows and columns that are no table, or more of them than a model reads
    │   └── FetchError        a URL that is not allowed or does not answer
    ├── UnknownModel          no encoder of that name (also a LookupError)
    ├── MissingExtra          an optional dependency is not installed (also an ImportError)
    ├── WeightsError          weights absent and not to be had, or not the bytes they should be
    ├── MachineError          this machine cannot go on: no memory, disk, open files or CPU time, or workers that die
    ├── EncodeError           the model failed on these inputs, or gave something that is no vector
    ├── LabelsError           these labels, texts or templates cannot be asked about (also a ValueError)
    ├── AlignError            this text cannot be laid over this sound (also a ValueError)
    ├── JobError              a job directory cannot be used as asked
    │   ├── SettingsDiffer    it was made with other settings; the message names them
    │   ├── JobLocked         another run holds it
    │   ├── JobDamaged        its files are not what its manifest says
    │   └── JobTooNew         a newer release of percepts made it
    ├── QuestionError         this question cannot be put to this model (also a ValueError)
    ├── OptionsError          this model cannot do what is asked of it (also a ValueError)
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


class WrongMedium(MediaError):
    """It is sound media, of a kind that this model or task does not take."""


class MediaTooLarge(MediaError):
    """Over a cap of pixels, bytes or seconds."""


class TableError(MediaError):
    """Rows and columns that are no table, or more of them than a model reads."""


class FetchError(MediaError):
    """A URL that is not allowed or does not answer."""


class UnknownModel(PerceptsError, LookupError):
    """No encoder of that name."""


class MissingExtra(PerceptsError, ImportError):
    """An optional dependency is not installed; the message holds the command that cures it."""


class WeightsError(PerceptsError):
    """Weights are absent and not to be had, or are not the bytes they should be."""


class MachineError(PerceptsError):
    """This machine cannot go on: it has no memory, disk, open files or CPU time left, or workers die at their start."""


class EncodeError(PerceptsError):
    """The model failed on these inputs, or gave something that is no vector."""


class LabelsError(PerceptsError, ValueError):
    """These labels, texts or templates cannot be asked about."""


class AlignError(PerceptsError, ValueError):
    """This text cannot be laid over this sound."""


class JobError(PerceptsError):
    """A job directory cannot be used as asked."""


class SettingsDiffer(JobError):
    """The directory was made with other settings."""


class JobLocked(JobError):
    """Another run holds the directory."""


class JobDamaged(JobError):
    """The files of the directory are not what its manifest says."""


class JobTooNew(JobError):
    """A newer release made the directory, and lays it out in a way that this one does not know."""


class QuestionError(PerceptsError, ValueError):
    """This question, prompt or prefix cannot be put to this model."""


class OptionsError(PerceptsError, ValueError):
    """This model does not know the language or task, or has no such option."""


class SearchError(PerceptsError):
    """This query cannot be put to this directory."""
