"""Sound that comes through a pipe or a microphone: the same samples as from a file, however it comes."""

from __future__ import annotations

import io
import os
import struct
import sys
import threading
import types

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from percepts.errors import MediaError, MissingExtra, NotMedia
from percepts.media.capture import stream_microphone, stream_pipe

SOUND = (0.5 * np.sin(np.arange(12_345) / 7)).astype(np.float32)


class Drip(io.RawIOBase):
    """A pipe that gives so many bytes at a time."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self.data, self.sizes, self.calls = data, sizes or [4096], 0

    def read(self, count: int = -1) -> bytes:
        size = min(self.sizes[self.calls % len(self.sizes)], count)
        self.calls += 1
        out, self.data = self.data[:size], self.data[size:]
        return out


def wav(subtype: str, samples: np.ndarray = SOUND, rate: int = 22_050) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype=subtype, format="WAV")
    return file.getvalue()


def heard(data: bytes, sizes: list[int] | None = None, **options) -> tuple[np.ndarray, float]:
    clips = list(stream_pipe(Drip(data, sizes or []), **options))
    ends = [clip.stop for clip in clips]
    assert [clip.start for clip in clips] == pytest.approx([0.0, *ends][: len(clips)])
    return np.concatenate([clip.data[0] for clip in clips] or [np.zeros(0)]), clips[0].rate if clips else 0


@pytest.mark.parametrize(
    ("subtype", "tolerance"),
    [("PCM_U8", 1 / 128), ("PCM_16", 1 / 32768), ("PCM_24", 1e-6), ("PCM_32", 1e-7), ("FLOAT", 0), ("DOUBLE", 0)],
)
def test_a_wav_of_any_samples_is_what_it_was(subtype, tolerance):
    found, rate = heard(wav(subtype))
    assert rate == 22_050
    np.testing.assert_allclose(found, SOUND, atol=tolerance)  # half a step of the samples


@given(st.lists(st.integers(1, 999), min_size=1, max_size=6))
def test_how_it_comes_changes_nothing(sizes):
    data = wav("PCM_16", SOUND[:3000])
    assert np.array_equal(heard(data, sizes)[0], heard(data)[0])


def test_channels_are_mixed():
    both = np.stack([SOUND, np.zeros_like(SOUND)], axis=1)
    np.testing.assert_allclose(heard(wav("FLOAT", both))[0], SOUND / 2, atol=1e-7)


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_header_that_does_not_know_the_length_is_read_to_the_end(size):
    data = bytearray(wav("PCM_16"))
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = struct.pack("<I", size)
    assert len(heard(bytes(data))[0]) == len(SOUND)


def test_what_follows_the_samples_is_no_sound():
    assert len(heard(wav("PCM_16") + b"LIST\x04\0\0\0abcd")[0]) == len(SOUND)


def test_raw_samples_have_the_rate_that_is_said_and_half_a_sample_is_dropped():
    whole = (SOUND * 32767).astype("<i2")
    found, rate = heard(whole.tobytes() + b"\1", rate=8000)
    assert rate == 8000
    np.testing.assert_allclose(found, whole / 32768, atol=1e-7)
    assert len(heard(b"")[0]) == 0


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"fLaC" + bytes(99), "is FLAC"),
        (b"\0\0\0\x20ftypisom" + bytes(99), "is MP4"),
        (b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0", "ends in its header"),
        (wav("ULAW"), "encoding 7"),
    ],
)
def test_another_format_is_named_and_not_heard_as_noise(data, said):
    with pytest.raises(NotMedia, match=said):
        list(stream_pipe(io.BytesIO(data)))


def test_a_block_is_there_before_the_next_has_come():
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "wb", buffering=0) as pen, os.fdopen(ours, "rb") as pipe:
        pen.write(bytes(2 * 1600))
        assert next(stream_pipe(pipe)).length == 1600


class PortAudioError(Exception):
    pass


def device(give, *, fails: str = "") -> types.ModuleType:
    """A stand-in for sounddevice: no machine of ours has a microphone."""

    class InputStream:
        def __init__(self, rate, size, device, channels, dtype, callback, finished_callback):
            self.active, self.callback, self.finished = True, callback, finished_callback

        def start(self):
            if fails:
                raise PortAudioError(fails)
            threading.Thread(target=give, args=(self,), daemon=True).start()

        def close(self):
            raise PortAudioError("gone")

    module = types.ModuleType("sounddevice")
    module.PortAudioError, module.InputStream = PortAudioError, InputStream
    module.query_devices = lambda device, kind: {"default_samplerate": 48_000.0}
    return module


def test_a_device_that_disappears_ends_the_clips(monkeypatch, caplog):
    def give(stream):
        for _ in range(3):
            stream.callback(np.full((4800, 1), 0.25, np.float32), 4800, None, None)
        stream.finished()

    monkeypatch.setitem(sys.modules, "sounddevice", device(give))
    clips = list(stream_microphone())
    assert [clip.start for clip in clips] == pytest.approx([0.0, 0.1, 0.2])
    assert all((clip.data == 0.25).all() for clip in clips)
    assert "disconnected after 0.3 s" in caplog.text


def test_a_device_that_falls_silent_without_a_word_ends_the_clips(monkeypatch):
    def give(stream):
        stream.callback(np.zeros((4800, 1), np.float32), 4800, None, None)
        stream.active = False

    monkeypatch.setitem(sys.modules, "sounddevice", device(give))
    assert len(list(stream_microphone())) == 1


def test_no_microphone_and_no_library_say_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", device(None, fails="Invalid device"))
    with pytest.raises(MediaError, match=r"Invalid device.*python -m sounddevice"):
        next(stream_microphone())
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingExtra, match=r"percepts\[microphone\]"):
        next(stream_microphone())
