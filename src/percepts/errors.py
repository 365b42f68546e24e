"""Define every exception that percepts raises on purpose. A message says what happened, why, and what to do.

    PerceptsError
    ├── MediaError            this file, URL or array cannot be used (also a ValueError)
    │   ├── NotMedia          its bytes are not an image, audio or video
    │   ├── DecodeError       it is media, but damaged
    │   │   └── TruncatedMedia   everything before the damage was decoded and delivered
    │   ├── WrongMedium       it is media of a kind that this model or task does not take
    │   ├── MediaTooLarge     it exceeds a limit of pixels, bytes or seconds
    │   ├── TableError        these rows and columns are not a table, or are more than the model reads
    │   └── FetchError        the URL is not allowed, or its server does not answer
    ├── UnknownModel          no model has this name (also a LookupError)
    ├── MissingExtra          an optional dependency is not installed (also an ImportError)
    ├── WeightsError          weights cannot be found or downloaded, or have a wrong digest
    ├── MachineError          this machine is out of memory, disk, open files or CPU time, or its workers die
    ├── EncodeError           the model failed on these inputs, or returned something that is not a vector
    ├── LabelsError           these labels, texts or templates cannot be used (also a ValueError)
    ├── AlignError            this text cannot be aligned with this audio (also a ValueError)
    ├── JobError              this job directory cannot be used in this way
    │   ├── SettingsDiffer    it was made with other settings; the message names them
    │   ├── JobLocked         another run is using it
    │   ├── JobDamaged        its files differ from what its manifest says
    │   └── JobTooNew         it was made by a newer release of percepts
    ├── QuestionError         this model cannot answer this question (also a ValueError)
    ├── OptionsError          this model does not support this option (also a ValueError)
    └── SearchError           this query cannot be run on this directory

A file that does not exist raises Python's own FileNotFoundError, one that may not be read its PermissionError.
"""

from __future__ import annotations


class PerceptsError(Exception):
    """Base class: `except PerceptsError` catches every error that percepts raises on purpose."""


class MediaError(PerceptsError, ValueError):
    """A file, URL or array that cannot be used."""


class NotMedia(MediaError):
    """Bytes that are not an image, audio or video."""


class DecodeError(MediaError):
    """Media that is damaged."""


class TruncatedMedia(DecodeError):
    """Media whose rest cannot be decoded. Everything that was delivered before this error is good."""


class WrongMedium(MediaError):
    """Intact media of a kind that the model or task does not take, such as audio for an image encoder."""


class MediaTooLarge(MediaError):
    """Media that exceeds a limit of pixels, bytes or seconds."""


class TableError(MediaError):
    """Rows and columns that are not a table, or are more than the model reads."""


class FetchError(MediaError):
    """A URL that is not allowed, or whose server does not answer."""


class UnknownModel(PerceptsError, LookupError):
    """A name that no model has. The message names the nearest ones."""


class MissingExtra(PerceptsError, ImportError):
    """An optional dependency that is not installed. The message holds the command that installs it."""


class WeightsError(PerceptsError):
    """Weights that cannot be found or downloaded, or whose digest is wrong."""


class MachineError(PerceptsError):
    """A machine that is out of memory, disk space, open files or CPU time, or whose workers die when they start."""


class EncodeError(PerceptsError):
    """A model that failed on its inputs, or returned something that is not a vector."""


class LabelsError(PerceptsError, ValueError):
    """Labels, texts or templates that cannot be used: none, a blank one, or one given twice."""


class AlignError(PerceptsError, ValueError):
    """A text that cannot be aligned with the audio."""


class JobError(PerceptsError):
    """A job directory that cannot be used in this way."""


class SettingsDiffer(JobError):
    """A job directory that was made with other settings. The message names the settings that differ."""


class JobLocked(JobError):
    """A job directory that another run is using."""


class JobDamaged(JobError):
    """A job directory whose files differ from what its manifest says."""


class JobTooNew(JobError):
    """A job directory that a newer release of percepts made, in a layout that this release does not know."""


class QuestionError(PerceptsError, ValueError):
    """A question, prompt or prefix that the model cannot answer."""


class OptionsError(PerceptsError, ValueError):
    """A language, task or option that the model does not support."""


class SearchError(PerceptsError):
    """A query that cannot be run on the directory."""
