"""Fixtures: a tiny random Whisper, made once, and three inputs that are as different as its weights can tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_whisper import sounds, whisper_speaker

from percepts.preprocess.mel import whisper_log_mel

SECONDS = 2.0


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a checkpoint with windows of two seconds."""
    return whisper_speaker(tmp_path_factory.mktemp("whisper") / "tiny", seconds=SECONDS)


@pytest.fixture(scope="session")
def mel() -> np.ndarray:
    """Return (3, 80, 200): noise, a tone, chirps."""
    return whisper_log_mel(sounds(SECONDS), seconds=SECONDS)
