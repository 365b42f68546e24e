"""Three espeak-ng voices talk to each other → tests/data/conversation.flac and .rttm, which says who spoke when.

    apt-get install espeak-ng && python tests/make_conversation.py

The sound is espeak-ng's, made for the tests; the sentences are ours.
"""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import numpy as np
import soundfile
import soxr

from percepts.timeline.subtitles import write_segments
from percepts.types import Segment

FOLDER = Path(__file__).parent / "data"
RATE = 16_000
VOICES = {
    "Ada": ["-v", "en-us+f3", "-p", "65"],
    "Bob": ["-v", "en-gb", "-p", "35"],
    "Cid": ["-v", "en-us+m7", "-p", "15"],
}
SAID = (
    ("Ada", "Good morning everybody, shall we begin with the numbers of last week?"),
    ("Bob", "Yes please. I have looked at them, and there is one thing I do not understand."),
    ("Cid", "Let me guess. You mean the recordings that came in twice on Tuesday."),
    ("Bob", "Exactly. Who sent them, and why did nobody notice before the evening?"),
    ("Ada", "That was me. The first copy was damaged, so I sent all of them again."),
    ("Cid", "Then we should mark the old ones, or somebody will count them again."),
    ("Ada", "I will do that today. Is there anything else that we have to talk about?"),
    ("Bob", "Only the room. We have to leave it at noon, as others have booked it."),
    ("Cid", "Fine with me. I have to catch the early train in any case."),
)
PAUSES = (0.5, 0.8, 0.4, 0.6, 1.0, 0.5, 0.7, 0.4)


def spoken(voice: list[str], text: str) -> np.ndarray:
    """(N,) float32 at RATE, without the silence around it."""
    wav = subprocess.run(["espeak-ng", *voice, "-s", "165", "--stdout", text], capture_output=True, check=True).stdout
    samples, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    samples = soxr.resample(samples, rate, RATE)
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    return samples[loud[0] : loud[-1] + 1]


def main() -> None:
    rng = np.random.default_rng(0)
    parts, turns, at = [np.zeros(RATE // 2)], [], RATE // 2
    for (name, text), pause in zip(SAID, (*PAUSES, 0.5), strict=True):
        samples = spoken(VOICES[name], text)
        turns.append(Segment(at / RATE, (at + len(samples)) / RATE, text, speaker=name))
        silence = np.zeros(round(pause * RATE))
        parts += [0.8 * samples / np.abs(samples).max(), silence]
        at += len(samples) + len(silence)
    sound = np.concatenate(parts)
    # Eight bits keep the file small; the noise keeps the silences from being digital ones.
    sound = np.round((0.4 * sound + rng.normal(0, 0.002, len(sound))) * 127) / 127
    FOLDER.mkdir(exist_ok=True)
    soundfile.write(FOLDER / "conversation.flac", np.clip(sound, -1, 1), RATE, subtype="PCM_S8", compression_level=1.0)
    (FOLDER / "conversation.rttm").write_text(write_segments(turns, "rttm", source="conversation"))


if __name__ == "__main__":
    main()
