"""Every kind of file that a folder of media can hold, good and bad: small, deterministic, made in a second or two."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import synth
from PIL import Image

LONG = "a name of two hundred characters ".ljust(196, "x")


@dataclass
class Zoo:
    """A folder and what is in it.

    good   the files that can be read, each with its kind in `kinds`
    bad    those that cannot, with the stage that must say so: "probe" or "decode"
    """

    folder: Path
    good: list[Path] = field(default_factory=list)
    bad: dict[Path, str] = field(default_factory=dict)
    kinds: dict[Path, str] = field(default_factory=dict)


def make_zoo(folder: Path) -> Zoo:
    """Make every file; those that this system or user cannot make (links, unreadable files for root) are left out."""
    zoo = Zoo(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for kind, makers in (("image", PICTURES), ("audio", SOUNDS), ("video", FILMS)):
        for name, make in makers.items():
            path = folder / name
            make(path)
            zoo.good.append(path)
            zoo.kinds[path] = kind
    for name, (stage, make) in BAD.items():
        make(folder / name)
        zoo.bad[folder / name] = stage
    _directory(zoo)
    _links(zoo)
    _unreadable(zoo)
    return zoo


def _image(image: Image.Image, format: str, **options: object) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(synth.encoded(image, format, **options))


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


RGB = synth.picture()
GREY = RGB.convert("L")
ALPHA = RGB.copy()
ALPHA.putalpha(GREY)
PALETTE = RGB.quantize(16)
DEEP = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)
FRAMES = [synth.picture(seed=seed) for seed in range(1, 4)]
MANY: dict[str, object] = {"save_all": True, "append_images": FRAMES, "duration": 100}

PICTURES: dict[str, Callable[[Path], object]] = {
    "plain.jpg": _image(RGB, "JPEG"),
    "progressive.jpeg": _image(RGB, "JPEG", progressive=True),
    "grey.jpg": _image(GREY, "JPEG"),
    "cmyk.jpg": _image(RGB.convert("CMYK"), "JPEG"),
    "turned.jpg": _image(RGB, "JPEG", exif=_exif(6)),
    "broken exif.jpg": _image(RGB, "JPEG", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff"),
    "UPPER.JPG": _image(RGB, "JPEG"),
    "plain.png": _image(RGB, "PNG"),
    "grey.png": _image(GREY, "PNG"),
    "one bit.png": _image(GREY.convert("1"), "PNG"),
    "sixteen bits.png": _image(DEEP, "PNG"),
    "palette.png": _image(PALETTE, "PNG"),
    "palette and hole.png": _image(PALETTE, "PNG", transparency=3),
    "alpha.png": _image(ALPHA, "PNG"),
    "grey and alpha.png": _image(ALPHA.convert("LA"), "PNG"),
    "animated.png": _image(RGB, "PNG", **MANY),
    "one pixel.png": _image(RGB.resize((1, 1)), "PNG"),
    "one row.png": _image(RGB.resize((300, 1)), "PNG"),
    "one column.png": _image(RGB.resize((1, 300)), "PNG"),
    "really a png.jpg": _image(RGB, "PNG"),
    "no extension": _image(RGB, "PNG"),
    "plain.webp": _image(RGB, "WEBP"),
    "alpha.webp": _image(ALPHA, "WEBP", lossless=True),
    "animated.webp": _image(RGB, "WEBP", **MANY),
    "plain.gif": _image(RGB, "GIF"),
    "animated.gif": _image(RGB, "GIF", **MANY),
    "plain.tiff": _image(RGB, "TIFF"),
    "pages.tif": _image(RGB, "TIFF", compression="tiff_lzw", save_all=True, append_images=FRAMES),
    "sixteen bits.tif": _image(DEEP, "TIFF"),
    "floats.tif": _image(Image.fromarray(np.asarray(GREY).astype(np.float32) / 255), "TIFF"),
    "turned.tif": _image(RGB, "TIFF", exif=_exif(6)),
    "lab.tif": _image(Image.merge("LAB", FRAMES[0].split()), "TIFF"),
    "plain.bmp": _image(RGB, "BMP"),
    "plain.avif": _image(RGB, "AVIF"),
    "spaces  and 'quotes' \"both\".jpg": _image(synth.picture(seed=10), "JPEG"),
    "ünïcödé 猫 🐈.jpg": _image(synth.picture(seed=11), "JPEG"),
    f"{LONG}.jpg": _image(synth.picture(seed=12), "JPEG"),
    "http:example.org.jpg": _image(synth.picture(seed=13), "JPEG"),
    "-dash.jpg": _image(synth.picture(seed=14), "JPEG"),
}


def _sound(
    rate: int, channels: int, subtype: str, format: str = "WAV", seconds: float = 1.0
) -> Callable[[Path], object]:
    samples = synth.tone(rate, seconds, channels)
    return lambda path: soundfile.write(path, samples.T, rate, subtype, format=format)


def _coded(codec: str, rate: int = 48000, channels: int = 1, **options: object) -> Callable[[Path], object]:
    return lambda path: synth.write_sound(path, synth.tone(rate, 1.0, channels), rate, codec, **options)


def _streamed_wav(path: Path) -> None:
    """What a recorder that writes into a pipe leaves: a header that could not be gone back to."""
    data = bytearray(_wav_bytes())
    at = data.index(b"data")
    data[4:8] = data[at + 4 : at + 8] = b"\xff\xff\xff\xff"
    path.write_bytes(data)


def _unfinished_wav(path: Path) -> None:
    """What a recorder that lost its power leaves: lengths of nought."""
    data = bytearray(_wav_bytes())
    at = data.index(b"data")
    data[4:8] = data[at + 4 : at + 8] = b"\x00\x00\x00\x00"
    path.write_bytes(data)


SOUNDS: dict[str, Callable[[Path], object]] = {
    "cd.wav": _sound(44100, 2, "PCM_16"),
    "telephone.wav": _sound(8000, 1, "PCM_U8"),
    "studio.wav": _sound(192000, 1, "PCM_24", seconds=0.2),
    "floats.wav": _sound(16000, 1, "FLOAT"),
    "surround.wav": _sound(48000, 6, "PCM_16", seconds=0.3),
    "streamed.wav": _streamed_wav,
    "unfinished.wav": _unfinished_wav,
    "silence.wav": lambda path: soundfile.write(path, np.zeros(8000), 8000),
    "constant.wav": lambda path: soundfile.write(path, np.full(8000, 0.5), 8000),
    "one sample.wav": lambda path: soundfile.write(path, np.array([0.25]), 16000),
    "adpcm.wav": _coded("adpcm_ima_wav", 22050),
    "plain.flac": _sound(44100, 2, "PCM_16", "FLAC"),
    "plain.ogg": _sound(44100, 2, "VORBIS", "OGG"),
    "plain.opus": _sound(48000, 1, "OPUS", "OGG"),
    "plain.mp3": _sound(44100, 2, "MPEG_LAYER_III", "MP3"),
    "plain.aiff": _sound(22050, 1, "PCM_16", "AIFF"),
    "plain.au": _sound(16000, 1, "PCM_16", "AU"),
    "plain.caf": _sound(16000, 1, "PCM_16", "CAF"),
    "really an mp3.wav": _sound(44100, 2, "MPEG_LAYER_III", "MP3"),
    "plain.m4a": _coded("aac", 44100, 2),
    "lossless.m4a": _coded("alac", 44100, 2),
    "plain.aac": _coded("aac", 44100),
    "sound.webm": _coded("libopus"),
    "sound.mkv": _coded("flac", 44100),
    "plain.wma": _coded("wmav2", 44100, bit_rate=96000),
    "plain.ac3": _coded("ac3"),
}


def _film(**options: object) -> Callable[[Path], object]:
    return lambda path: synth.write_film(path, **options)  # type: ignore[arg-type]


FILMS: dict[str, Callable[[Path], object]] = {
    "film.mp4": _film(sound=synth.tone(48000, 2.0, 2)),
    "silent.mp4": _film(),
    "film.mkv": _film(sound=synth.tone(48000, 2.0), sound_codec="libopus"),
    "film.webm": _film(codec="libvpx", sound=synth.tone(48000, 2.0), sound_codec="libopus"),
    "film.avi": _film(codec="mpeg4", sound=synth.tone(48000, 2.0), sound_codec="libmp3lame"),
    "film.mov": _film(codec="mjpeg", pixels="yuvj420p", sound=synth.tone(48000, 2.0), sound_codec="pcm_s16le"),
    "film.ts": _film(sound=synth.tone(48000, 2.0)),
    "film.flv": _film(codec="flv", sound=synth.tone(44100, 2.0), sound_rate=44100),
    "film.mpg": _film(codec="mpeg2video", rate=25, sound=synth.tone(48000, 2.0), sound_codec="mp2"),
    "film.wmv": _film(codec="wmv2"),
    "really a film.jpg": lambda path: synth.write_film(path.with_suffix(".mp4"), 5).rename(path),
    "turned film.mp4": _film(rotation=90, count=5),
    "unsteady film.mkv": _film(count=5, times=[0, 40, 700, 1500, 1533]),
    "short sound.mp4": _film(sound=synth.tone(48000, 0.5)),
    "long sound.mp4": _film(count=5, sound=synth.tone(48000, 2.0)),
}


def _wav_bytes(seconds: float = 1.0) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, synth.tone(8000, seconds)[0], 8000, "PCM_16", format="WAV")
    return file.getvalue()


def _jpeg(part: float) -> Callable[[Path], object]:
    data = synth.encoded(synth.picture(320, 240), "JPEG")
    return lambda path: path.write_bytes(data[: int(len(data) * part)])


def _broken_idat(path: Path) -> None:
    """A PNG in two IDAT chunks, the second with a name that is none: Pillow answers with a SyntaxError."""
    data = synth.encoded(synth.picture(200, 200), "PNG")
    head, rest = data[:33], data[33:]
    size = struct.unpack(">I", rest[:4])[0]
    body = rest[8 : 8 + size]
    chunks = [_chunk(b"IDAT", body[: size // 2]), _chunk(b"\x00\x01\x02\x03", body[size // 2 :]), _chunk(b"IEND", b"")]
    path.write_bytes(head + b"".join(chunks))


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _bad_gif(where: str) -> Callable[[Path], object]:
    """The second frame damaged: in its pixels, or in the block it begins with."""

    def make(path: Path) -> None:
        data = bytearray(synth.encoded(synth.picture(), "GIF", **MANY))
        second = data.index(b"\x21\xf9", data.index(b"\x21\xf9") + 2)
        if where == "block":
            data[second] = 0x99
        else:
            pixels = data.index(b"\x2c", second) + 11 + 3 * 256
            data[pixels + 3 : pixels + 200] = b"\xff" * 197
        path.write_bytes(data)

    return make


def _bomb(path: Path) -> None:
    """A PNG of 40 kilobytes that announces 1.6 gigapixels."""
    header = struct.pack(">IIBBBBB", 40000, 40000, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(10**6), 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b""))


def _without_index(path: Path) -> None:
    """An MP4 whose recorder was stopped before it wrote the moov box."""
    synth.write_film(path)
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"moov") - 4])


def _cut_film(path: Path) -> None:
    """An MP4 with its index in front and the second half of its data missing."""
    synth.write_film(path, 40, container_options={"movflags": "faststart"}, sound=synth.tone(48000, 4.0))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _header_and_junk(path: Path) -> None:
    junk = np.random.default_rng(0).integers(0, 128, 20000, dtype=np.uint8).tobytes()
    path.write_bytes(b"\xff\xfb\x90\x00" + junk)


def _lying_wav(path: Path) -> None:
    """A second of sound that says it is an hour."""
    data = bytearray(_wav_bytes())
    at = data.index(b"data")
    data[at + 4 : at + 8] = struct.pack("<I", 3600 * 16000)
    path.write_bytes(data)


def _nan_wav(path: Path) -> None:
    samples = synth.tone(8000, 1.0)[0]
    samples[4000] = np.nan
    soundfile.write(path, samples, 8000, "FLOAT", format="WAV")


def _cut_flac(path: Path) -> None:
    soundfile.write(path, synth.noise(8000, 4.0)[0], 8000, format="FLAC")
    path.write_bytes(path.read_bytes()[:-20000])


BAD: dict[str, tuple[str, Callable[[Path], object]]] = {
    "empty.jpg": ("probe", lambda path: path.write_bytes(b"")),
    "text.jpg": ("probe", lambda path: path.write_text("This is no picture, whatever its name says.\n" * 20)),
    "text in utf-16.mp3": ("probe", lambda path: path.write_text("Nor is this a sound.\n" * 20, "utf-16")),
    "a playlist.mp4": ("probe", lambda path: path.write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")),
    "cut at 10.jpg": ("decode", _jpeg(0.10)),
    "cut at 50.jpg": ("decode", _jpeg(0.50)),
    "cut at 99.jpg": ("decode", _jpeg(0.99)),
    "broken second idat.png": ("decode", _broken_idat),
    "bad second frame.gif": ("decode", _bad_gif("pixels")),
    "bad second block.gif": ("decode", _bad_gif("block")),
    "bomb.png": ("decode", _bomb),
    "no moov.mp4": ("probe", _without_index),
    "cut film.mp4": ("decode", _cut_film),
    "header and junk.mp3": ("decode", _header_and_junk),
    "lying.wav": ("decode", _lying_wav),
    "nan.wav": ("decode", _nan_wav),
    "cut.flac": ("decode", _cut_flac),
}


def _directory(zoo: Zoo) -> None:
    """A directory that is named like a picture and holds one."""
    inside = zoo.folder / "directory.jpg" / "inside.png"
    inside.parent.mkdir(exist_ok=True)
    inside.write_bytes(synth.encoded(synth.picture(seed=20), "PNG"))
    zoo.good.append(inside)
    zoo.kinds[inside] = "image"


def _links(zoo: Zoo) -> None:
    """Two links that point at each other, one that points nowhere, and a directory that contains itself."""
    one, two, nowhere = (zoo.folder / name for name in ("loop one.jpg", "loop two.jpg", "nowhere.jpg"))
    try:
        one.symlink_to(two)
        two.symlink_to(one)
        nowhere.symlink_to(zoo.folder / "not there")
        (zoo.folder / "directory.jpg" / "itself").symlink_to(zoo.folder / "directory.jpg", target_is_directory=True)
    except OSError:
        return
    zoo.bad |= {one: "probe", two: "probe", nowhere: "probe"}


def _unreadable(zoo: Zoo) -> None:
    path = zoo.folder / "unreadable.jpg"
    path.write_bytes(synth.encoded(synth.picture(seed=21), "JPEG"))
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads everything
        path.unlink()
    else:
        zoo.bad[path] = "probe"
