"""Makes the recording and the film of `percepts demo`: src/percepts/data/demo/recording.flac and film.mp4.

    python scripts/make_demo_media.py        needs espeak-ng (`apt-get install espeak-ng`) and percepts[demo]

The recording is a text of ours, spoken by espeak-ng. The film is a slow pan over four pictures that come with
scikit-image and are CC0 or in the public domain, each under a chord of its own. The README beside them holds
licences and digests; this script prints the digests anew.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import skimage
import soundfile
import soxr
from PIL import Image

FOLDER = Path(__file__).parents[1] / "src/percepts/data/demo"

SPEECH = (
    "A cup of coffee stands on a wooden table, and the spoon lies beside it. "
    "A cat with green eyes looks at you, and would rather be asleep. "
    "A rocket leaves the ground at night, on a column of fire."
)
VOICE = ("-v", "en-gb", "-s", "160", "-g", "3")  # words a minute; a pause of 30 ms between words

SECONDS, FPS, WIDTH, HEIGHT, RATE = 3.0, 24, 480, 360, 32_000
SLIDES = {  # picture: the pan's first and last centre as parts of width and height, and its chord in semitones from A3
    "coffee.png": ((0.45, 0.50), (0.58, 0.50), (0, 4, 7)),
    "chelsea.png": ((0.40, 0.50), (0.52, 0.50), (5, 9, 12)),
    "rocket.jpg": ((0.50, 0.62), (0.50, 0.40), (7, 11, 14)),
    "astronaut.png": ((0.45, 0.30), (0.45, 0.42), (-3, 0, 4)),
}


def speech() -> None:
    """Speak the text with espeak-ng, as FLAC at 16 kHz: what models of speech hear, and a third smaller."""
    wav = subprocess.run(["espeak-ng", *VOICE, "--stdout", SPEECH], check=True, capture_output=True).stdout
    samples, rate = soundfile.read(io.BytesIO(wav), dtype="int16")
    samples = soxr.resample(samples, rate, 16_000)
    soundfile.write(FOLDER / "recording.flac", samples, 16_000, subtype="PCM_16", compression_level=1.0)


def pan(picture: Image.Image, first: tuple[float, float], last: tuple[float, float]) -> Iterator[np.ndarray]:
    """(HEIGHT, WIDTH, 3) uint8 frames: a window of the film's shape glides from one centre to the other."""
    scale = 0.86 * min(picture.width / WIDTH, picture.height / HEIGHT)  # leaves room to move in
    wide, high = WIDTH * scale, HEIGHT * scale
    count = round(SECONDS * FPS)
    for i in range(count):
        t = i / (count - 1)
        t = t * t * (3 - 2 * t)  # sets off and stops gently
        x = np.clip(picture.width * (first[0] + t * (last[0] - first[0])) - wide / 2, 0, picture.width - wide)
        y = np.clip(picture.height * (first[1] + t * (last[1] - first[1])) - high / 2, 0, picture.height - high)
        box = (float(x), float(y), float(x + wide), float(y + high))
        yield np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS, box=box))


def chord(semitones: tuple[int, ...]) -> np.ndarray:
    """(SECONDS * RATE,) float32: a soft bell of these notes, one after the other."""
    t = np.arange(round(SECONDS * RATE)) / RATE
    sound = np.zeros_like(t)
    for k, semitone in enumerate(semitones):
        since = np.maximum(t - 0.25 * k, 0.0)
        pitch = 220.0 * 2 ** (semitone / 12)
        envelope = np.minimum(since / 0.02, 1.0) * np.exp(-1.2 * since)
        sound += envelope * (np.sin(2 * np.pi * pitch * since) + 0.3 * np.sin(6 * np.pi * pitch * since))
    return (0.2 * sound).astype(np.float32)


def film() -> None:
    """Show the slides one after the other, H.264 and AAC; one thread and no dates give the same file each time."""
    folder = Path(skimage.__file__).parent / "data"
    with av.open(FOLDER / "film.mp4", "w", options={"movflags": "+faststart", "fflags": "+bitexact"}) as out:
        quality = {"crf": "24", "preset": "veryslow", "threads": "1", "g": str(round(SECONDS * FPS))}
        pictures = out.add_stream("libx264", rate=FPS, options=quality)
        pictures.width, pictures.height, pictures.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = out.add_stream("aac", rate=RATE, layout="mono", options={"b": "48k", "flags": "+bitexact"})
        for name, (first, last, semitones) in SLIDES.items():
            # The last chord ends an instant early, so that no block of AAC hangs over the end of the pictures.
            length = round((SECONDS - 0.1) * RATE) if name == list(SLIDES)[-1] else None
            with Image.open(folder / name) as picture:
                for frame in pan(picture.convert("RGB"), first, last):
                    out.mux(pictures.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            block = av.AudioFrame.from_ndarray(chord(semitones)[None, :length], format="fltp", layout="mono")
            block.sample_rate = RATE
            out.mux(sound.encode(block))
        out.mux(pictures.encode())
        out.mux(sound.encode())


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    speech()
    film()
    for path in (FOLDER / "recording.flac", FOLDER / "film.mp4"):
        print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}  {path.stat().st_size:,} bytes")
