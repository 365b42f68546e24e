"""Letters a frame in, words with times out, for sound of any length: chunks that overlap, put together by frame.

Connectionist temporal classification (Graves et al. 2006): of each frame the likeliest letter, repeats made one, blanks
dropped. That is done once, over the frames of the whole recording, never chunk by chunk: nothing happens at a seam.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from ...errors import EncodeError, OptionsError
from ...types import Clip, Segment
from ...windows.contiguous import TolerateTruncation, check_contiguous
from ...windows.speech import Detector, SpeechRules, cut_speech

if TYPE_CHECKING:
    from ..engines import CTCEngine
    from ..options import TranscribeOptions
    from ..results import TranscribeProgress

SILENT_TOKENS = frozenset({"<s>", "</s>", "<unk>", "<pad>", "[UNK]", "[PAD]"})
"""Tokens that no text shows."""
PAUSE_S = 0.8  # seconds without a word, after which a new segment begins
MAX_SEGMENT_S = 20.0  # seconds of a segment, after which it ends with the word
SPEECH_RULES = SpeechRules(min_silence=0.5, max_speech=60.0, pad=0.2)
"""Of stretches that are decoded by themselves: not so short that a word could be cut."""
_MAX_VOCABULARY = np.iinfo(np.int16).max


@dataclass(frozen=True, slots=True)
class Chunking:
    """How a stream is cut for the network. Seconds, rounded to whole frames.

    length  of sound at once
    stride  of it, on each side, that only gives context: its frames are those of the neighbour. None: a sixth of length
    """

    length: float = 24.0
    stride: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= 2 * self.stride_seconds < self.length < math.inf:
            raise ValueError(f"expected a length of more than both strides, neither below 0, got {self}")

    @property
    def stride_seconds(self) -> float:
        """Seconds of the stride, whatever was given."""
        return self.length / 6 if self.stride is None else self.stride

    def count_frames(self, per_second: float) -> tuple[int, int]:
        """Length and stride in frames; at least one frame of every chunk is its own."""
        side = round(self.stride_seconds * per_second)
        return max(round(self.length * per_second), 2 * side + 1), side


def compute_emissions(engine: CTCEngine, blocks: Iterable[Clip], chunk: Chunking | None = None) -> Iterator[np.ndarray]:
    """Blocks of one stream, one channel, to its (t, V) log probabilities: every frame once, in order.

    Frame `i` stands at sample `i * engine.samples_per_frame` from the beginning. A chunk begins at a whole frame, and
    its frames are placed by that, so they cannot drift. Memory is a chunk, a block and what is not yet taken.

    A source that breaks off with TruncatedMedia is taken to its last good sample before the error is passed on.

    Raises ValueError for another rate or several channels, EncodeError where the network gives too few frames.
    """
    source = TolerateTruncation(blocks)
    yield from _compute_emissions(engine, check_contiguous(source), chunk or Chunking())
    source.release()


def _compute_emissions(engine: CTCEngine, blocks: Iterable[Clip], chunk: Chunking) -> Iterator[np.ndarray]:
    size = engine.samples_per_frame
    length, side = chunk.count_frames(engine.rate / size)
    given = 0  # frames
    begun = 0  # the frame that `tape` begins with
    tape = np.zeros(0, np.float32)
    for block in blocks:
        _check_block(engine, block)
        tape = np.concatenate([tape, block.data[0]])
        # A frame looks at more samples than lie before the next, less than twice as many: one frame more is given, and
        # two are left, so that all frames are whole.
        while len(tape) > (length + 2) * size:
            found = _run_chunk(engine, tape[: (length + 1) * size])
            stop = begun + length - side
            yield _take_frames(found, given - begun, stop - begun)
            given = stop
            tape = tape[(given - side - begun) * size :]
            begun = given - side
    if len(tape):
        yield _run_chunk(engine, tape)[given - begun :]


def _check_block(engine: CTCEngine, block: Clip) -> None:
    if block.kind != "audio" or len(block.data) != 1 or block.rate != engine.rate:
        raise ValueError(f"expected sound of one channel at {engine.rate} Hz, got {block}")


def _run_chunk(engine: CTCEngine, wave: np.ndarray) -> np.ndarray:
    found = engine.emissions(wave)
    if found.ndim != 2 or found.shape[1] != len(engine.vocabulary) or not np.isfinite(found).any(axis=1).all():
        raise EncodeError(
            f"{engine.name}: expected (T, {len(engine.vocabulary)}) log probabilities, got {found.dtype}"
            f"{list(found.shape)}" + ("" if np.isfinite(found).all() else " with frames that hold no number")
        )
    return found


def _take_frames(found: np.ndarray, start: int, stop: int) -> np.ndarray:
    if len(found) < stop:
        raise EncodeError(f"expected {stop} frames or more of a chunk, got {len(found)}")
    return found[start:stop]


class BestPath:
    """Of each frame the likeliest token and the logarithm of its probability, four bytes: ten hours are 7 MB.

    >>> best = Best()
    >>> best.append(np.log([[0.75, 0.25], [0.25, 0.75]]))
    >>> best.tokens.tolist(), np.exp(best.logprobs).round(2).tolist()
    ([0, 1], [0.75, 0.75])
    """

    def __init__(self) -> None:
        self._tokens, self._logprobs = bytearray(), bytearray()  # which grow in place: no second copy of ten hours

    def append(self, found: np.ndarray) -> None:
        """The next (t, V) frames."""
        if found.shape[1] > _MAX_VOCABULARY:
            raise ValueError(f"expected a vocabulary of at most {_MAX_VOCABULARY} tokens, got {found.shape[1]}")
        self._tokens += found.argmax(axis=1).astype(np.int16).tobytes()
        self._logprobs += found.max(axis=1).astype(np.float16).tobytes()

    @property
    def tokens(self) -> np.ndarray:
        """(T,) int16: a view, beside which nothing can be appended."""
        return np.frombuffer(self._tokens, np.int16)

    @property
    def logprobs(self) -> np.ndarray:
        """(T,) float16: a view, as `tokens`."""
        return np.frombuffer(self._logprobs, np.float16)


def decode_words(best: BestPath, engine: CTCEngine, start: float = 0.0) -> Iterator[Segment]:
    """The words that the frames spell, each with a space before it, its times, and how probable its letters were.

    A word lasts from the first frame of its first letter to the end of the last one of its last; its score is
    exp of the mean log probability of the frames between that are no blank.
    """
    seconds = engine.samples_per_frame / engine.rate
    shown = [_get_visible_text(token, i, engine) for i, token in enumerate(engine.vocabulary)]
    letters: list[tuple[str, int, int, float]] = []  # text, first frame, the one after the last, sum of logarithms
    for token, first, stop, total in _group_runs(best):
        for i, part in enumerate(_split_token(shown[token], engine.delimiter)):
            if i and letters:
                yield _build_word(letters, start, seconds)
                letters = []
            if part:
                letters.append((part, first, stop, total))
    if letters:
        yield _build_word(letters, start, seconds)


def _get_visible_text(token: str, index: int, engine: CTCEngine) -> str:
    return "" if index == engine.blank or token in SILENT_TOKENS else token


def _split_token(token: str, delimiter: str) -> list[str]:
    """What of a token belongs to the word before it and what begins the next one."""
    return token.split(delimiter or " ") if token else []


def _group_runs(best: BestPath) -> Iterator[tuple[int, int, int, float]]:
    """Token, first frame, the one after the last, and the sum of the logarithms, of every run of one token."""
    tokens = best.tokens
    if not len(tokens):
        return
    edges = np.concatenate([[0], np.flatnonzero(np.diff(tokens)) + 1])
    sums = np.add.reduceat(best.logprobs.astype(np.float32), edges)
    stops = np.append(edges[1:], len(tokens))
    for first, stop, total in zip(edges.tolist(), stops.tolist(), sums.tolist(), strict=True):
        yield int(tokens[first]), first, stop, total


def _build_word(letters: Sequence[tuple[str, int, int, float]], start: float, seconds: float) -> Segment:
    frames = sum(stop - first for _, first, stop, _ in letters)
    score = math.exp(sum(total for *_, total in letters) / frames)
    text = "".join(text for text, *_ in letters)
    first, stop = letters[0][1], letters[-1][2]
    return Segment(start + first * seconds, start + stop * seconds, f" {text}", score=min(score, 1.0))


def group_words(words: Iterable[Segment]) -> Iterator[Segment]:
    """Words to segments: a new one begins after a pause, and where one has lasted long enough."""
    held: list[Segment] = []
    for word in words:
        if held and (word.start - held[-1].stop >= PAUSE_S or word.stop - held[0].start > MAX_SEGMENT_S):
            yield build_segment(held)
            held = []
        held.append(word)
    if held:
        yield build_segment(held)


def build_segment(words: Sequence[Segment]) -> Segment:
    """A segment of these words; its score is the mean of theirs."""
    scores = [word.score for word in words if word.score is not None]
    text = "".join(word.text for word in words).strip()
    score = sum(scores) / len(scores) if scores else None
    return Segment(words[0].start, words[-1].stop, text, tuple(words), score=score)


def transcribe_ctc(
    engine: CTCEngine,
    clips: Iterable[Clip],
    options: TranscribeOptions,
    detector: Detector | None,
    trace: TranscribeProgress,
    chunk: Chunking | None = None,
) -> Iterator[Segment]:
    """Blocks of one stream to segments with words; see `percepts.speech.transcribe.transcribe_stream`.

    Without a detector the words come when the stream has ended, for they are decoded once. With one each stretch of
    speech is decoded by itself, as soon as it has ended.
    """
    if options.task != "transcribe" or options.initial_prompt or options.hotwords:
        raise OptionsError(f"{engine.name} is a CTC model: it does not translate, and takes no prompt and no hotwords")
    return _transcribe_blocks(engine, clips, detector, trace, chunk)


def _transcribe_blocks(
    engine: CTCEngine,
    clips: Iterable[Clip],
    detector: Detector | None,
    trace: TranscribeProgress,
    chunk: Chunking | None,
) -> Iterator[Segment]:
    source = TolerateTruncation(clips)
    if detector is None:
        yield from _transcribe_stretch(engine, trace.count_blocks(source), chunk)
    else:
        trace.speech = 0.0
        for stretch in cut_speech(detector, SPEECH_RULES)(trace.count_blocks(source)):
            trace.speech += stretch.duration
            yield from _transcribe_stretch(engine, [stretch], chunk)
    source.release()


def _transcribe_stretch(engine: CTCEngine, blocks: Iterable[Clip], chunk: Chunking | None) -> Iterator[Segment]:
    stream, best = iter(blocks), BestPath()
    first = next(stream, None)
    if first is not None:
        for found in compute_emissions(engine, chain([first], stream), chunk):
            best.append(found)
        yield from group_words(decode_words(best, engine, first.start))
