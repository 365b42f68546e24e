"""Build the decoder prompt from hot words and previous text."""

from __future__ import annotations

from collections.abc import Sequence

from ..engines import WhisperEngine
from ..options import TranscribeOptions

RESET_CONTEXT_TEMPERATURE = 0.5
"""Text decoded above this temperature is not given to the next window, as in openai/whisper."""


class Context:
    """The text before the next window, as much of it as fits into half of the decoder's context."""

    def __init__(self, engine: WhisperEngine, options: TranscribeOptions) -> None:
        self._tokens, self._options = engine.vocabulary, options
        # Half of the decoder's context is for the tokens it writes; of the prompt's half, one is <|startofprev|>.
        self._most = engine.context // 2 - 1
        # Hot words take at most half, so that room for previous text is left.
        self._hot = self._encode(options.hotwords)[: self._most // 2]
        self._text = self._encode(options.initial_prompt)

    def prompt(self, start: Sequence[int]) -> list[int]:
        """Return hot words and previous text, followed by the tokens that the transcript begins with."""
        room = self._most - len(self._hot)
        before = [*self._hot, *self._text[-room:]]
        return [*([self._tokens.previous, *before] if before else []), *start]

    def add(self, tokens: Sequence[int], temperature: float) -> None:
        """Append the tokens of a window, timestamps included."""
        self._text = [*self._text, *tokens][-self._most :]
        if not self._options.condition_on_previous_text or temperature > RESET_CONTEXT_TEMPERATURE:
            self.clear()

    def clear(self) -> None:
        """Forget the previous text; hot words stay."""
        self._text = []

    def _encode(self, text: str) -> list[int]:
        """Encode a text with a space before it, as text within a transcript has one."""
        return self._tokens.text.encode(f" {text.strip()}") if text.strip() else []
