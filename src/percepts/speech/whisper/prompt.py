"""What was said before in, the tokens that a window is decoded after out."""

from __future__ import annotations

from collections.abc import Sequence

from ..engines import WhisperEngine
from ..options import TranscribeOptions

WARM = 0.5
"""A temperature above which a text is no example to follow."""


class Context:
    """The text before the next window, as much of it as fits into half of the decoder's context."""

    def __init__(self, engine: WhisperEngine, options: TranscribeOptions) -> None:
        self._tokens, self._options = engine.vocabulary, options
        self._most = engine.context // 2 - 1
        self._hot = self._encode(options.hotwords)[: self._most // 2]
        self._text = self._encode(options.initial_prompt)

    def prompt(self, start: Sequence[int]) -> list[int]:
        """The hot words and the text before, and the tokens that the transcript begins with."""
        room = self._most - len(self._hot)
        before = [*self._hot, *self._text[-room:]]
        return [*([self._tokens.previous, *before] if before else []), *start]

    def add(self, tokens: Sequence[int], temperature: float) -> None:
        """What was said in a window, times included."""
        self._text = [*self._text, *tokens][-self._most :]
        if not self._options.condition_on_previous_text or temperature > WARM:
            self.clear()

    def clear(self) -> None:
        """Forget what was said."""
        self._text = []

    def _encode(self, text: str) -> list[int]:
        return self._tokens.text.encode(f" {text.strip()}") if text.strip() else []
