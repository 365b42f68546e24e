"""Decode an image into a clip of one frame, (1, H, W, 3) uint8 RGB, upright. A damaged image is an error."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)

from ..errors import DecodeError, MediaError, MediaTooLarge, MissingExtra, NotMedia
from ..types import Clip
from .probe import sniff_open_file
from .source import Source, name_of, open_source, source_path

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

MAX_PIXELS = 178_956_970
"""Pixels of one image: 512 MiB at three bytes a pixel, the number beyond which Pillow, too, raises an error."""
MAX_BYTES = 2**31
"""Bytes of an image file."""
MAX_FRAMES = 10_000
"""Frames or pages that are decoded. The time that Pillow takes for a page of TIFF grows with its number: 10,000 of one
pixel each take 2 s, 20,000 take 5 s, and a million would take hours."""

_STRIP = 64  # rows converted at a time
# Peak bytes a pixel while an image is decoded, its file included (measured: 17 for TIFF of 32-bit floats and for PNG
# with transparency, 12 for 16 bits; WebP of pure noise with transparency takes 29); bytes of the process beside the
# image; and the number of pixels that is tried in any case.
_PIXEL_BYTES, _PROCESS_BYTES, _FEW_PIXELS = 20, 384 << 20, 1 << 22
_ORIENTATION, _SHORT = 0x0112, 3
_GIF_FRAME, _GIF_NOTE, _GIF_END = 0x2C, 0x21, 0x3B
# How to turn a stored image upright, by EXIF orientation (EXIF 2.3, 4.6.4). Pillow rotates counterclockwise.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_image(source: Source, *, at_least: int | None = None, max_pixels: int | None = None) -> Clip:
    """Decode an image into a clip: (1, H, W, 3) uint8 RGB, rate 0.0.

    Reads JPEG, PNG, WebP, GIF, TIFF, BMP and AVIF, and HEIC with the extra `avif`. The image is turned upright by its
    EXIF orientation, and transparency is composited on white. Samples of 16 bits keep their high byte. Floats and
    32-bit integers, which have no agreed white, are stretched from their smallest to their largest value, unless they
    lie in [0, 1]. Colour profiles are not applied.
    Of an animation or a document of many pages, the clip is the first frame. The others are decoded too, up to 10,000
    and to `max_pixels` in all, since a file whose second frame is damaged is a damaged file.

    Args:
        source: path or bytes.
        at_least: the shortest side, in pixels, that the caller needs. A larger JPEG is then decoded at 1/2, 1/4 or 1/8,
            never below it, several times faster for 12 megapixels. Ask for twice the size that you resize to: measured
            on photos, vectors keep a cosine of .9982 to the exact ones, and only .967 at once the size. None: exact.
        max_pixels: refuse an image whose header states more, before anything is decoded. None: MAX_PIXELS, or fewer
            where this process may not use the memory for so many (RLIMIT_DATA, as in workers of a job).

    Raises:
        FileNotFoundError, PermissionError, IsADirectoryError: as `open` would.
        NotMedia: the source is not an image.
        DecodeError: the image is damaged; the message says how, and in which frame if not in the first.
        MediaTooLarge: more pixels than `max_pixels`, or a file of more than 2 GiB.
        MissingExtra: HEIC without pillow-heif.
    """
    with open_source(source) as file:
        format = sniff_open_file(file, source)
        if format not in _OPENERS:
            raise NotMedia(f"{name_of(source)}: is {format}, not an image")
        data = source if isinstance(source, bytes) else _read_image_bytes(file)
    max_pixels = _affordable_pixels() if max_pixels is None else max_pixels
    if len(data) > MAX_BYTES:
        raise MediaTooLarge(f"{name_of(source)}: has {len(data)} bytes or more; an image file may have {MAX_BYTES}")
    try:
        with _OPENERS[format](io.BytesIO(data)) as image:
            _check_pixel_count(image, max_pixels, source)
            pixels = _read_pixels(_convert_to_rgb(_rotate_upright(_decode_image(image, at_least))))
            if getattr(image, "is_animated", False):
                _check_others(image, format, max_pixels, source)
            if format == "gif":
                _check_gif(data)
    except (MediaError, MissingExtra):
        raise
    except Exception as error:  # `_damaged_media` says why
        raise _damaged_media(source, format, error) from error
    return Clip(pixels, "image", 0.0, source=source_path(source))


def array_image(picture: np.ndarray | Image.Image, *, source: str = "") -> Clip:
    """Make a clip of an image in memory, as `open_image` does: upright, RGB, transparency composited on white.

    Args:
        picture: a Pillow image, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, or of floats in [0, 1].
        source: name of the source, for the clip.

    Raises:
        ValueError: another shape or type, channels first, or floats outside [0, 1].
    """
    if isinstance(picture, Image.Image):
        return Clip(_read_pixels(_convert_to_rgb(_rotate_upright(picture))), "image", 0.0, source=source)
    data = np.asarray(picture)
    data = data[..., 0] if data.ndim == 3 and data.shape[-1] == 1 else data
    if data.ndim not in (2, 3) or (data.ndim == 3 and data.shape[-1] not in (3, 4)) or not data.size:
        raise ValueError(f"expected an image (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got shape {data.shape}")
    if data.dtype.kind == "f":
        low, high = float(data.min()), float(data.max())
        if not (low >= 0 and high <= 1):  # NaN too
            raise ValueError(f"expected floats in [0, 1], or uint8 in [0, 255]; got {data.dtype} from {low} to {high}")
        data = np.rint(data * 255).astype(np.uint8)
    if data.dtype != np.uint8:
        raise ValueError(f"expected uint8, or floats in [0, 1], got {data.dtype}")
    return Clip(_read_pixels(_convert_to_rgb(Image.fromarray(data))), "image", 0.0, source=source)


def _damaged_media(source: Source, what: str, error: Exception) -> DecodeError:
    """Return the DecodeError for an error of Pillow.

    Pillow raises errors of many types for a damaged file. OSError, SyntaxError, EOFError, struct.error, IndexError,
    TypeError, ZeroDivisionError, RuntimeError and MemoryError were all seen on files that were cut or had bits flipped.
    So every Exception while a file is decoded means that the file is damaged.
    """
    return DecodeError(f"{name_of(source)}: damaged {what}: {error or type(error).__name__}")


def _check_others(image: Image.Image, format: str, max_pixels: int, source: Source) -> None:
    """Decode the frames after the first, up to MAX_FRAMES and `max_pixels` in all."""
    budget = max_pixels
    for number in range(2, MAX_FRAMES + 1):
        try:
            image.seek(number - 1)
            _check_pixel_count(image, max_pixels, source)
            image.load()
        except EOFError:
            return
        except MediaError:
            raise
        except Exception as error:
            raise _damaged_media(source, f"{format}, frame {number}", error) from error
        budget -= image.width * image.height
        if budget <= 0:
            return


class _QuietJpegFile(JpegImagePlugin.JpegImageFile):
    """JPEG reader that does not look for dots per inch: that warns about damaged EXIF data of intact images."""

    def _read_dpi_from_exif(self) -> None:
        pass


def _open_avif(file: io.BytesIO) -> Image.Image:
    if not features.check("avif"):
        raise MissingExtra("AVIF images need a Pillow that reads them: pip install 'pillow>=11.3'")
    from PIL import AvifImagePlugin

    return AvifImagePlugin.AvifImageFile(file)


def _open_heic(file: io.BytesIO) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise MissingExtra("HEIC images need pillow-heif: pip install 'percepts[avif]'") from error
    open_heif: Callable[[io.BytesIO], Image.Image] = HeifImageFile  # the package has no types
    return open_heif(file)


# The classes themselves, not Image.open, which would try formats that the first bytes do not show.
_OPENERS: dict[str, Callable[[io.BytesIO], Any]] = {
    "jpeg": _QuietJpegFile,
    "png": PngImagePlugin.PngImageFile,
    "gif": GifImagePlugin.GifImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "avif": _open_avif,
    "heic": _open_heic,
}


def _check_pixel_count(image: Image.Image, max_pixels: int, source: Source) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise MediaTooLarge(
            f"{name_of(source)}: {width} x {height} is {width * height} pixels, more than the {max_pixels} allowed"
            f" (max_pixels). Scale it down{'' if max_pixels >= MAX_PIXELS else ', or give more memory to a process'}"
        )


def _read_image_bytes(file: BinaryIO) -> bytes:
    """Read up to MAX_BYTES and one more. `read(MAX_BYTES)` would allocate that much, so the size is asked first."""
    size = file.seek(0, 2)
    file.seek(0)
    return file.read(min(size, MAX_BYTES) + 1)


def _affordable_pixels() -> int:
    """Return how many pixels can be decoded within the memory limit of this process, at most MAX_PIXELS."""
    if resource is not None:
        room = resource.getrlimit(resource.RLIMIT_DATA)[0]
        if room != resource.RLIM_INFINITY:
            return min(MAX_PIXELS, max(_FEW_PIXELS, (room - _PROCESS_BYTES) // _PIXEL_BYTES))
    return MAX_PIXELS


def _decode_image(image: Image.Image, at_least: int | None) -> Image.Image:
    """Decode an image; a JPEG perhaps at a fraction of its size.

    The decoder rounds a side up that the fraction does not divide: 1535 becomes 768, of which 767.5 are the image.
    The part beyond is cut off and the rest resampled to 767; otherwise crops would be half a pixel off.
    """
    scaled = image.draft(None, (at_least, at_least)) if at_least is not None else None
    image.load()
    if scaled is None:
        return image
    width, height = scaled[1][2:]
    size = int(width), int(height)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS, box=(0, 0, width, height))


def _rotate_upright(image: Image.Image) -> Image.Image:
    turn = _UPRIGHT.get(_read_orientation(image.info.get("exif") or b""))
    return image if turn is None else image.transpose(turn)


def _read_orientation(exif: bytes) -> int:
    """Return the orientation in EXIF data; 1, as stored, where the data is damaged, since the image may be intact.

    Pillow's own reader warns or fails at EXIF data that many cameras write. TIFF and AVIF, which have no EXIF block in
    this form, are turned by Pillow's decoders.
    """
    body = exif.removeprefix(b"Exif\x00\x00")
    order = {b"II": "<", b"MM": ">"}.get(body[:2])
    try:
        if order is not None:
            (at,) = struct.unpack_from(f"{order}I", body, 4)
            (entries,) = struct.unpack_from(f"{order}H", body, at)
            for entry in range(at + 2, at + 2 + 12 * entries, 12):
                tag, kind, _, value = struct.unpack_from(f"{order}HHIH", body, entry)
                if tag == _ORIENTATION and kind == _SHORT:
                    return int(value)
    except struct.error:
        pass
    return 1


def _convert_to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.has_transparency_data:
        if image.mode == "La":  # premultiplied alpha: Pillow converts it only to LA
            image = image.convert("LA")
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=image.getchannel("A"))
        return white
    return _CONVERT.get(image.mode, _drop_transparency)(image)


def _drop_transparency(image: Image.Image) -> Image.Image:
    return image.convert("RGB")


def _convert_16_bit(image: Image.Image) -> Image.Image:
    """Convert 16-bit grey to RGB by the high byte, as Pillow does for 16-bit colour."""
    # `convert` would clip at 255 and give white
    return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)).convert("RGB")


def _stretch_range(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite((low, high)).all():
        raise ValueError("some pixels are NaN or infinite")
    if image.mode == "I" and low >= 0 and high <= 65535:  # 16 bits in a wider type, as in many TIFF files
        low, high = 0.0, 65535.0 if high > 255 else 255.0
    elif image.mode == "F" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    grey = np.zeros(values.shape, np.uint8)
    # in strips, because float64 copies of the image would double the memory (measured: 33 bytes a pixel, not 17)
    for top in range(0, len(values) if high > low else 0, _STRIP):
        strip = values[top : top + _STRIP].astype(np.float64)
        grey[top : top + _STRIP] = np.rint((strip - low) * (255 / (high - low)))
    return Image.fromarray(grey).convert("RGB")


def _convert_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    to_rgb = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    converted = ImageCms.applyTransform(image, to_rgb)
    if converted is None:
        raise ValueError("its LAB colours cannot be converted")
    return converted


_CONVERT: dict[str, Callable[[Image.Image], Image.Image]] = {
    "I;16": _convert_16_bit,
    "I;16L": _convert_16_bit,
    "I;16B": _convert_16_bit,
    "I;16N": _convert_16_bit,
    "I": _stretch_range,
    "F": _stretch_range,
    "LAB": _convert_lab,
}


def _read_pixels(image: Image.Image) -> np.ndarray:
    """Return the pixels of an RGB image, (1, H, W, 3) uint8.

    They are copied in strips that stay in the processor's cache, four times faster at 12 megapixels than in one copy.
    """
    pixels = np.empty((1, image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _STRIP):
        strip = image.crop((0, top, image.width, min(top + _STRIP, image.height)))
        pixels[0, top : top + _STRIP] = np.asarray(strip)
    return pixels


def _check_gif(data: bytes) -> None:
    """Walk the blocks of a GIF; raise ValueError where one is damaged. Pillow takes such a block for the end."""
    at, frame = 13 + _palette_bytes(data[10]), 0
    while at < len(data) and data[at] != _GIF_END:
        if data[at] == 0 and frame:  # padding that some writers leave between blocks
            at += 1
            continue
        if data[at] not in (_GIF_FRAME, _GIF_NOTE):
            raise ValueError(f"after frame {frame} comes byte {data[at]:#04x}, which begins no block")
        frame += data[at] == _GIF_FRAME
        at += 11 + _palette_bytes(data[at + 9]) if data[at] == _GIF_FRAME else 2
        while data[at]:  # sub-blocks, each led by its length
            at += data[at] + 1
        at += 1


def _palette_bytes(flags: int) -> int:
    """Return the bytes of the colour table that flags of a GIF announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
