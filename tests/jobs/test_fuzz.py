"""Files broken at random: records or an error with a name, never anything else. `fuzz.py` runs many more."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import av
import fuzz
import pytest
import soundfile
import synth
from av.bitstream import BitStreamFilterContext
from zoo import Zoo

from percepts.errors import DecodeError
from percepts.jobs.run import embed
from percepts.media import open_audio, stream_frames


def test_mutants_of_the_zoo_give_records_or_named_errors(zoo: Zoo, tmp_path: Path) -> None:
    fuzz.make_lists(tmp_path)
    found = fuzz.fuzz([zoo.folder, tmp_path], range(300))
    assert not [find for each in found.values() for find in each.finds]
    total = sum((each.outcomes for each in found.values()), Counter[str]())
    assert total.total() == 300 and min(total["ok"], total["error"]) > 30


def test_a_mutant_follows_from_its_number() -> None:
    seeds = [bytes(range(256)) * 9, b"short", b""]
    assert [fuzz.mutant(seeds, n) for n in range(50)] == [fuzz.mutant(seeds, n) for n in range(50)]
    assert len({fuzz.mutant(seeds, n)[1] for n in range(50)}) > 20


# What the long run found, each as small as it goes.


def test_a_rate_that_no_sound_has(tmp_path: Path) -> None:
    """A filter from a billion samples a second took half a minute."""
    path = tmp_path / "x.wav"
    soundfile.write(path, synth.tone(16000, 0.1)[0], 16000)
    data = bytearray(path.read_bytes())
    data[24:28] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(DecodeError, match="1,073,741,824 Hz"):
        open_audio(path)


def test_an_mp3_that_ends_in_its_first_frame(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    path.write_bytes(b"\xff\xfb\x90\x00" + bytes(30) + b"Info\0")
    with pytest.raises(DecodeError):
        open_audio(path)


def test_a_film_that_says_a_frame_lasts_for_days(tmp_path: Path) -> None:
    """Its last frame was given again for each half second of them."""
    path = tmp_path / "x.ts"
    synth.write_film(path, 20)
    with av.open(path) as film, av.open(tmp_path / "y.ts", "w") as out:
        stream = out.add_stream_from_template(film.streams.video[0])
        slow = BitStreamFilterContext("h264_metadata=tick_rate=1/500000", film.streams.video[0])
        for packet in film.demux(film.streams.video[0]):
            for changed in slow.filter(packet if packet.size else None):
                changed.stream = stream
                out.mux(changed)
    assert sum(1 for _ in islice(stream_frames(tmp_path / "y.ts", fps=2.0), 1000)) == 4


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.csv", b"uri\nphoto\xff.png\n"),
        ("x.jsonl", b'{"uri": "\xff"}\n'),
        ("x.parquet", b"PAR1" + bytes(40) + b"\x20\0\0\0PAR1"),
        ("x.tar", b"0001.png" + bytes(92) + b"99999999" + bytes(500)),
    ],
)
def test_a_list_or_container_that_is_damaged_is_named(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    report = embed(tmp_path / name, tmp_path / "v", models=["fake-image"], workers=0)
    (failure,) = report.failures
    assert report.failed == 1 and failure.uri.endswith(name) and failure.error == "NotMedia"


def test_the_fuzz_finds_an_exception_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of the test."""
    synth_png = synth.encoded(synth.picture(), "PNG")
    (tmp_path / "x.png").write_bytes(synth_png)
    monkeypatch.setattr(fuzz, "NAMED", fuzz.NAMED - {"DecodeError", "NotMedia"})
    found = fuzz.fuzz([tmp_path], range(30))
    assert found[".png"].finds
