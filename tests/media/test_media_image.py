"""Pictures to clips: the pixels that were stored, upright, on white, or an error that names the file."""

from __future__ import annotations

import contextlib
import io
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import synth
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from zoo import ALPHA, DEEP, FRAMES, GREY, MANY, RGB, Zoo

from percepts.errors import DecodeError, MediaError, MediaTooLarge, MissingExtra
from percepts.media import open_image


def pixels(data: bytes | Path, **options: int) -> np.ndarray:
    clip = open_image(data, **options)
    assert clip.kind == "image" and clip.rate == 0 and clip.data.shape[0] == 1 and clip.data.flags.c_contiguous
    return clip.data[0]


LOSSLESS = {"PNG": {}, "TIFF": {}, "BMP": {}, "WEBP": {"lossless": True}}


@pytest.mark.parametrize("format", LOSSLESS)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (64, 48), (333, 111)])
def test_lossless_formats_give_the_pixels_that_were_stored(format: str, size: tuple[int, int]) -> None:
    image = synth.picture(*size)
    assert np.array_equal(pixels(synth.encoded(image, format, **LOSSLESS[format])), np.asarray(image))


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_gives_what_pillow_gives(progressive: bool) -> None:
    data = synth.encoded(RGB, "JPEG", progressive=progressive)
    assert np.array_equal(pixels(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_every_mode_without_alpha_becomes_what_pillow_makes_of_it(mode: str) -> None:
    image = RGB.convert(mode)
    format = "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"
    assert np.array_equal(pixels(synth.encoded(image, format)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_composited_on_white(format: str) -> None:
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    colour, alpha = np.asarray(ALPHA)[..., :3].astype(float), np.asarray(ALPHA)[..., 3:] / 255
    expected = colour * alpha + 255 * (1 - alpha)
    # Pillow blends in eight bits: one level.
    assert np.abs(pixels(synth.encoded(ALPHA, format, **options)) - expected).max() <= 1


def test_a_palette_s_hole_is_white() -> None:
    palette = RGB.quantize(16)
    hole = palette.getpixel((10, 10))
    made = pixels(synth.encoded(palette, "PNG", transparency=hole))
    holes = np.asarray(palette) == hole
    assert (made[holes] == 255).all() and np.array_equal(made[~holes], np.asarray(palette.convert("RGB"))[~holes])


def test_a_colour_that_stands_for_transparent_is_white() -> None:
    image = RGB.copy()
    image.paste((1, 2, 3), (0, 0, 10, 10))
    made = pixels(synth.encoded(image, "PNG", transparency=(1, 2, 3)))
    assert (made[:10, :10] == 255).all() and np.array_equal(made[10:], np.asarray(image)[10:])


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_high_byte(format: str) -> None:
    """Pillow's own `convert` would clip at 255: white all over."""
    assert np.array_equal(pixels(synth.encoded(DEEP, format))[..., 0], np.asarray(GREY))


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_wider_values_are_stretched(dtype: type) -> None:
    values = np.linspace(-5e5, 5e5, 256, dtype=dtype).reshape(16, 16)
    made = pixels(synth.encoded(Image.fromarray(values), "TIFF"))
    assert np.abs(made[..., 0].ravel() - np.arange(256.0)).max() <= 1  # rounding of the integers


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 0.5, 0.25], [0, 128, 64]), ([0.2, 0.2, 0.2], [51, 51, 51]), ([7.0, 7.0, 7.0], [0, 0, 0])],
)
def test_floats_in_the_unit_range_are_fractions_of_white(values: list[float], expected: list[int]) -> None:
    image = Image.fromarray(np.array([values], np.float32))
    assert pixels(synth.encoded(image, "TIFF"))[0, :, 0].tolist() == expected


def test_pixels_that_are_no_numbers_are_an_error() -> None:
    image = Image.fromarray(np.array([[0.5, np.nan]], np.float32))
    with pytest.raises(DecodeError, match="finite"):
        open_image(synth.encoded(image, "TIFF"))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = synth.encoded(RGB, format, exif=exif)
    plain = pixels(synth.encoded(RGB, format))
    oriented = Image.fromarray(plain)
    oriented.getexif()[0x0112] = orientation
    assert np.array_equal(pixels(stored), np.asarray(ImageOps.exif_transpose(oriented)))


@pytest.mark.parametrize(
    "notes", [b"", b"junk", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff\x01\x12"]
)
def test_damaged_notes_leave_the_picture_as_it_is(notes: bytes) -> None:
    data = synth.encoded(RGB, "JPEG", exif=b"Exif\0\0" + notes)
    assert np.array_equal(pixels(data), pixels(synth.encoded(RGB, "JPEG")))


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_many_frames_it_is_the_first(format: str) -> None:
    options = {"save_all": True, "append_images": FRAMES} if format == "TIFF" else dict(MANY)
    if format == "WEBP":
        options["lossless"] = True
    made = pixels(synth.encoded(RGB, format, **options)).astype(int)
    assert np.abs(made - np.asarray(RGB)).mean() < (8 if format == "GIF" else 1e-9)  # 256 colours


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, beside our error
def test_a_picture_that_was_cut_is_an_error(format: str, part: float) -> None:
    data = synth.encoded(synth.picture(320, 240), format)
    with pytest.raises(DecodeError, match=f"damaged {format.lower()}"):
        open_image(data[: int(len(data) * part)])


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_animation_that_was_cut_is_an_error(format: str) -> None:
    options = {"save_all": True, "append_images": FRAMES} if format == "TIFF" else dict(MANY)
    data = synth.encoded(RGB, format, **options)
    with pytest.raises(DecodeError):
        open_image(data[: int(len(data) * 0.7)])


def test_the_frame_that_is_damaged_is_named(zoo: Zoo) -> None:
    with pytest.raises(DecodeError, match=r"bad second frame\.gif: damaged gif, frame 2"):
        open_image(zoo.folder / "bad second frame.gif")


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"]), st.integers(0, 10**9), st.integers(1, 255)
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_flipped_byte_gives_a_picture_or_an_error_of_ours(format: str, where: int, flip: int) -> None:
    data = bytearray(synth.encoded(RGB, format))
    data[8 + where % (len(data) - 8)] ^= flip
    with contextlib.suppress(MediaError):  # NotMedia where the first bytes are hit
        assert open_image(bytes(data), max_pixels=10**6).data.ndim == 4


def test_a_bomb_is_refused_by_its_header(zoo: Zoo) -> None:
    with pytest.raises(MediaTooLarge, match=r"bomb\.png: 40000 x 40000 is 1600000000 pixels, more than the 178956970"):
        open_image(zoo.folder / "bomb.png")


def test_the_cap_is_the_caller_s() -> None:
    data = synth.encoded(RGB, "PNG")
    assert pixels(data, max_pixels=64 * 48).shape == (48, 64, 3)
    with pytest.raises(MediaTooLarge, match="max_pixels"):
        open_image(data, max_pixels=64 * 48 - 1)


def test_frames_are_checked_up_to_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(synth.encoded(RGB, "GIF", **MANY))
    last = data.rindex(b"\x2c\0\0\0\0")
    data[last + 800 : last + 900] = b"\xff" * 100
    with pytest.raises(DecodeError, match="frame 4"):
        open_image(bytes(data))
    assert pixels(bytes(data), max_pixels=2 * 64 * 48).shape == (48, 64, 3)  # frames 2 and 3 use it up


@pytest.mark.parametrize("turned", [1, 6])
@pytest.mark.parametrize(
    ("at_least", "side"), [(None, 480), (1000, 480), (480, 480), (241, 480), (240, 240), (100, 120), (60, 60), (1, 60)]
)
def test_large_jpegs_are_scaled_to_no_less_than_asked(at_least: int | None, side: int, turned: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turned
    image = synth.picture(640, 480)
    made = pixels(synth.encoded(image, "JPEG", exif=exif), at_least=at_least)
    assert min(made.shape[:2]) == side and made.shape[:2] == (
        (side, side * 4 // 3) if turned == 1 else (side * 4 // 3, side)
    )


def test_scaling_keeps_the_picture() -> None:
    image = synth.picture(640, 480)
    small = pixels(synth.encoded(image, "JPEG", quality=95), at_least=100)
    expected = np.asarray(image.resize((160, 120), Image.Resampling.BOX)).astype(int)
    assert np.abs(small - expected).mean() < 2  # of 255: the cosine transform's own low pass is not a box


def test_a_side_that_the_fraction_does_not_divide_is_not_moved() -> None:
    """The decoder gives 160 columns for the 159.75 of 639: waves, whose flank moves with them, show where they lie."""
    row = 127.5 + 100 * np.sin(2 * np.pi * np.arange(639) / 24)
    waves = Image.fromarray(np.tile(np.rint(row)[None, :, None], (477, 1, 3)).astype(np.uint8))
    small = pixels(synth.encoded(waves, "JPEG", quality=95), at_least=100)
    assert small.shape == (119, 159, 3)
    off = small - np.asarray(waves.resize((159, 119), Image.Resampling.LANCZOS)).astype(float)
    assert np.abs(off[:, -41:-1]).mean() < 5  # 2.3 for the decoder's own low pass; 14 squeezed from 160 columns, 40 cut


def test_other_formats_are_exact_whatever_is_asked() -> None:
    image = synth.picture(640, 480)
    assert np.array_equal(pixels(synth.encoded(image, "PNG"), at_least=10), np.asarray(image))


def test_heic_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    heic = struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(100)
    with pytest.raises(MissingExtra, match=r"pip install 'percepts\[avif\]'"):
        open_image(heic)


def test_heic_with_its_library() -> None:
    heif = pytest.importorskip("pillow_heif", reason="needs the extra avif")
    file = io.BytesIO()
    heif.from_pillow(RGB).save(file, quality=100)
    assert np.abs(pixels(file.getvalue()).astype(int) - np.asarray(RGB)).mean() < 4  # lossy
    with pytest.raises(DecodeError, match="damaged heic"):
        open_image(file.getvalue()[: len(file.getvalue()) // 2])


def test_a_large_picture_is_the_same_as_a_small_one() -> None:
    """Pillow stores large pictures in blocks of 16 MB; the rows must come out in order all the same."""
    values = np.arange(2500 * 2500 * 3, dtype=np.uint32).reshape(2500, 2500, 3) % 251
    image = values.astype(np.uint8)
    assert np.array_equal(pixels(synth.encoded(Image.fromarray(image), "BMP")), image)


@pytest.mark.parametrize("mode", ["F", "I"])
@pytest.mark.parametrize("values", [(0.0, 1.0), (-7.0, 300.5), (3.0, 3.0), (0.0, 70_000.0), (0.0, 65_535.0)])
def test_stretching_in_strips_gives_what_stretching_all_at_once_gave(mode: str, values: tuple[float, float]) -> None:
    kind = np.float32 if mode == "F" else np.int32
    data = np.random.default_rng(0).uniform(*values, (150, 40)).astype(kind)
    data.flat[:2] = values
    low, high = float(data.min()), float(data.max())
    if mode == "I" and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0 if high > 255 else 255.0
    elif mode == "F" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    wide = data.astype(np.float64)
    expected = np.rint((wide - low) * (255 / (high - low)) if high > low else wide * 0).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(data).save(file, "TIFF")
    assert (open_image(file.getvalue()).data[0, ..., 0] == expected).all()


@pytest.mark.parametrize(("megabytes", "fits"), [(4096, True), (700, False)])
def test_the_limit_of_memory_is_a_limit_of_pixels(tmp_path: Path, megabytes: int, fits: bool) -> None:
    Image.new("L", (8000, 8000)).save(tmp_path / "large.png")
    code = (
        "import resource, sys; from percepts.media import open_image\n"
        f"resource.setrlimit(resource.RLIMIT_DATA, ({megabytes} << 20,) * 2)\n"
        "try: print(open_image(sys.argv[1]).data.shape)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "large.png")]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if fits:
        assert found.startswith("(1, 8000, 8000, 3)")
    else:
        assert found.startswith("MediaTooLarge")
        assert "8000 x 8000 is 64000000 pixels, more than the" in found
        assert "more memory" in found


def test_a_tiff_of_many_pages_is_looked_at_up_to_a_limit() -> None:
    rows = [(256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 4), (278, 1), (279, 1)]  # one grey pixel
    body = struct.pack("<H", len(rows)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in rows)
    size, pages = len(body) + 4, 40_000
    data = b"II*\0" + struct.pack("<I", 8)
    data += b"".join(body + struct.pack("<I", 8 + (page + 1) * size) for page in range(pages - 1)) + body + bytes(4)
    began = time.process_time()
    assert open_image(data).data.shape == (1, 1, 1, 3)
    assert time.process_time() - began < 20  # all of them take a minute, and ten times as many ten hours


def test_a_gif_of_a_giant_canvas_is_refused_before_it_is_made() -> None:
    frame = b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\x02\x02\x4c\x01\0;"
    data = b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\x80\0\0" + bytes(6) + frame
    with pytest.raises(MediaTooLarge, match="65535 x 65535 is 4294836225 pixels"):
        open_image(data)
