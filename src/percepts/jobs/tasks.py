"""List the tasks of percepts, so that one can be restored from the settings of a directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..tasks.base import Task


def task_classes() -> dict[str, type[Task]]:
    """Return the class of each task that runs as a job, by its name."""
    from ..tasks.ask import AskTask
    from ..tasks.caption import CaptionTask
    from ..tasks.classify import ClassifyTask
    from ..tasks.diarize import DiarizeTask
    from ..tasks.embed import EmbedTask
    from ..tasks.transcribe import TranscribeTask
    from ..tasks.zero_shot import ZeroShotTask

    classes = (EmbedTask, ClassifyTask, ZeroShotTask, CaptionTask, AskTask, TranscribeTask, DiarizeTask)
    return {kind.name: kind for kind in classes}
