"""Name the tasks of percepts, so that one can be made again from the settings of a directory."""

from __future__ import annotations

from typing import Any


def task_classes() -> dict[str, Any]:
    """Return the class of each task that runs as a job, by its name; all of them are `Repairable`."""
    from ..tasks._diarizing import Diarizing
    from ..tasks.ask import Questions
    from ..tasks.caption import Captions
    from ..tasks.classify import Classify
    from ..tasks.embed import Embed
    from ..tasks.transcribe import Transcribe
    from ..tasks.zero_shot import ZeroShot

    classes = (Embed, Classify, ZeroShot, Captions, Questions, Transcribe, Diarizing)
    return {kind.name: kind for kind in classes}
