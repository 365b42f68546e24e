"""A stand-in for the Free Spoken Digits: a gliding chord for each digit, transposed for each speaker, with noise."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import percepts

DIGITS, SPEAKERS, TAKES, RATE = 5, ("ann", "ben", "cleo"), 4, 8000


def spoken(digit: int, speaker: int, take: int) -> np.ndarray:
    rng = np.random.default_rng([digit, speaker, take])
    time = np.arange(int(RATE * rng.uniform(0.4, 0.6))) / RATE
    glide = 1 + 0.5 * np.sin((digit + 1) * np.pi * time / time[-1] + digit)
    phase = 2 * np.pi * np.cumsum((300 + 220 * digit) * (1 + 0.06 * speaker) * glide) / RATE
    return np.asarray(0.3 * np.sin(phase) + 0.02 * rng.standard_normal(len(time)))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are slower on two threads, and much slower where the cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings/, labels.csv (source, label, speaker, split), and vectors/ of melstats."""
    folder = tmp_path_factory.mktemp("digits")
    (folder / "recordings").mkdir()
    rows = [["source", "label", "speaker", "split"]]
    for digit in range(DIGITS):
        for number, speaker in enumerate(SPEAKERS):
            for take in range(TAKES):
                name = f"recordings/{digit}_{speaker}_{take}.wav"
                soundfile.write(folder / name, spoken(digit, number, take), RATE)
                rows.append([name, f"d{digit}", speaker, "test" if take == 0 else "train"])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    percepts.embed(folder / "recordings", folder / "vectors", models=["melstats"], workers=0)
    return folder
