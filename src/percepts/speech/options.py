"""Options of a transcription; names and defaults are those of openai/whisper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Task = Literal["transcribe", "translate"]
TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class TranscribeOptions:
    """What is asked of a transcription; names and defaults are those of openai/whisper.

    An engine that cannot do what is asked says so with ValueError; CTC models know neither task, prompt nor beam.

    task                            "translate" is into English
    language                        code, such as "en"; None: the model tells, from the first window with speech
    languages                       codes that come into question; with more than one, every window is asked again, and
                                    two in succession (or one that is very sure) change the language
    beam, best_of, patience, length_penalty, temperatures, seed
                                    see `percepts.speech.engines.DecodingOptions`; the next temperature is tried
                                    where the
                                    result of the one before it fails a threshold below
    initial_prompt                  text that might stand before the first window: names, spelling, style
    hotwords                        text before every window
    condition_on_previous_text      each window is given the text of those before it
    word_timestamps                 when each word was said
    compression_ratio_threshold     text that zlib shrinks by more repeats itself; None: any may pass
    logprob_threshold               mean log probability of a token; None: any may pass
    no_speech_threshold             from this probability on, text that fails the one before counts as silence
    hallucination_silence_threshold seconds of silence around words that are too improbable to have been said, from
                                    which on they are dropped; needs word_timestamps; None: they stay
    max_tokens                      in one window
    batch_size                      windows that are decoded at once; more than one: windows are cut in pauses, and none
                                    knows the text of another
    """

    task: Task = "transcribe"
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
        if self.hallucination_silence_threshold is not None and not self.word_timestamps:
            raise ValueError("hallucination_silence_threshold needs word_timestamps")
