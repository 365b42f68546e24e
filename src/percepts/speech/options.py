"""Options of a transcription; names and defaults are those of openai/whisper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SpeechTask = Literal["transcribe", "translate"]
# openai/whisper's own steps of its temperature fallback (whisper/transcribe.py).
TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class TranscribeOptions:
    """Options of a transcription; names and defaults are those of openai/whisper.

    An engine that does not support an option raises OptionsError. CTC models know neither task, prompt nor beam.

    task                            "translate" is into English
    language                        code, such as "en"; None: the model detects it, from the first window with speech
    languages                       codes to choose from; with more than one, each window is detected again, and two
                                    windows in succession (or one that is very sure) change the language
    beam, best_of, patience, length_penalty, temperatures, seed
                                    see `percepts.speech.engines.DecodingOptions`; the next temperature is tried where
                                    the result of the one before fails a threshold below
    initial_prompt                  text as if it stood before the first window: names, spelling, style
    hotwords                        text before every window
    condition_on_previous_text      each window is given the text of the windows before it
    word_timestamps                 return the times of each word
    compression_ratio_threshold     text that zlib shrinks by more is too repetitive; None: no limit
    logprob_threshold               lowest mean log probability of a token; None: no limit
    no_speech_threshold             from this probability on, text that fails the threshold before counts as silence
    hallucination_silence_threshold improbable words with so many seconds of silence around them are dropped; needs
                                    word_timestamps; None: they stay
    max_tokens                      in one window
    batch_size                      windows decoded at once; with more than one, windows are cut in pauses, and none is
                                    given the text of another
    """

    task: SpeechTask = "transcribe"
    language: str | None = None
    languages: tuple[str, ...] = ()
    beam: int = 5
    best_of: int = 5
    patience: float = 1.0
    length_penalty: float | None = None
    temperatures: tuple[float, ...] = TEMPERATURES
    seed: int = 0
    initial_prompt: str = ""
    hotwords: str = ""
    condition_on_previous_text: bool = True
    word_timestamps: bool = False
    compression_ratio_threshold: float | None = 2.4
    logprob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    hallucination_silence_threshold: float | None = None
    max_tokens: int | None = None
    batch_size: int = 1

    def __post_init__(self) -> None:
        if self.task not in ("transcribe", "translate"):
            raise ValueError(f"expected task to be transcribe or translate, got {self.task!r}")
        if not self.temperatures or any(value < 0 for value in self.temperatures):
            raise ValueError(f"expected one temperature or more, none below 0, got {self.temperatures}")
        if self.batch_size < 1:
            raise ValueError(f"expected batch_size to be 1 or more, got {self.batch_size}")
        # The silence around a word is known only by the times of words.
        if self.hallucination_silence_threshold is not None and not self.word_timestamps:
            raise ValueError("hallucination_silence_threshold needs word_timestamps")
