"""A stream in blocks in, log-mel of any window of it out; only the newest minute of the stream is kept."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...preprocess.mel import WHISPER_HOP, WHISPER_RATE, whisper_log_mel
from ...types import Clip
from ...windows.contiguous import TolerateTruncation, check_contiguous
from ...windows.speech import SampleBuffer

MARGIN = 2
"""Frames beside a window that its own frames overlap with."""


class MelWindow:
    """One stream at 16 kHz, counted in frames of 10 ms from its first sample."""

    def __init__(self, blocks: Iterable[Clip], n_mels: int, window: float) -> None:
        self._source = TolerateTruncation(blocks)
        self._blocks = check_contiguous(self._source)
        self._n_mels, self.size = n_mels, round(window * WHISPER_RATE / WHISPER_HOP)
        self._tape, self._ended = SampleBuffer(), False
        self.start = 0.0
        """Seconds of the source where the stream begins."""

    def remaining_frames(self, at: int) -> int:
        """Frames from that one on, a window of them at most; fewer only at the end of the stream."""
        self._reach((at + self.size + MARGIN) * WHISPER_HOP)
        return max(0, min(self.size, self._tape.end // WHISPER_HOP - at))

    def is_last_window(self, at: int) -> bool:
        """Whether the stream ends within the window from that frame on."""
        return self._tape.end // WHISPER_HOP - at <= self.size

    def mel(self, at: int) -> np.ndarray:
        """(M, size) of the window from that frame on, silence after the end. What lies before it is forgotten."""
        lead = min(at, MARGIN)
        first = (at - lead) * WHISPER_HOP
        stop = min((at + self.size + MARGIN) * WHISPER_HOP, self._tape.end)
        samples = self._tape.read(first, stop)
        self._tape.forget(first)
        return compute_log_mel(samples, lead, self._n_mels, self.size)

    def release(self) -> None:
        """Raise what ended the stream, if it was no regular end."""
        self._source.release()

    def _reach(self, sample: int) -> None:
        while self._tape.end < sample and not self._ended:
            block = next(self._blocks, None)
            if block is None:
                self._ended = True
                return
            check_mono_16k(block)
            if not self._tape.end:
                self.start = block.start
            self._tape.append(block.data[0])


def compute_log_mel(samples: np.ndarray, lead: int, n_mels: int, size: int) -> np.ndarray:
    """(N,) samples from `lead` frames before a window to a little after it, to its log-mel (M, size).

    Like the log-mel of the whole stream but for the loudest value, which is that of the window. Zero samples follow
    the end, as openai/whisper and transformers have it.
    """
    frames = lead + size + MARGIN
    seconds = frames * WHISPER_HOP / WHISPER_RATE
    return whisper_log_mel(samples, n_mels, seconds=seconds)[:, lead : lead + size]


def check_mono_16k(block: Clip) -> None:
    """Raise ValueError for what is no mono sound at 16 kHz."""
    if block.kind != "audio" or len(block.data) != 1 or block.rate != WHISPER_RATE:
        raise ValueError(
            f"expected sound of one channel at {WHISPER_RATE} Hz, got {block}: mix it down and resample it"
        )
