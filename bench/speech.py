"""Hours of speech through the detector and through diarization: peak memory, time, and Silero's own wrapper beside it.

python bench/speech.py vad                      # 10 minutes through ours; and through silero-vad, if installed
python bench/speech.py diarize HOURS            # one recording of so many hours, in a process of its own
python bench/speech.py memory 1 10              # peak memory of diarizing each

The recording is the conversation of the tests, repeated.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

CONVERSATION = Path(__file__).parents[1] / "tests" / "data" / "conversation.flac"
RATE = 16_000


def recording(folder: Path, hours: float) -> Path:
    """The conversation again and again, as WAV."""
    samples, rate = soundfile.read(CONVERSATION, dtype="int16")
    path, left = folder / "long.wav", round(hours * 3600 * rate)
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as file:
        while left > 0:
            file.write(samples[:left])
            left -= len(samples)
    return path


def vad() -> None:
    from percepts.encoders.silero import Silero
    from percepts.types import Clip

    samples = np.tile(soundfile.read(CONVERSATION, dtype="float32")[0], 15)[: 600 * RATE]
    silero, clip = Silero(), Clip(samples[None], "audio", RATE)
    silero.probabilities([Clip(samples[None, :RATE], "audio", RATE)])
    ours = _seconds(lambda: silero.probabilities([clip]))
    print(f"percepts        {ours:6.2f} CPU-s for 600 s of sound")
    try:
        import torch
        from silero_vad import load_silero_vad
    except ImportError as error:
        print(f"silero-vad not measured: {error}")
        return
    model, sound = load_silero_vad(onnx=True), torch.from_numpy(samples)
    theirs = _seconds(lambda: model.audio_forward(sound[None], RATE))
    same = np.abs(model.audio_forward(sound[None], RATE)[0].numpy() - silero.probabilities([clip])[0]).max()
    print(f"silero-vad ONNX {theirs:6.2f} CPU-s, {theirs / ours:.1f} times ours; largest difference {same:.1e}")


def _seconds(run) -> float:  # type: ignore[no-untyped-def]
    """CPU seconds, the best of three."""
    best = float("inf")
    for _ in range(3):
        begun = time.process_time()
        run()
        best = min(best, time.process_time() - begun)
    return best


def diarize(hours: float) -> None:
    from percepts import diarize

    with tempfile.TemporaryDirectory() as folder:
        path = recording(Path(folder), hours)
        begun = time.process_time()
        found = diarize(path)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    spent = time.process_time() - begun
    print(f"{hours:g} h: {len(found.speakers)} speakers, {spent:.0f} CPU-s, peak {peak:.0f} MB")


def memory(*hours: str) -> None:
    for each in hours:
        subprocess.run([sys.executable, __file__, "diarize", each], check=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["vad"]:
            vad()
        case ["diarize", hours]:
            diarize(float(hours))
        case ["memory", *hours]:
            memory(*hours)
        case _:
            sys.exit(__doc__)
