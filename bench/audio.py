"""Compute melstats of an hour of 44.1 kHz stereo FLAC, against librosa's load + melspectrogram: time and peak memory.

Each run is a process of its own, so that its peak memory is its own. CPU seconds are those of the process and its
children. librosa loads the file at once, as its users do.

    python bench/audio.py [--minutes 60] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import soundfile

RATE = 44100

MEASURE = """
import json, os, resource, sys, time
begun = time.perf_counter()
{body}
wall = time.perf_counter() - begun
own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
print(json.dumps(dict(wall=wall, cpu=cpu, own=own.ru_maxrss / 1024, child=children.ru_maxrss / 1024)))
"""

OURS = """
import percepts
report = percepts.embed(sys.argv[1], sys.argv[2], models=["melstats"])
assert report.done == 1 and not report.failed, report
"""

LIBROSA = """
import librosa
samples, rate = librosa.load(sys.argv[1])
librosa.feature.melspectrogram(y=samples, sr=rate)
"""


def make_sound(path: Path, minutes: int) -> None:
    """Make noise, roughly pink, with bursts, block by block."""
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        for _ in range(minutes):
            noise = rng.normal(0, 0.05, (RATE * 60, 2)).astype(np.float32)
            noise[1:] += 0.9 * noise[:-1]
            file.write(noise * np.abs(np.sin(np.arange(len(noise)) / RATE))[:, None].astype(np.float32))


def measure(body: str, *args: str) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-c", MEASURE.format(body=body), *args]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        long, short = Path(name) / "long.flac", Path(name) / "minute.flac"
        make_sound(long, options.minutes)
        make_sound(short, 1)
        runs: dict[str, list[dict[str, float]]] = {"percepts": [], "librosa": [], "percepts, 1 minute": []}
        for i in range(options.rounds):
            runs["percepts"].append(measure(OURS, str(long), f"{name}/a{i}"))
            runs["librosa"].append(measure(LIBROSA, str(long)))
            runs["percepts, 1 minute"].append(measure(OURS, str(short), f"{name}/b{i}"))
    middle = {who: {k: median(r[k] for r in found) for k in found[0]} for who, found in runs.items()}
    print(f"{options.minutes} minutes, 44.1 kHz stereo FLAC, median of {options.rounds}")
    print(f"{'':22}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'worker MB':>11}")
    for who, m in middle.items():
        print(f"{who:22}{m['wall']:9.1f}{m['cpu']:9.1f}{m['own']:9.0f}{m['child']:11.0f}")
    ours, peer, minute = middle["percepts"], middle["librosa"], middle["percepts, 1 minute"]
    print(f"librosa / percepts: wall {peer['wall'] / ours['wall']:.2f}, CPU {peer['cpu'] / ours['cpu']:.2f}  (aim 3)")
    grown = max(ours[k] - minute[k] for k in ("own", "child"))
    print(f"memory above that of one minute: {grown:.0f} MB  (aim < 100)")


if __name__ == "__main__":
    main()
