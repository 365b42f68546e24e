"""Pictures, sounds and films made by rule, so that a test knows what must come out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType
from PIL import Image

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
BITS = 8  # frames are numbered in so many black or white bars


def picture(width: int = 64, height: int = 48, seed: int = 0) -> Image.Image:
    """A smooth RGB picture, different for every seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """The bytes of a picture file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def tone(rate: int, seconds: float, channels: int = 1, pitch: float = 440.0) -> np.ndarray:
    """(C, N) float32: a sine, each channel a semitone above the last."""
    time = np.arange(round(rate * seconds)) / rate
    pitches = pitch * 2 ** (np.arange(channels)[:, None] / 12)
    return (0.5 * np.sin(2 * np.pi * pitches * time)).astype(np.float32)


def noise(rate: int, seconds: float, channels: int = 1, seed: int = 0) -> np.ndarray:
    """(C, N) float32: white, quiet, the same for the same seed."""
    return (np.random.default_rng(seed).standard_normal((channels, round(rate * seconds))) * 0.1).astype(np.float32)


def clicks(rate: int, seconds: float, at: Sequence[float], channels: int = 1) -> np.ndarray:
    """(C, N) float32: silence with a blip whose peak is the sample at each of the times.

    A blip is a cosine under a narrow bell: lossy codecs keep its peak where it is, which they do not with one sample.
    """
    width = np.arange(-200, 201)
    blip = 0.8 * np.exp(-((width / 6.0) ** 2)) * np.cos(2 * np.pi * width / 24)
    samples = np.zeros((channels, round(rate * seconds)), np.float32)
    for second in at:
        centre = round(second * rate)
        samples[:, centre - 200 : centre + 201] += blip.astype(np.float32)
    return samples


def numbered(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    """(H, W, 3) uint8: a frame that says its number, which `number_of` reads even after lossy coding and scaling."""
    bars = [255 if index >> bit & 1 else 0 for bit in range(BITS)]
    frame = np.repeat(np.array(bars, np.uint8), width // BITS)[None, :, None]
    return np.ascontiguousarray(np.broadcast_to(frame, (height, width // BITS * BITS, 3)))


def number_of(frame: np.ndarray) -> int:
    """The number that `numbered` drew, from the middle of each bar."""
    height, width = frame.shape[:2]
    middles = [int((bit + 0.5) * width / BITS) for bit in range(BITS)]
    return sum((int(frame[height // 2, x].mean()) > 127) << bit for bit, x in enumerate(middles))


def write_sound(path: Path, samples: np.ndarray, rate: int, codec: str, **options: Any) -> Path:
    """Encode (C, N) float32 with FFmpeg into the container that the name of the file says."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=LAYOUTS[len(samples)], **options)
        _encode_sound(container, stream, samples, rate)
    return path


def write_film(
    path: Path,
    count: int = 20,
    *,
    rate: int = 10,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: Sequence[int] | None = None,
    group: int = 10,
    sound: np.ndarray | None = None,
    sound_rate: int = 48000,
    sound_codec: str = "aac",
    sound_start: float = 0.0,
    rotation: int = 0,
    size: tuple[int, int] = (64, 48),
    codec_options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    keys: Sequence[int] = (),
) -> Path:
    """Encode numbered frames, at `rate` or at the given `times` in milliseconds, with a sound track if there is one."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=codec_options or {})
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.gop_size = group
        stream.codec_context.thread_count = 1  # so that the file is the same on every machine
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        track = None
        if sound is not None:
            track = container.add_stream(sound_codec, rate=sound_rate, layout=LAYOUTS[len(sound)])
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(index, *size), "rgb24")
            frame.pts = index if times is None else times[index]
            if index in keys:
                frame.pict_type = PictureType.I
            frame.time_base = Fraction(1, rate) if times is None else Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if track is not None:
            _encode_sound(container, track, sound, sound_rate, round(sound_start * sound_rate))
    return path


def _encode_sound(container: Any, stream: Any, samples: np.ndarray, rate: int, start: int = 0) -> None:
    layout = LAYOUTS[len(samples)]
    convert = av.AudioResampler(stream.format.name, layout, rate, frame_size=stream.codec_context.frame_size or None)
    for at in range(0, samples.shape[1], 4096):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, at : at + 4096]), "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, start + at, Fraction(1, rate)
        for made in convert.resample(frame):
            container.mux(stream.encode(made))
    for made in convert.resample(None):
        container.mux(stream.encode(made))
    container.mux(stream.encode(None))
