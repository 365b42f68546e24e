"""Hold the answers to questions about media and tables, and check the questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import QuestionError
from ..types import Kind, Record


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, its question, and where it stands.

    score        how sure the model is, in [0, 1]
    start, stop  seconds of the stretch of video that was looked at; 0.0 of an image
    box          left, top, right, bottom in pixels of the page, where the model finds them
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

    @classmethod
    def from_record(cls, record: Record) -> Answer:
        """Return the answer that a record of the task `ask` holds; the question is its label."""
        # A record leaves text and score None where a task has none; an answer always has both.
        return Answer(record.labels[0], record.text or "", record.score or 0.0, record.source, record.start,
                      record.stop, record.model, record.kind, record.box)  # fmt: skip

    def record(self) -> Record:
        """Return the record for stores and subtitles; the question is its label."""
        return Record(self.source, self.start, self.stop, self.model, self.kind, labels=(self.question,),
                      text=self.text, score=self.score, box=self.box)  # fmt: skip


def check_questions(questions: str | Sequence[str]) -> tuple[str, ...]:
    """Return the questions without the space around them; QuestionError for none, or a blank one."""
    # A str is a sequence of str, too: without the test each letter would be a question.
    stripped = tuple(q.strip() for q in ([questions] if isinstance(questions, str) else questions))
    if not stripped or not all(stripped):
        raise QuestionError(f"expected at least one question, and none of them blank; got {list(stripped)}")
    return stripped
