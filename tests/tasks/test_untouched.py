"""Nothing of speech changes the process that it runs in: importing Silero's own package sets torch to one thread."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny
import torch
import transformers  # noqa: F401  # which sets TORCHINDUCTOR_CACHE_DIR when it is first imported
from need_weights import need_weights

import percepts
from percepts.errors import AlignError
from percepts.speech.fake import RATE, FakeCTC, FakeWhisper, speak, spell

DATA = Path(__file__).parents[1] / "data"
WORDS = ("ask", "not", "what")


def state() -> dict[str, Any]:
    """What belongs to the process, and a library has no business with."""
    return {
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "torch": (torch.is_grad_enabled(), torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()),
        "backends": (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.benchmark),
        "draws": (torch.random.get_rng_state().numpy().tobytes(), np.random.get_state()[1].tobytes()),  # type: ignore[index]
        "python draws": __import__("random").getstate(),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "path": list(sys.path),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "numpy": np.geterr(),
        "hooks": (sys.excepthook, threading.excepthook, sys.stdout, sys.stderr),
    }


def wav(samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, "FLOAT", format="WAV")
    return file.getvalue()


def diarize(folder: Path) -> None:
    sound = soundfile.read(DATA / "conversation.flac", dtype="float32")[0][: 8 * RATE]
    assert percepts.diarize(wav(sound)).turns


def transcribe_whisper(folder: Path) -> None:
    engine = FakeWhisper({"en": WORDS})
    sound = speak(engine.words, [("ask", 1.0, 1.5), ("what", 1.6, 2.0)], 4.0)
    assert percepts.transcribe(wav(sound), engine, vad=None).text


def transcribe_ctc(folder: Path) -> None:
    percepts.transcribe(wav(spell("ask", 0.5, 2.0)), str(folder / "tiny"), vad="energy")


def align(folder: Path) -> None:
    assert percepts.align(wav(spell("ask not", 0.5, 2.0)), "ask not", FakeCTC())


def align_sphinx(folder: Path) -> None:
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is an extra: pip install 'percepts[sphinx]'")
    noise = np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32) * 0.05
    with suppress(AlignError):  # whether it makes words of noise is not what is asked
        percepts.align(wav(noise), "ask")


def stream(folder: Path) -> None:
    engine = FakeWhisper({"en": WORDS})
    sound = speak(engine.words, [("ask", 1.0, 1.5), ("what", 1.6, 2.0)], 4.0)
    assert list(percepts.stream(wav(sound), engine, vad="silero")) is not None


@pytest.mark.parametrize("run", [diarize, transcribe_whisper, transcribe_ctc, align, align_sphinx, stream])
def test_the_process_is_what_it_was(run: Callable[[Path], None], tmp_path: Path) -> None:
    need_weights("silero", "ge2e")
    if run is transcribe_ctc:
        tiny.ctc(tmp_path / "tiny")
    threads = torch.get_num_threads()
    torch.set_num_threads(3)  # neither one nor the default
    try:
        before = state()
        run(tmp_path)
        after = state()
    finally:
        torch.set_num_threads(threads)
    assert {what: (before[what], after[what]) for what in before if after[what] != before[what]} == {}
    assert "silero_vad" not in sys.modules and "resemblyzer" not in sys.modules
