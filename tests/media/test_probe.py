"""What a source holds is told by its first bytes, and a string is a path, always."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import synth
from av.stream import Disposition
from zoo import Zoo

from percepts.errors import NotMedia
from percepts.media import is_url, open_audio, open_image, probe, stream_audio, stream_frames


@pytest.mark.parametrize(
    "text",
    [
        "a photo of a cat",
        "cat.jpg",
        "",
        "two\nlines",
        "with a \0 in it",
        "x" * 5000,
        "https://example.org/cat.jpg?size=2",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "concat:/etc/passwd",
        "pipe:0",
    ],
)
@pytest.mark.parametrize(
    "call", [probe, open_image, lambda s: list(stream_audio(s)), lambda s: list(stream_frames(s, fps=1))]
)
def test_a_string_that_is_no_file_is_a_missing_file(call, text: str) -> None:
    with pytest.raises(FileNotFoundError):
        call(text)


def test_a_url_is_told_how_urls_are_allowed() -> None:
    with pytest.raises(FileNotFoundError, match=r"URLs are off.*hosts.*https://example\.org/cat\.jpg"):
        probe("https://example.org/cat.jpg")


def test_urls_are_told_from_paths() -> None:
    assert is_url("https://example.org/a.jpg") and is_url("HTTP://EXAMPLE.ORG") and is_url("file:///etc/passwd")
    assert not any(map(is_url, ("a.jpg", "/a/b.jpg", r"C:\a.jpg", "C:/a.jpg", "a: b", "notes: http://x", "")))


def test_a_directory_is_no_file_even_when_it_is_named_like_a_picture(zoo: Zoo) -> None:
    with pytest.raises(IsADirectoryError, match=r"directory\.jpg"):
        probe(zoo.folder / "directory.jpg")


def test_a_file_is_no_directory(zoo: Zoo) -> None:
    with pytest.raises(FileNotFoundError, match="not a directory"):
        probe(zoo.folder / "plain.jpg" / "inside.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_whose_end_never_comes_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jpg")
    with pytest.raises(NotMedia, match="named pipe"):
        probe(tmp_path / "x.jpg")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are text")
def test_a_name_that_is_not_unicode_is_a_name(tmp_path: Path) -> None:
    for made in (
        synth.write_film(tmp_path / "x.mp4", 3),
        synth.write_sound(tmp_path / "x.flac", synth.tone(8000, 0.1), 8000, "flac"),
    ):
        odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9" + os.fsencode(made.suffix)))
        made.rename(odd)
        found = probe(odd)
        clips = list(stream_frames(odd, fps=10) if found.video else stream_audio(odd))
        assert clips
    odd.write_bytes(b"")
    with pytest.raises(NotMedia, match=r"caf\\xe9"):
        probe(odd)


def test_only_paths_and_bytes_are_sources() -> None:
    with pytest.raises(TypeError, match="expected a path"):
        probe(3)  # type: ignore[arg-type]


def test_extensions_mean_nothing(zoo: Zoo, tmp_path: Path) -> None:
    for name, format in {
        "plain.jpg": "jpeg",
        "plain.avif": "avif",
        "plain.tiff": "tiff",
        "plain.webp": "webp",
        "plain.opus": "ogg",
        "plain.m4a": "m4a",
        "sound.webm": "webm",
        "film.mkv": "mkv",
        "film.ts": "ts",
    }.items():
        for other in ("x", "x.JPG", "x.txt", "x.mp3", "x.wav?size=3"):
            path = tmp_path / other
            path.write_bytes((zoo.folder / name).read_bytes())
            assert probe(path) == probe(zoo.folder / name) and probe(path).format == format


def test_the_cover_of_a_record_is_no_film(tmp_path: Path) -> None:
    bare = synth.write_sound(tmp_path / "bare.mp4", synth.tone(44100, 0.5), 44100, "aac")
    covered = tmp_path / "covered.mp4"
    with av.open(str(bare)) as source, av.open(str(covered), "w") as out:
        track = out.add_stream_from_template(source.streams.audio[0])
        art = out.add_stream("mjpeg")
        art.width, art.height, art.pix_fmt = 64, 48, "yuvj420p"
        art.disposition = Disposition.attached_pic
        cover = av.Packet(synth.encoded(synth.picture(), "JPEG"))
        cover.stream, cover.pts, cover.dts, cover.is_keyframe = art, 0, 0, True
        for packet in list(source.demux(audio=0)):
            if packet.size:
                packet.stream = track
                out.mux(packet)
        out.mux(cover)
    assert probe(covered).kind == "audio"
    assert np.array_equal(open_audio(covered).data, open_audio(bare).data)
    with pytest.raises(NotMedia, match="no video"):
        list(stream_frames(covered, fps=1))


def test_a_tag_of_megabytes_before_the_sound_is_passed_over(zoo: Zoo) -> None:
    size = 3_000_000
    tag = (
        b"ID3\x04\x00\x00" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + b"\xff\xd8\xff" + bytes(size - 3)
    )
    for name, format in {"plain.mp3": "mp3", "plain.flac": "flac", "plain.aac": "aac"}.items():
        data = tag + (zoo.folder / name).read_bytes()
        assert probe(data).format == format
        whole = sum(clip.length for clip in stream_audio(data))
        assert whole == sum(clip.length for clip in stream_audio(zoo.folder / name))


def test_letters_that_begin_like_a_picture_are_not_one() -> None:
    for text in (
        b"BM is not only a bitmap, it is two letters",
        b"GIF is an old format",
        b"RIFF and WAVE",
        b"\xff\xfeh\x00i\x00",
    ):
        with pytest.raises(NotMedia):
            probe(text)


def test_a_picture_has_no_sound_and_a_sound_no_pictures(zoo: Zoo) -> None:
    with pytest.raises(NotMedia, match="has no audio"):
        list(stream_audio(zoo.folder / "plain.jpg"))
    with pytest.raises(NotMedia, match="no audio stream"):
        list(stream_audio(zoo.folder / "silent.mp4"))
    with pytest.raises(NotMedia, match="no video"):
        list(stream_frames(zoo.folder / "plain.m4a", fps=1))
    with pytest.raises(NotMedia, match="not an image"):
        open_image(zoo.folder / "film.mp4")


def test_pictures_are_probed_and_opened_without_ffmpeg_torch_or_libsndfile(zoo: Zoo) -> None:
    code = (
        "import sys; from percepts.media import open_image, probe; p = sys.argv[1]; probe(p); open_image(p)\n"
        "print([m for m in ('av', 'torch', 'transformers', 'soundfile') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(zoo.folder / "plain.jpg")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"
