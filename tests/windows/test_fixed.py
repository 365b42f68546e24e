from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from percepts.errors import TruncatedMedia
from percepts.types import Clip
from percepts.windows import check_contiguous, cut_fixed_windows

settings.load_profile("ci")  # no deadlines: a loaded machine is no failure

RATE = 100  # small enough to reason about, and 1 / 100 is no float: rounding shows


def sound(n: int, channels: int = 1, start: float = 0.0) -> Clip:
    """Return samples whose values are their positions."""
    data = np.arange(n, dtype=np.float32) + 1000 * np.arange(channels, dtype=np.float32)[:, None]
    return Clip(data, "audio", RATE, start, "s")


def film(n: int, start: float = 0.0) -> Clip:
    data = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, 2, 3, 3))
    return Clip(data, "video", RATE, start, "s")


def cut(clip: Clip, places: list[int]) -> list[Clip]:
    """Cut the stream into blocks; places may repeat, which makes empty ones."""
    edges = [0, *sorted(p % (clip.length + 1) for p in places), clip.length]
    parts = np.split(clip.data, edges[1:-1], axis=1 if clip.kind == "audio" else 0)
    return [
        Clip(part, clip.kind, clip.rate, clip.start + at / clip.rate, clip.source)
        for part, at in zip(parts, edges[:-1], strict=True)
    ]


def same(a: list[Clip], b: list[Clip]) -> bool:
    def key(c: Clip) -> tuple[object, ...]:
        return c.data.tobytes(), c.data.shape, c.data.dtype, c.kind, c.rate, c.start, c.source, c.valid

    return [key(c) for c in a] == [key(c) for c in b]


streams = st.builds(
    lambda kind, n, start: sound(n, 2, start) if kind == "audio" else film(n, start),
    st.sampled_from(["audio", "video"]),
    st.integers(0, 60),
    st.sampled_from([0.0, 0.07, 3600.1]),
)
lengths = st.integers(1, 20)
tails = st.sampled_from(["pad", "keep", "drop"])


@given(streams, lengths, lengths, tails, st.lists(st.integers(0, 60), max_size=12))
def test_windows_do_not_depend_on_how_the_stream_was_cut(stream, window, hop, tail, places):
    windower = cut_fixed_windows(window / RATE, hop / RATE, tail)
    assert same(list(windower([stream])), list(windower(cut(stream, places))))


@given(streams, lengths, lengths, tails)
def test_windows_are_the_slices_that_integers_say(stream, window, hop, tail):
    axis = 1 if stream.kind == "audio" else 0
    media = np.moveaxis(stream.data, axis, 0)
    reached, expected = 0, []
    for i in range(len(media)):
        piece = media[i * hop : i * hop + window]
        whole = len(piece) == window
        if not whole and (len(piece) == 0 or tail == "drop" or i * hop + len(piece) <= reached):
            break
        reached = i * hop + window
        expected.append((i, piece, whole))
    got = list(cut_fixed_windows(window / RATE, hop / RATE, tail)([stream]))
    assert len(got) == len(expected)
    for clip, (i, piece, whole) in zip(got, expected, strict=True):
        assert clip.start == stream.start + i * hop / RATE
        assert clip.data.flags.c_contiguous
        assert clip.length == (len(piece) if tail == "keep" else window)
        assert clip.valid == (len(piece) if tail == "pad" and not whole else None)
        data = np.moveaxis(clip.data, axis, 0)
        np.testing.assert_array_equal(data[: len(piece)], piece)
        assert not data[len(piece) :].any()


@given(streams, lengths, tails)
def test_windows_without_overlap_hold_every_sample_once(stream, window, tail):
    clips = list(cut_fixed_windows(window / RATE, tail=tail)([stream]))
    axis = 1 if stream.kind == "audio" else 0
    kept = [np.compress(clip.mask, clip.data, axis=axis) for clip in clips]
    lost = stream.length % window if tail == "drop" else 0
    expected = np.compress(np.arange(stream.length) < stream.length - lost, stream.data, axis=axis)
    got = np.concatenate([expected[:, :0] if axis else expected[:0], *kept], axis=axis)
    np.testing.assert_array_equal(got, expected)


def test_the_end_makes_one_window_more_only_where_it_holds_something_new():
    def starts(n: int) -> list[tuple[float, int | None]]:
        return [(c.start, c.valid) for c in cut_fixed_windows(1.0, 0.5)([sound(n)])]

    assert starts(100) == [(0.0, None)]
    assert starts(101) == [(0.0, None), (0.5, 51)]
    assert starts(150) == [(0.0, None), (0.5, None)]


def test_a_stream_shorter_than_a_window_gives_one_or_none_and_an_empty_one_gives_none():
    assert [c.length for c in cut_fixed_windows(1.0, tail="pad")([sound(1)])] == [100]
    assert [c.length for c in cut_fixed_windows(1.0, tail="keep")([sound(1)])] == [1]
    assert list(cut_fixed_windows(1.0, tail="drop")([sound(99)])) == []
    assert list(cut_fixed_windows(1.0)([])) == list(cut_fixed_windows(1.0)([sound(0)])) == []


def test_padding_inside_a_block_is_no_media():
    padded = Clip(np.ones((1, 50), np.float32), "audio", RATE, valid=30)
    after = Clip(np.full((1, 20), 2, np.float32), "audio", RATE, start=0.3)
    (clip,) = cut_fixed_windows(0.5)([padded, after])
    assert clip.valid is None
    assert clip.data[0, 29:31].tolist() == [1, 2]


def three_hours(rate: int) -> Iterator[Clip]:
    """Yield silence that takes no memory, then ten seconds of samples whose values are their positions, in stereo."""
    block = 10 * rate
    silence = np.broadcast_to(np.float32(0), (2, block))
    for i in range(3 * 360):
        yield Clip(silence, "audio", rate, i * block / rate)
    at = np.arange(3 * 360 * block, 3 * 360 * block + block)
    yield Clip(np.stack([at >> 16, at & 0xFFFF]).astype(np.float32), "audio", rate, at[0] / rate)


def test_centre_times_are_right_to_a_sample_after_three_hours():
    rate, hop = 44_100, 0.1
    count = 0
    for clip in cut_fixed_windows(hop)(three_hours(rate)):
        count += 1
        if clip.data[0, 0]:
            middle = clip.data[:, clip.length // 2].astype(np.int64)
            true = ((middle[0] << 16) + middle[1]) / rate
            assert abs((clip.start + clip.stop) / 2 - true) < 1 / rate
            assert abs(clip.start - (count - 1) * hop) < 1 / rate
    assert count == 3 * 36_000 + 100


def test_memory_is_a_window_and_a_block_however_long_the_stream():
    def blocks(count: int) -> Iterator[Clip]:
        for i in range(count):
            yield Clip(np.zeros((1, 10_000), np.float32), "audio", 10_000, float(i))

    tracemalloc.start()
    for _ in cut_fixed_windows(2.0, 0.5)(blocks(300)):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Two windows of 80 kB (the one handed out, the one being filled), two blocks of 40 kB, and small change.
    assert peak < 3 * 80_000 + 2 * 40_000 + 50_000


def test_what_came_before_a_break_is_cut_and_then_the_break_is_told():
    def breaking() -> Iterator[Clip]:
        yield sound(130)
        raise TruncatedMedia("1.3 s of 9 s")

    got = []
    with pytest.raises(TruncatedMedia, match=r"1\.3 s"):
        for clip in cut_fixed_windows(1.0)(breaking()):
            got.append((clip.start, clip.valid))
    assert got == [(0.0, None), (1.0, 30)]


@pytest.mark.parametrize("gap", [-0.02, -0.006, 0.006, 1.0])
def test_a_gap_in_the_stream_is_an_error_that_says_where(gap):
    with pytest.raises(ValueError, match=r"start at 0\.500000 s"):
        list(cut_fixed_windows(1.0)([sound(50), sound(50, start=0.5 + gap)]))


def test_less_than_half_a_sample_is_no_gap():
    assert len(list(cut_fixed_windows(1.0)([sound(50), sound(50, start=0.504)]))) == 1


@pytest.mark.parametrize(
    "blocks",
    [
        [sound(5), sound(5, channels=2, start=0.05)],
        [sound(5), film(5, start=0.05)],
        [Clip(np.zeros((1, 2, 2, 3), np.uint8), "image", 0.0)],
    ],
)
def test_blocks_of_another_kind_are_refused(blocks):
    with pytest.raises(ValueError, match="expected"):
        list(cut_fixed_windows(1.0)(blocks))


@pytest.mark.parametrize(
    ("window", "hop", "tail"),
    [(0, None, "pad"), (1, 0, "pad"), (-1, 1, "pad"), (1, 1, "PAD"), (float("nan"), 1, "pad")],
)
def test_senseless_settings_are_refused_at_once(window, hop, tail):
    with pytest.raises(ValueError, match="expected"):
        cut_fixed_windows(window, hop, tail)


def test_a_window_below_half_a_sample_is_refused():
    with pytest.raises(ValueError, match="not one sample at 100 per second"):
        list(cut_fixed_windows(0.004)([sound(5)]))


@given(streams, st.lists(st.integers(0, 60), max_size=12))
def test_contiguous_passes_the_stream_on(stream, places):
    axis = 1 if stream.kind == "audio" else 0
    parts = [clip.data for clip in check_contiguous(cut(stream, places))]
    assert all(part.shape[axis] for part in parts)
    assert sum(part.shape[axis] for part in parts) == stream.length
