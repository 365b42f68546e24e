"""Answers to questions, and the check of questions, for media and for tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import QuestionError
from ..types import Kind, Record

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, what it answers, and where it stands.

    score        how sure the model is, in [0, 1]
    start, stop  seconds of the stretch of film that was looked at; 0.0 of a picture
    box          left, top, right, bottom in pixels of the page, where the model tells
    """

    question: str
    text: str
    score: float
    source: str
    start: float
    stop: float
    model: str
    kind: Kind
    box: tuple[float, float, float, float] | None = None

    def record(self) -> Record:
        """For stores and subtitles: the question stands as its label."""
        return Record(self.source, self.start, self.stop, self.model, self.kind, labels=(self.question,),
                      text=self.text, score=self.score, box=self.box)  # fmt: skip


def checked_questions(questions: str | Sequence[str]) -> tuple[str, ...]:
    """Without the space around them. QuestionError for none, or a blank one."""
    found = tuple(q.strip() for q in ([questions] if isinstance(questions, str) else questions))
    if not found or not all(found):
        raise QuestionError(f"expected at least one question, and none of them blank; got {list(found)}")
    return found
