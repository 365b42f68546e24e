"""Detect speech in steps of 32 ms with Silero's network on ONNX Runtime, without Silero's package.

The package needs torch, and sets it to one thread for the whole process when it is imported.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ... import weights
from ...types import Clip

if TYPE_CHECKING:
    import onnxruntime as ort

FRAME_SAMPLES = {16_000: 512, 8_000: 256}
"""Samples to one probability, by rate."""
STATE = 128
FRAMES_PER_CALL = 256  # frames a call: 3 MB in between, which stays in the cache


class Silero:
    """Silero VAD 6 (MIT) as a detector for `percepts.windows.speech`, at 16 kHz or 8 kHz.

    At 16 kHz many frames go through its graph at once, with the same bits as one by one. Its weights are
    fetched when the first stream begins.
    """

    def listen(self, rate: float) -> SileroStream:
        """Begin a stream.

        Raises:
            ValueError: neither 16 kHz nor 8 kHz.
            WeightsError: the weights are not here and not to be had.
        """
        if rate not in FRAME_SAMPLES:
            raise ValueError(
                f"expected sound at {' or '.join(map(str, FRAME_SAMPLES))} Hz, got {rate:g} Hz: resample it first"
            )
        return _STREAMS[int(rate)]()

    def probabilities(self, clips: Sequence[Clip]) -> list[np.ndarray]:
        """Return the (frames,) probabilities of whole clips of one channel; the last frame is filled with zeros.

        Raises:
            ValueError: clips of several rates or channels, or of a rate that Silero does not take.
        """
        if len({clip.rate for clip in clips}) > 1 or any(len(clip.data) != 1 for clip in clips):
            raise ValueError(f"expected clips of one channel and one rate, got {list(clips)}")
        if not clips:
            return []
        hearing = self.listen(clips[0].rate)
        frames = [_split_frames(clip.data[0, : clip.valid], hearing.frame) for clip in clips]
        return hearing.score_streams(frames)


class SileroStream(ABC):
    """One stream: the state of the network, and the end of the samples before."""

    def __init__(self, rate: int) -> None:
        self.rate, self.frame = rate, FRAME_SAMPLES[rate]
        self._tail = np.zeros((1, self.frame // 8), np.float32)  # 64 samples at 16 kHz, 32 at 8 kHz
        self._state = np.zeros((2, 1, STATE), np.float32)  # hidden and cell state of the LSTM

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Return (n,) probabilities of speech in (n, frame) float32 samples."""
        if frames.ndim != 2 or frames.shape[1] != self.frame:
            raise ValueError(f"expected (n, {self.frame}) samples at {self.rate} Hz, got {frames.shape}")
        if not len(frames):
            return np.zeros(0, np.float32)
        inputs, self._tail = _add_context(frames[None], self._tail)
        heard, self._state = self._run(inputs, self._state)
        likely: np.ndarray = heard[0]
        return likely

    def score_streams(self, streams: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the probabilities of several whole streams (n, frame), each from a fresh state."""
        return [type(self)(self.rate)(frames) for frames in streams]

    @abstractmethod
    def _run(self, inputs: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run (B, n, context + frame) from a state (2, B, 128); return (B, n) probabilities and the next state."""


class _SequenceStream(SileroStream):
    """A stream at 16 kHz: one stream a call, all its frames at once."""

    def __init__(self, rate: int = 16_000) -> None:
        super().__init__(rate)
        self._session = _load_session("silero_vad_16k_sequence.onnx", fast=True)

    def _run(self, inputs: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        heard, (h, c) = [], (state[:1], state[1:])
        for at in range(0, inputs.shape[1], FRAMES_PER_CALL):
            likely, h, c = self._session.run(None, {"input": inputs[0, at : at + FRAMES_PER_CALL], "h": h, "c": c})
            heard.append(likely)
        return np.concatenate(heard)[None], np.concatenate([h, c])


class _StepwiseStream(SileroStream):
    """A stream at 8 kHz: one frame a call, of all streams at once."""

    def __init__(self, rate: int = 8_000) -> None:
        super().__init__(rate)
        self._session = _load_session("silero_vad.onnx")

    def score_streams(self, streams: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the probabilities of several streams, the longest first, so that ended ones are the last rows."""
        order = sorted(range(len(streams)), key=lambda i: -len(streams[i]))
        found = [np.zeros(len(frames), np.float32) for frames in streams]
        tail = np.zeros((len(streams), self._tail.shape[1]), np.float32)
        state = np.zeros((2, len(streams), STATE), np.float32)
        for step in range(len(streams[order[0]])):
            going = [i for i in order if len(streams[i]) > step]
            frames = np.stack([streams[i][step] for i in going])[:, None]
            inputs, tail = _add_context(frames, tail[: len(going)])
            heard, state = self._run(inputs, state[:, : len(going)])
            for i, value in zip(going, heard[:, 0], strict=True):
                found[i][step] = value
        return found

    def _run(self, inputs: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # This graph takes both rates, and an input says which it is.
        rate, heard = np.array(self.rate), []
        for frame in inputs.transpose(1, 0, 2):  # (n, B, context + frame)
            row, state = self._session.run(None, {"input": frame, "state": state, "sr": rate})
            heard.append(row[:, 0])
        return np.stack(heard, axis=1), state


_STREAMS: dict[int, type[_SequenceStream] | type[_StepwiseStream]] = {16_000: _SequenceStream, 8_000: _StepwiseStream}


def _add_context(frames: np.ndarray, tail: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (B, n, context + frame), each frame after the end of the one before, and the end of the last."""
    context = tail.shape[1]
    ends = np.concatenate([tail[:, None], frames[:, :, -context:]], axis=1)  # (B, n + 1, context)
    return np.concatenate([ends[:, :-1], frames], axis=2), ends[:, -1]


def _split_frames(samples: np.ndarray, frame: int) -> np.ndarray:
    """Cut (N,) samples into (frames, frame), with zeros after the end."""
    count = -(-len(samples) // frame)
    return np.pad(samples, (0, count * frame - len(samples))).reshape(count, frame)


@cache
def _load_session(file: str, *, fast: bool = False) -> ort.InferenceSession:
    """Return the session of a file, one a process: it holds no state of a stream, so any thread may run it."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # the network is too small to share out
    options.log_severity_level = 3  # it warns of initialisers that its exporter left over
    path = weights.local_path("silero", file)
    return ort.InferenceSession(
        _build_fast_graph(path) if fast else str(path), options, providers=["CPUExecutionProvider"]
    )


def _build_fast_graph(path: Path) -> bytes:
    from ...networks.silero import build_fast_graph

    return build_fast_graph(path)
