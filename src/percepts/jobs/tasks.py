"""Name the tasks of percepts, so that one can be made again from the settings of a directory."""

from __future__ import annotations

from typing import Any


def task_classes() -> dict[str, Any]:
    """Return the class of each task that runs as a job, by its name; all of them are `Repairable`."""
    from ..tasks.ask import AskTask
    from ..tasks.caption import CaptionTask
    from ..tasks.classify import ClassifyTask
    from ..tasks.diarize_job import Diarizing
    from ..tasks.embed import EmbedTask
    from ..tasks.transcribe import Transcribe
    from ..tasks.zero_shot import ZeroShotTask

    classes = (EmbedTask, ClassifyTask, ZeroShotTask, CaptionTask, AskTask, Transcribe, Diarizing)
    return {kind.name: kind for kind in classes}
