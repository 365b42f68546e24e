"""Measure hours of speech through detector, CTC and diarization: peak memory and time, beside Silero's own wrapper.

python bench/speech.py vad                      # 10 minutes through ours; and through silero-vad, if installed
python bench/speech.py through STAGE HOURS      # one file of so many hours through speech, ctc or diarize
python bench/speech.py memory 1 10              # peak memory of each stage with each, in processes of their own
python bench/speech.py memory 1 10 speech ctc   # of some stages

The file is the conversation of the tests, repeated. The CTC network is the fake one: what is measured is the
store of its letters, four bytes per frame, that is read once at the end.
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
    """Write the conversation again and again, as WAV."""
    samples, rate = soundfile.read(CONVERSATION, dtype="int16")
    path, left = folder / "long.wav", round(hours * 3600 * rate)
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as file:
        while left > 0:
            file.write(samples[:left])
            left -= len(samples)
    return path


def vad() -> None:
    from percepts.encoders.builtin.silero import Silero
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
    """Return CPU seconds, the best of three."""
    best = float("inf")
    for _ in range(3):
        begun = time.process_time()
        run()
        best = min(best, time.process_time() - begun)
    return best


def through(stage: str, hours: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = recording(Path(folder), hours)
        begun = time.process_time()
        told = STAGES[stage](path)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    spent = time.process_time() - begun
    print(f"{stage:8} {hours:g} h: {told}, {spent:.0f} CPU-s, peak {peak:.0f} MB", flush=True)


def speech(path: Path) -> str:
    from percepts.encoders.builtin.silero import Silero
    from percepts.speech.audio_source import AudioSource
    from percepts.windows import cut_speech as cut

    seconds = sum(clip.duration for clip in cut(Silero())(AudioSource(path).blocks()))
    return f"{seconds / 3600:.2f} h of speech"


def ctc(path: Path) -> str:
    from percepts.speech.audio_source import AudioSource
    from percepts.speech.ctc.decode import BestPath, compute_emissions
    from percepts.speech.fake import FakeCTC

    best = BestPath()
    for found in compute_emissions(FakeCTC(), AudioSource(path).blocks()):
        best.append(found)
    return f"{len(best.tokens):,} frames"


def diarize(path: Path) -> str:
    from percepts import diarize as who

    return f"{len(who(path).speakers)} speakers"


STAGES = {"speech": speech, "ctc": ctc, "diarize": diarize}


def memory(*words: str) -> None:
    hours = [word for word in words if word not in STAGES]
    for stage in [word for word in words if word in STAGES] or STAGES:
        for each in hours:
            subprocess.run([sys.executable, __file__, "through", stage, each], check=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["vad"]:
            vad()
        case ["through", stage, hours] if stage in STAGES:
            through(stage, float(hours))
        case ["memory", *words]:
            memory(*words)
        case _:
            sys.exit(__doc__)
