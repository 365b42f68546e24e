"""Compute the log-mel of any window of a stream; only the newest minute of the stream is kept in memory."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...preprocess.mel import WHISPER_HOP, WHISPER_RATE, whisper_log_mel
from ...types import Clip
from ...windows.contiguous import TolerateTruncation, check_contiguous
from ...windows.speech import SampleBuffer

MARGIN = 2
"""Frames on each side of a window that share samples with the frames inside."""


class MelWindow:
    """One stream of audio at 16 kHz, addressed in frames of 10 ms from its first sample."""

    def __init__(self, blocks: Iterable[Clip], n_mels: int, window: float) -> None:
        self._source = TolerateTruncation(blocks)
        self._blocks = check_contiguous(self._source)
        self._n_mels, self.size = n_mels, round(window * WHISPER_RATE / WHISPER_HOP)
        self._samples, self._ended = SampleBuffer(), False
        self.start = 0.0
        """Second of the source where the stream begins."""

    def remaining_frames(self, at: int) -> int:
        """Return the number of frames from `at` on, at most a window of them; fewer only at the end of the stream."""
        # The last frames of the window reach into the samples after it.
        self._read_until((at + self.size + MARGIN) * WHISPER_HOP)
        return max(0, min(self.size, self._samples.end // WHISPER_HOP - at))

    def is_last_window(self, at: int) -> bool:
        """Return whether the stream ends within the window from frame `at` on."""
        return self._samples.end // WHISPER_HOP - at <= self.size

    def mel(self, at: int) -> np.ndarray:
        """Return the (M, size) log-mel of the window from frame `at` on, and forget the samples before it."""
        lead = min(at, MARGIN)
        first = (at - lead) * WHISPER_HOP
        stop = min((at + self.size + MARGIN) * WHISPER_HOP, self._samples.end)
        samples = self._samples.read(first, stop)
        self._samples.forget(first)
        return compute_log_mel(samples, lead, self._n_mels, self.size)

    def release(self) -> None:
        """Raise the error that ended the stream, if it did not end regularly."""
        self._source.release()

    def _read_until(self, sample: int) -> None:
        while self._samples.end < sample and not self._ended:
            block = next(self._blocks, None)
            if block is None:
                self._ended = True
                return
            check_mono_16k(block)
            # The first block tells where the stream begins, and comes only now.
            if not self._samples.end:
                self.start = block.start
            self._samples.append(block.data[0])


def compute_log_mel(samples: np.ndarray, lead: int, n_mels: int, size: int) -> np.ndarray:
    """Return the (M, size) log-mel of a window from (N,) samples that begin `lead` frames before it and end after it.

    It equals that of the stream as one, but for the loudest value, which is that of the window. Zero samples follow the
    end, as in openai/whisper and transformers.
    """
    frames = lead + size + MARGIN
    seconds = frames * WHISPER_HOP / WHISPER_RATE
    return whisper_log_mel(samples, n_mels, seconds=seconds)[:, lead : lead + size]


def check_mono_16k(block: Clip) -> None:
    """Raise ValueError unless the block is mono audio at 16 kHz."""
    if block.kind != "audio" or len(block.data) != 1 or block.rate != WHISPER_RATE:
        raise ValueError(
            f"expected audio of one channel at {WHISPER_RATE} Hz, got {block}: mix it down and resample it"
        )
