"""Find the format of a source from its first bytes. Its name and extension are not used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Literal

from ..errors import NotMedia
from .source import Source, name_of, open_source

PICTURES = frozenset({"jpeg", "png", "gif", "webp", "tiff", "bmp", "avif", "heic"})
"""Formats that `open_image` reads."""
CONTAINERS = frozenset({"mp4", "mov", "m4a", "mkv", "webm", "avi", "ogg", "ts", "mpeg", "flv", "asf"})
"""Formats that may hold audio, video or both. Only their streams tell which."""

_HEAD = 4096
_FTYP = {b"avif": "avif", b"avis": "avif", b"M4A ": "m4a", b"M4B ": "m4a", b"qt  ": "mov"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "heic"
)
# (offset, bytes, format); the first match counts.
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    (8, b"WEBP", "webp"),
    (0, b"II*\x00", "tiff"),
    (0, b"MM\x00*", "tiff"),
    (0, b"II+\x00", "tiff"),
    (0, b"MM\x00+", "tiff"),
    (8, b"WAVEfmt ", "wav"),
    (8, b"WAVE", "wav"),
    (8, b"AVI ", "avi"),
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (8, b"AIFF", "aiff"),
    (8, b"AIFC", "aiff"),
    (0, b".snd", "au"),
    (0, b"caff", "caf"),
    (0, b"riff\x2e\x91\xcf\x11", "w64"),
    (0, b"#!AMR", "amr"),
    (0, b"\x0b\x77", "ac3"),
    (0, b"FLV\x01", "flv"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (0, b"\x00\x00\x01\xba", "mpeg"),
    (0, b"\x00\x00\x01\xb3", "mpegvideo"),
    (4, b"moov", "mov"),
    (4, b"mdat", "mov"),
    (4, b"wide", "mov"),
    (4, b"skip", "mov"),
    (4, b"free", "mov"),
)
# Formats whose bytes at offset 8 count only after these at offset 0.
_OUTER = {
    "webp": (b"RIFF",),
    "wav": (b"RIFF", b"RIFX", b"RF64"),
    "avi": (b"RIFF",),
    "aiff": (b"FORM",),
}
_TS_PACKETS = (188, 192, 204)


@dataclass(frozen=True, slots=True)
class Probe:
    """The kind of media in a source, its format and its streams.

    Attributes:
        kind: "image", "audio" or "video". A file with video is "video", with or without audio.
        format: short name of the format: "jpeg", "wav", "mp4", …
        audio: it has audio.
        video: it has video. A cover image does not count.
    """

    kind: Literal["image", "audio", "video"]
    format: str
    audio: bool
    video: bool


def probe(source: Source) -> Probe:
    """Return what a source holds, by its first bytes. Containers are opened to list their streams.

    >>> from percepts.media import probe
    >>> probe(b"GIF89a....")
    Probe(kind='image', format='gif', audio=False, video=False)

    Raises:
        FileNotFoundError, PermissionError, IsADirectoryError: as `open` would.
        NotMedia: no format that percepts reads; the message shows the first bytes.
        DecodeError: a container is so damaged that its streams cannot be listed.
    """
    format = sniff_format(source)
    if format in PICTURES:
        return Probe("image", format, audio=False, video=False)
    if format not in CONTAINERS:
        return Probe(
            "video" if format == "mpegvideo" else "audio", format, format != "mpegvideo", format == "mpegvideo"
        )
    from .container import find_audio_stream, find_video_stream, open_container

    with open_container(source, format) as container:
        audio, video = find_audio_stream(container) is not None, find_video_stream(container) is not None
        if not audio and not video:
            held = ", ".join(sorted({stream.type for stream in container.streams})) or "none"
            raise NotMedia(f"{name_of(source)}: is {format} with neither audio nor video (its streams: {held})")
    return Probe("video" if video else "audio", format, audio, video)


def sniff_format(source: Source) -> str:
    """Return the format by the first bytes: one of `PICTURES` or `CONTAINERS`, or an audio format.

    Raises:
        FileNotFoundError, PermissionError, IsADirectoryError, NotMedia: as `probe`.
    """
    with open_source(source) as file:
        return sniff_open_file(file, source)


def sniff_open_file(file: BinaryIO, source: Source) -> str:
    """Return the format of an open file, as `sniff_format` does, and go back to its first byte."""
    head = file.read(_HEAD)
    format = _identify_format(head) or _identify_after_id3(head, file)
    if format is None:
        raise NotMedia(_unknown_format(head, file, source))
    file.seek(0)
    return format


def _identify_format(head: bytes) -> str | None:
    for offset, magic, format in _MAGIC:
        if head.startswith(magic, offset) and head.startswith(_OUTER.get(format, (b"",))):
            return format
    return (
        _identify_mp4(head)
        or _identify_matroska(head)
        or _identify_bmp(head)
        or _identify_mpeg_ts(head)
        or _identify_mpeg_audio(head)
    )


def _identify_mp4(head: bytes) -> str | None:
    """Identify MP4 and related formats by the brands in the ftyp box."""
    if head[4:8] != b"ftyp":
        return None
    size = max(16, min(int.from_bytes(head[:4], "big"), 256))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, size, 4))]
    if brands[0] in (b"mif1", b"msf1"):  # HEIF, whose codec only the compatible brands tell
        return next((_FTYP[brand] for brand in brands if _FTYP.get(brand) in PICTURES), "heic")
    return _FTYP.get(brands[0], "mp4")


def _identify_matroska(head: bytes) -> str | None:
    if not head.startswith(b"\x1a\x45\xdf\xa3"):
        return None
    return "webm" if b"\x42\x82\x84webm" in head[:128] else "mkv"


def _identify_bmp(head: bytes) -> str | None:
    """Identify BMP. Two letters are too few to go by, so the size of the header must be one of the seven that exist."""
    known = int.from_bytes(head[14:18], "little") in (12, 40, 52, 56, 64, 108, 124)
    return "bmp" if head.startswith(b"BM") and known else None


def _identify_mpeg_ts(head: bytes) -> str | None:
    """Identify an MPEG transport stream: each of its packets begins with a sync byte."""
    for size in _TS_PACKETS:
        at = range(4 if size == 192 else 0, len(head), size)  # 192: four bytes of time stamp before each packet (M2TS)
        if len(at) >= 3 and all(head[i] == 0x47 for i in at):
            return "ts"
    return None


def _identify_mpeg_audio(head: bytes) -> str | None:
    """Identify MPEG audio (layers I, II, III) or AAC in ADTS by the header of the first frame."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0xF6 == 0xF0:
        return "aac" if (head[2] >> 2) & 0xF < 13 else None
    # FF FE is the byte order mark of UTF-16 text; as MPEG it would be layer I, which nobody uses
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    is_valid = head[1] != 0xFE and version != 1 and layer != 0 and bitrate != 15 and rate != 3
    return "mp3" if is_valid else None


def _identify_after_id3(head: bytes, file: BinaryIO) -> str | None:
    """Identify what follows an ID3 tag. The tag may hold a cover image of megabytes, so the file is read behind it."""
    size = id3_tag_size(head)
    if not size:
        return None
    file.seek(size)
    rest = file.read(_HEAD).lstrip(b"\x00")  # some programs add padding that the stated size leaves out
    return _identify_format(rest) or "mp3"


def id3_tag_size(head: bytes) -> int:
    """Return the bytes of the ID3 tag at the beginning of a file; 0 where there is none."""
    if not head.startswith(b"ID3") or len(head) < 10:
        return 0
    size = 0
    for byte in head[6:10]:  # seven bits each
        size = size << 7 | byte & 0x7F
    return 10 + size


def _unknown_format(head: bytes, file: BinaryIO, source: Source) -> str:
    size = file.seek(0, 2)
    if size == 0:
        return f"{name_of(source)}: is empty, 0 bytes"
    return f"{name_of(source)}: not an image, audio or video file that percepts reads ({size} bytes: {head[:16]!r})"
