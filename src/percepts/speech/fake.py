"""Test with fake speech engines, which recognise words and letters in chords of tones and need no weights.

`speak` makes audio in which `FakeWhisper` recognises each word with its times; `spell` and `FakeCTC` do the same with
letters. They work on the real features (log-mel, samples), so that everything between a file and an engine is tested.
To inject a fault, override `FakeWhisper.say`: it gets the words that were recognised and answers as a model might.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, groupby
from typing import ClassVar, Literal

import numpy as np

from ..preprocess.mel import whisper_log_mel
from .engines import TICK_S, DecodedWindow, DecodingOptions, TokenAlignment, WhisperVocabulary

RATE = 16_000
TONES = 320.0 * np.arange(1, 13)
"""Hz. A word is a chord of four of these: 495 words."""
_CHORDS = np.array([[i in chord for i in range(12)] for chord in combinations(range(12), 4)])
# Of each tone: four together stay well below full scale.
_LEVEL = 0.06
_PAUSE = 0.5  # a pause of so many seconds ends a sentence
_UNKNOWN = " …"


def speak(words: Sequence[str], spoken: Iterable[tuple[str, float, float]], seconds: float) -> np.ndarray:
    """Return (N,) float32 at 16 kHz in which each (word, start, stop) is its chord; `words` are `FakeWhisper.words`."""
    out = np.zeros(round(seconds * RATE), np.float32)
    for word, start, stop in spoken:
        a, b = round(start * RATE), round(stop * RATE)
        out[a:b] += _make_chord(list(words).index(word), np.arange(a, b))
    return out


def _make_chord(number: int, samples: np.ndarray) -> np.ndarray:
    """Return the samples of the chord of a word, by its number."""
    phases = 2 * np.pi * TONES[_CHORDS[number], None] * samples / RATE
    sound: np.ndarray = (_LEVEL * np.sin(phases).sum(axis=0)).astype(np.float32)
    return sound


@cache
def _measure_bands() -> tuple[np.ndarray, np.ndarray]:
    """Return the mel band in which each tone is loudest, and the value from which on the tone counts as present."""
    tones = _LEVEL * np.sin(2 * np.pi * TONES[:, None] * np.arange(RATE) / RATE)
    mel = whisper_log_mel(tones.astype(np.float32), seconds=1.0)[:, :, 50]
    bands = mel.argmax(axis=1)
    # whisper_log_mel is (log10 + 4) / 4, so this is 30 % of the power of the tone.
    return bands, mel[np.arange(len(TONES)), bands] + np.log10(0.3).astype(np.float32) / 4


class _WordTokenizer:
    """A tokenizer with one token for each word and the space before it."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = [f" {word}" for word in words] + [_UNKNOWN]
        self._ids = {word: i for i, word in enumerate(self._words)}

    def encode(self, text: str) -> list[int]:
        return [self._ids.get(f" {word}", len(self._words) - 1) for word in text.split()]

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(self._words[token] for token in tokens)


@dataclass(frozen=True, slots=True)
class HeardWord:
    """A word in a window: its token, and the seconds of the window in which it is spoken."""

    token: int
    start: float
    stop: float


class FakeWhisper:
    """Recognises what `speak` says with the same words, which are given by language.

    `asked` keeps the prompt and the options of every window that was decoded.

    >>> engine = FakeWhisper({"en": ["ask", "not"]})
    >>> mel = whisper_log_mel(speak(engine.words, [("not", 1.0, 1.5)], 2.0))
    >>> [decoded] = engine.decode(engine.encode(mel[None]), [[engine.vocabulary.sot]], DecodingOptions())
    >>> engine.vocabulary.text.decode([token for token in decoded.tokens if token < engine.vocabulary.eot])
    ' not'
    """

    kind: ClassVar[Literal["whisper"]] = "whisper"
    name = "fake-whisper"
    n_mels = 80
    window = 30.0
    context = 448

    def __init__(self, words: Mapping[str, Sequence[str]]) -> None:
        self._language = [code for code, some in words.items() for _ in some]
        self.words = [word for some in words.values() for word in some]
        text, eot = _WordTokenizer(self.words), len(self.words) + 1
        codes = {code: eot + 2 + i for i, code in enumerate(words)}
        after = eot + 2 + len(codes)
        self.vocabulary = WhisperVocabulary(
            text, after + 5 + 1501, sot=eot + 1, eot=eot, translate=after, transcribe=after + 1, previous=after + 2,
            no_speech=after + 3, no_timestamps=after + 4, timestamps=after + 5, languages=codes,
        )  # fmt: skip
        self.asked: list[tuple[tuple[int, ...], DecodingOptions]] = []

    def say(self, heard: Sequence[HeardWord], search: DecodingOptions) -> DecodedWindow:
        """Answer for one window with the words that were recognised. Override it to inject a fault."""
        if not heard:
            return DecodedWindow((), -3.0, 0.95)
        *complete, last = split_sentences(heard)
        tokens = [token for sentence in complete for token in self.tokenize_sentence(sentence)]
        if last[-1].stop < self.window - TICK_S or len(heard) == 1:
            tokens += self.tokenize_sentence(last)
        elif complete:  # the window cuts a word: only the start of its sentence is certain
            tokens.append(self.time(last[0].start))
        else:
            tokens += [*self.tokenize_sentence(last[:-1]), self.time(last[-1].start)]
        return DecodedWindow(tuple(tokens), -0.1 * (len(tokens) + 1), 0.02)

    def tokenize_sentence(self, sentence: Sequence[HeardWord]) -> list[int]:
        """Return the words between the timestamps of the first and the last of them."""
        words = [word.token for word in sentence]
        return [self.time(sentence[0].start), *words, self.time(sentence[-1].stop)]

    def time(self, seconds: float) -> int:
        """Return the token of a time in the window."""
        return self.vocabulary.timestamps + round(seconds / TICK_S)

    def encode(self, mel: np.ndarray) -> np.ndarray:
        """Encode (B, 80, T) to (B, T // 2, 1): the number of the word in each frame, or -1."""
        bands, least = _measure_bands()
        heard = (mel[:, bands] >= least[:, None]).transpose(0, 2, 1)  # (B, T, 12)
        # Exactly four tones: noise, or two words at once, are no word.
        # A set of tones is a number with one bit for each tone.
        known = np.where(heard.sum(axis=2) == 4, heard @ (1 << np.arange(12)), 0)
        numbers = np.full(1 << 12, -1)
        numbers[(_CHORDS @ (1 << np.arange(12)))[: len(self.words)]] = np.arange(len(self.words))
        words = numbers[known][:, : mel.shape[2] // 2 * 2].reshape(len(mel), -1, 2).max(axis=2)
        states: np.ndarray = words[..., None].astype(np.float32)
        return states

    def decode(
        self, states: np.ndarray, prompts: Sequence[Sequence[int]], search: DecodingOptions
    ) -> list[DecodedWindow]:
        """Decode each row as `say` answers it."""
        self.asked += [(tuple(prompt), search) for prompt in prompts]
        return [self.say(_find_words(row), search) for row in states]

    def align(
        self, states: np.ndarray, prompt: Sequence[int], texts: Sequence[Sequence[int]], frames: Sequence[int]
    ) -> list[TokenAlignment]:
        """Align words with their audio, at probability 0.95; words that are not in it get one frame, at 0.05."""
        return [
            _align_words(_find_words(row), text, count) for row, text, count in zip(states, texts, frames, strict=True)
        ]

    def detect_language(self, states: np.ndarray) -> list[dict[str, float]]:
        """Return the share of the words that belong to each language; without words all are equally probable."""
        languages = []
        for row in states:
            spoken = [self._language[word.token] for word in _find_words(row)]
            counts = {code: 0.1 + spoken.count(code) for code in self.vocabulary.languages}
            languages.append({code: count / sum(counts.values()) for code, count in counts.items()})
        return languages


def split_sentences(heard: Sequence[HeardWord]) -> list[list[HeardWord]]:
    """Group words into sentences that end with a pause of half a second."""
    out: list[list[HeardWord]] = []
    for word in heard:
        if not out or word.start - out[-1][-1].stop >= _PAUSE:
            out.append([])
        out[-1].append(word)
    return out


def _find_words(row: np.ndarray) -> list[HeardWord]:
    """Return the words of one row of states."""
    words, frame = [], 0
    for token, run in groupby(row[:, 0].astype(int).tolist()):
        count = len(list(run))
        if token >= 0:
            words.append(HeardWord(token, frame * TICK_S, (frame + count) * TICK_S))
        frame += count
    return words


def _align_words(heard: Sequence[HeardWord], text: Sequence[int], count: int) -> TokenAlignment:
    """Build the alignment of a text with the words of one row."""
    starts, probs, at, left = [], [], 0, list(heard)
    for token in text:
        place = next((i for i, word in enumerate(left) if word.token == token), None)
        probs.append(0.05 if place is None else 0.95)
        if place is not None:
            at, until = round(left[place].start / TICK_S), round(left[place].stop / TICK_S)
            left = left[place + 1 :]
        else:
            until = at + 1
        starts.append(at)
        at = until
    starts.append(at)
    frames = [min(frame, count - 1) for frame in starts]
    return TokenAlignment(np.arange(len(starts)), np.array(frames), np.array(probs, np.float64))


def spell(text: str, start: float, seconds: float, *, letter: float = 0.08) -> np.ndarray:
    """Return (N,) float32 at 16 kHz, `seconds` long, in which the letters of a text follow one another from `start` on.

    Half of the time of each `letter` is silence. Times are rounded to the engine's frames of 20 ms.
    """
    out = np.zeros(round(seconds * RATE), np.float32)
    # Complete frames for each letter, so that no frame holds two of them.
    frame, each = FakeCTC.samples_per_frame, max(2, round(letter / TICK_S))
    for i, character in enumerate(text.upper().replace(" ", "|")):
        a = (round(start / TICK_S) + i * each) * frame
        b = a + each // 2 * frame
        out[a:b] = (0.3 * np.sin(2 * np.pi * _find_tone(character) * np.arange(a, b) / RATE))[: len(out[a:b])]
    return out


def _find_tone(character: str) -> float:
    """Return the frequency of a letter in Hz, a multiple of 50, so that a frame holds whole periods."""
    return 100.0 * (2 + FakeCTC.vocabulary.index(character))


class FakeCTC:
    """Recognises the letters that `spell` spells; each frame by itself, so that a cut between frames changes nothing.

    >>> wave = spell("my fellow", 0.1, 1.0)
    >>> FakeCTC().emissions(wave).shape
    (50, 29)
    """

    kind: ClassVar[Literal["ctc"]] = "ctc"
    name = "fake-ctc"
    rate = RATE
    samples_per_frame = 320
    vocabulary = ("", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'")
    blank = 0
    delimiter = "|"

    def emissions(self, wave: np.ndarray) -> np.ndarray:
        """Return (N // 320, 29) log probabilities of (N,) samples: 0.9 for the letter heard, the rest spread evenly."""
        count = len(wave) // self.samples_per_frame
        frames = wave[: count * self.samples_per_frame].reshape(count, self.samples_per_frame)
        loud = np.abs(np.fft.rfft(frames))[:, 2 * np.arange(1, len(self.vocabulary)) + 4]
        said = np.where(loud.max(axis=1, initial=0.0) > 10.0, 1 + loud.argmax(axis=1), self.blank)
        probs = np.full((count, len(self.vocabulary)), 0.1 / (len(self.vocabulary) - 1), np.float32)
        probs[np.arange(count), said] = 0.9
        result: np.ndarray = np.log(probs)
        return result
