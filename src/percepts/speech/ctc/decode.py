"""Transcribe audio of any length with a CTC model: overlapping chunks, joined frame by frame.

Connectionist temporal classification (Graves et al. 2006) takes the most probable letter of each frame, merges repeats
and drops blanks. Here that is done once, over the frames of the whole stream and never chunk by chunk, so that nothing
changes where two chunks meet.
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
from ..blocks import check_mono

if TYPE_CHECKING:
    from ..engines import CTCEngine
    from ..options import TranscribeOptions
    from ..results import TranscribeProgress

SILENT_TOKENS = frozenset({"<s>", "</s>", "<unk>", "<pad>", "[UNK]", "[PAD]"})
"""Tokens that never appear in a text."""
PAUSE_S = 0.8  # a new segment begins after so many seconds without a word
MAX_SEGMENT_S = 20.0  # a segment ends with the word that makes it longer than this
SPEECH_RULES = SpeechRules(min_silence=0.5, max_speech=60.0, pad=0.2)
"""How a stream is cut into pieces of speech when there is a detector: long enough that no word is cut."""
# BestPath keeps a token in two bytes.
_MAX_VOCABULARY = np.iinfo(np.int16).max


@dataclass(frozen=True, slots=True)
class Chunking:
    """How a stream is cut into chunks for the network. Seconds, rounded to whole frames.

    length  of audio in one chunk
    stride  context on each side of a chunk, whose frames come from the neighbouring chunk. None: a sixth of length
    """

    length: float = 24.0
    stride: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= 2 * self.stride_seconds < self.length < math.inf:
            raise ValueError(f"expected a length of more than both strides, neither below 0, got {self}")

    @property
    def stride_seconds(self) -> float:
        """The stride in seconds, computed where none was given."""
        return self.length / 6 if self.stride is None else self.stride

    def count_frames(self, per_second: float) -> tuple[int, int]:
        """Return length and stride in frames; every chunk has at least one frame of its own."""
        side = round(self.stride_seconds * per_second)
        return max(round(self.length * per_second), 2 * side + 1), side


def compute_emissions(engine: CTCEngine, blocks: Iterable[Clip], chunk: Chunking | None = None) -> Iterator[np.ndarray]:
    """Yield the log probabilities (t, V) of one stream, one channel: every frame once, in order.

    Frame `i` begins at sample `i * engine.samples_per_frame`. Each chunk begins at a whole frame, so frames cannot
    drift. Memory is one chunk, one block and what the caller has not taken yet.

    A source that ends with TruncatedMedia is processed to its last good sample before the error is raised.

    Raises ValueError for another rate or several channels, EncodeError where the network returns too few frames.
    """
    source = TolerateTruncation(blocks)
    yield from _compute_emissions(engine, check_contiguous(source), chunk or Chunking())
    source.release()


def _compute_emissions(engine: CTCEngine, blocks: Iterable[Clip], chunk: Chunking) -> Iterator[np.ndarray]:
    """Run the network over overlapping chunks and yield the frames that belong to each."""
    size = engine.samples_per_frame
    length, side = chunk.count_frames(engine.rate / size)
    frames_done = 0  # frames that have been yielded
    buffer_start = 0  # the frame that `buffer` begins with
    buffer = np.zeros(0, np.float32)
    for block in blocks:
        check_mono(block, engine.rate)
        buffer = np.concatenate([buffer, block.data[0]])
        # A frame covers more samples than lie before the next one, less than twice as many. One frame more is passed to
        # the network, and two are left in the buffer, so that no frame is cut.
        while len(buffer) > (length + 2) * size:
            logprobs = _run_chunk(engine, buffer[: (length + 1) * size])
            stop = buffer_start + length - side
            yield _take_frames(logprobs, frames_done - buffer_start, stop - buffer_start)
            frames_done = stop
            buffer = buffer[(frames_done - side - buffer_start) * size :]
            buffer_start = frames_done - side
    if len(buffer):
        yield _run_chunk(engine, buffer)[frames_done - buffer_start :]


def _run_chunk(engine: CTCEngine, wave: np.ndarray) -> np.ndarray:
    """Return the emissions of one chunk; EncodeError for a wrong shape or frames without a number."""
    logprobs = engine.emissions(wave)
    # -inf is a valid log probability; a frame that has nothing else is not.
    if logprobs.ndim != 2 or logprobs.shape[1] != len(engine.vocabulary) or not np.isfinite(logprobs).any(axis=1).all():
        raise EncodeError(
            f"{engine.name}: expected (T, {len(engine.vocabulary)}) log probabilities, got {logprobs.dtype}"
            f"{list(logprobs.shape)}"
            + ("" if np.isfinite(logprobs).all() else " with frames that hold no finite number")
        )
    return logprobs


def _take_frames(logprobs: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Return the frames from `start` to `stop`; EncodeError where there are fewer."""
    if len(logprobs) < stop:
        raise EncodeError(f"expected {stop} frames or more of a chunk, got {len(logprobs)}")
    return logprobs[start:stop]


class BestPath:
    """The most probable token of each frame and its log probability in four bytes: ten hours take 7 MB.

    >>> best = BestPath()
    >>> best.append(np.log([[0.75, 0.25], [0.25, 0.75]]))
    >>> best.tokens.tolist(), np.exp(best.logprobs).round(2).tolist()
    ([0, 1], [0.75, 0.75])
    """

    def __init__(self) -> None:
        self._tokens, self._logprobs = bytearray(), bytearray()  # they grow in place: no second copy of ten hours

    def append(self, logprobs: np.ndarray) -> None:
        """Add the emissions (t, V) of the next frames."""
        if logprobs.shape[1] > _MAX_VOCABULARY:
            raise ValueError(f"expected a vocabulary of at most {_MAX_VOCABULARY} tokens, got {logprobs.shape[1]}")
        self._tokens += logprobs.argmax(axis=1).astype(np.int16).tobytes()
        self._logprobs += logprobs.max(axis=1).astype(np.float16).tobytes()

    @property
    def tokens(self) -> np.ndarray:
        """(T,) int16: a view; nothing can be appended while it exists."""
        return np.frombuffer(self._tokens, np.int16)

    @property
    def logprobs(self) -> np.ndarray:
        """(T,) float16: a view, as `tokens`."""
        return np.frombuffer(self._logprobs, np.float16)


def decode_words(best: BestPath, engine: CTCEngine, start: float = 0.0) -> Iterator[Segment]:
    """Yield the words that the frames spell, each with a leading space, its times and its score.

    A word lasts from the first frame of its first letter to the last frame of its last letter. Its score is exp of the
    mean log probability of its frames, without blanks.
    """
    seconds = engine.samples_per_frame / engine.rate
    texts = [_get_visible_text(token, i, engine) for i, token in enumerate(engine.vocabulary)]
    letters: list[tuple[str, int, int, float]] = []  # text, first frame, frame after the last, sum of log probabilities
    for token, first, stop, total in _group_runs(best):
        for i, part in enumerate(_split_token(texts[token], engine.delimiter)):
            if i and letters:
                yield _build_word(letters, start, seconds)
                letters = []
            if part:
                letters.append((part, first, stop, total))
    if letters:
        yield _build_word(letters, start, seconds)


def _get_visible_text(token: str, index: int, engine: CTCEngine) -> str:
    """Return the text of a token, "" for the blank and other tokens that are not text."""
    return "" if index == engine.blank or token in SILENT_TOKENS else token


def _split_token(token: str, delimiter: str) -> list[str]:
    """Split a token at the delimiter: the first part belongs to the word before, each later part begins a new word."""
    return token.split(delimiter or " ") if token else []


def _group_runs(best: BestPath) -> Iterator[tuple[int, int, int, float]]:
    """Yield token, first frame, frame after the last, and the sum of log probabilities of each run of one token."""
    tokens = best.tokens
    if not len(tokens):
        return
    edges = np.concatenate([[0], np.flatnonzero(np.diff(tokens)) + 1])
    # In float32: sums of float16 lose small terms.
    sums = np.add.reduceat(best.logprobs.astype(np.float32), edges)
    stops = np.append(edges[1:], len(tokens))
    for first, stop, total in zip(edges.tolist(), stops.tolist(), sums.tolist(), strict=True):
        yield int(tokens[first]), first, stop, total


def _build_word(letters: Sequence[tuple[str, int, int, float]], start: float, seconds: float) -> Segment:
    """Build a word from its letters: text, first frame, frame after the last, and sum of log probabilities."""
    frames = sum(stop - first for _, first, stop, _ in letters)
    score = math.exp(sum(total for *_, total in letters) / frames)
    text = "".join(text for text, *_ in letters)
    first, stop = letters[0][1], letters[-1][2]
    return Segment(start + first * seconds, start + stop * seconds, f" {text}", score=min(score, 1.0))


def group_words(words: Iterable[Segment]) -> Iterator[Segment]:
    """Group words into segments: a new segment begins after a pause, and where one has become too long."""
    group: list[Segment] = []
    for word in words:
        if group and (word.start - group[-1].stop >= PAUSE_S or word.stop - group[0].start > MAX_SEGMENT_S):
            yield build_segment(group)
            group = []
        group.append(word)
    if group:
        yield build_segment(group)


def build_segment(words: Sequence[Segment]) -> Segment:
    """Build one segment from words; its score is the mean of theirs."""
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
    """Transcribe blocks of one stream to segments with words; see `percepts.speech.transcribe.transcribe_stream`.

    Without a detector all words come when the stream has ended, because they are decoded once over all frames. With a
    detector each piece of speech is decoded by itself as soon as it has ended.
    """
    if options.task != "transcribe" or options.initial_prompt or options.hotwords:
        raise OptionsError(f"{engine.name} is a CTC model: it does not support translation, prompts or hotwords")
    # The checks are not in the generator, so that an error comes with the call.
    return _transcribe_blocks(engine, clips, detector, trace, chunk)


def _transcribe_blocks(
    engine: CTCEngine,
    clips: Iterable[Clip],
    detector: Detector | None,
    trace: TranscribeProgress,
    chunk: Chunking | None,
) -> Iterator[Segment]:
    """Transcribe the stream, or each piece of speech that the detector finds in it."""
    source = TolerateTruncation(clips)
    if detector is None:
        yield from _transcribe_stretch(engine, trace.count_blocks(source), chunk)
    else:
        trace.speech = 0.0
        for stretch in cut_speech(detector, SPEECH_RULES)(trace.count_blocks(source)):
            trace.speech += stretch.duration
            yield from _transcribe_stretch(engine, [stretch], chunk)
    source.release()  # damage that ended the blocks is raised here, after all that came before it


def _transcribe_stretch(engine: CTCEngine, blocks: Iterable[Clip], chunk: Chunking | None) -> Iterator[Segment]:
    """Transcribe one piece of audio: emissions, best path, words, segments."""
    stream, best = iter(blocks), BestPath()
    first = next(stream, None)
    if first is not None:
        for logprobs in compute_emissions(engine, chain([first], stream), chunk):
            best.append(logprobs)
        yield from group_words(decode_words(best, engine, first.start))
