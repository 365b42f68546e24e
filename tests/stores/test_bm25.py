"""Rows are found by their words: BM25 held against its formula, labels by their scores, plurals, other scripts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toyjob import write_manifest

from percepts.stores import parquet
from percepts.stores.bm25 import query_terms, search_labels, search_text, split_terms
from percepts.stores.rank_fusion import reciprocal_rank_fusion
from percepts.stores.scoring import Hit, Match, RowFilter
from percepts.types import Record, Segment, Spec

SPEC = Spec(name="m", target="toy:Toy", kind="image", pool="mean", license="MIT")


def commit(folder: Path, records: Sequence[Record]) -> Path:
    """A job directory of these, in two parts."""
    folder.mkdir(parents=True, exist_ok=True)
    half = len(records) // 2
    infos = [
        parquet.write_part(folder / f"data/m/part-{n:06d}.parquet",
                           [parquet.Row(f"{n}-{i}", r) for i, r in enumerate(rows)], SPEC, root=folder)
        for n, rows in enumerate((records[:half], records[half:])) if rows
    ]  # fmt: skip
    write_manifest(folder, {"m": SPEC}, [{"m": info} for info in infos])
    return folder


def said(texts: Sequence[str | None]) -> list[Record]:
    return [Record(f"/{n}.wav", float(n), n + 1.0, "m", "audio", text=text) for n, text in enumerate(texts)]


def found(hits: Sequence[Hit]) -> list[str]:
    return [hit.record.source for hit in hits]


def test_the_row_with_the_rarer_word_comes_first_and_says_which(tmp_path: Path) -> None:
    commit(tmp_path, said(["a cat and a dog", "Two Cats!", None, "a rocket", "the dog, the dog", "nothing of it"]))
    hits = search_text(tmp_path, "m", "the rocket of a dog", 5, RowFilter())
    assert found(hits) == ["/3.wav", "/4.wav", "/0.wav"]
    assert hits[0].matches == (Match("text", hits[0].score, "m", ("rocket",)),)
    assert found(search_text(tmp_path, "m", "cats", 5, RowFilter())) == ["/1.wav", "/0.wav"]
    assert search_text(tmp_path, "m", "cats", 5, RowFilter())[0].matches[0].words == ("cats",)
    assert found(search_text(tmp_path, "m", "dog", 5, RowFilter(before=4.0))) == ["/0.wav"]
    assert not search_text(tmp_path, "m", "whale", 5, RowFilter()) and not search_text(
        tmp_path, "m", "…", 5, RowFilter()
    )


WORD = st.sampled_from(["cat", "cats", "city", "cities", "glass", "boxes", "Fuß", "rain", "cat_dog", "Cat's"])
TEXTS = st.lists(st.lists(WORD, max_size=6).map(" ".join), min_size=1, max_size=8)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(WORD, max_size=6).map(" ".join), min_size=1, max_size=8), st.lists(WORD, min_size=1, max_size=3)
)
def test_scores_are_bm25(tmp_path_factory: pytest.TempPathFactory, texts: list[str], query: list[str]) -> None:
    folder = commit(tmp_path_factory.mktemp("words"), said(texts))
    asked, rows = dict.fromkeys(query_terms(" ".join(query))), [split_terms(text) for text in texts]
    mean = sum(map(len, texts)) / len(texts)
    expected = {}
    for n, row in enumerate(rows):
        total = 0.0
        for term in asked:
            held = sum(term in other for other in rows)
            weight = row.count(term) + 1.2 * (0.25 + 0.75 * len(texts[n]) / max(mean, 1e-9))
            total += (
                math.log(1 + (len(rows) - held + 0.5) / (held + 0.5)) * row.count(term) * 2.2 / weight if weight else 0
            )
        if total > 0:
            expected[f"/{n}.wav"] = total
    hits = search_text(folder, "m", " ".join(query), 8, RowFilter())
    assert {hit.record.source: pytest.approx(hit.score) for hit in hits} == expected
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_scripts_without_spaces_are_found_by_pairs_of_signs(tmp_path: Path) -> None:
    commit(tmp_path, said(["東京都に行きます", "京都の寺", "a temple"]))
    assert found(search_text(tmp_path, "m", "京都", 5, RowFilter())) == ["/1.wav", "/0.wav"]
    assert query_terms("the") == ["the"] and query_terms("寺") == ["寺"]


def test_a_transcript_is_found_where_the_word_is_said(tmp_path: Path) -> None:
    words = tuple(
        Segment(10.0 + n, 10.5 + n, text) for n, text in enumerate([" We", " saw", " the", " cats,", " then"])
    )
    commit(tmp_path, [Record("/a", 10.0, 15.0, "m", "audio", text="We saw the cats, then", words=words)])
    (best,) = search_text(tmp_path, "m", "a cat", 5, RowFilter())
    assert (best.matches[0].at, best.record.start, best.matches[0].words) == (13.0, 10.0, ("cats",))


def test_a_label_counts_by_its_score_and_its_share_of_the_words(tmp_path: Path) -> None:
    rows = [
        Record("/a", 0.0, 0.0, "m", "image", labels=("tiger cat", "Egyptian cat"), scores=(0.4, 0.3)),
        Record("/b", 0.0, 0.0, "m", "image", labels=("cup", "tabby, cat"), scores=(0.8, 0.1)),
        Record("/c", 0.0, 0.0, "m", "image", labels=("tripod",), scores=(0.9,)),
        Record("/d", 0.0, 0.0, "m", "image", labels=("dog", "cat"), scores=(0.95, 0.05)),  # it was not called a cat
        Record("/e", 0.0, 0.0, "m", "image", labels=("dogs", "cup"), scores=(0.02, 0.01)),
    ]
    commit(tmp_path, rows)
    hits = search_labels(tmp_path, "m", "cats", 5, RowFilter())
    assert [(hit.record.source, hit.score, hit.matches[0].words) for hit in hits] == [
        ("/a", 0.4, ("tiger cat",)), ("/b", 0.1, ("tabby, cat",)),
    ]  # fmt: skip
    assert search_labels(tmp_path, "m", "an egyptian cat", 5, RowFilter())[0].matches[0].words == ("Egyptian cat",)
    assert found(search_labels(tmp_path, "m", "cup tripod", 1, RowFilter())) == ["/c"]
    assert found(search_labels(tmp_path, "m", "dog", 5, RowFilter())) == ["/d", "/e"]


def hit(source: str, start: float, stop: float, **more: object) -> Hit:
    return Hit(Record(source, start, stop, "m", "video", **more), 0.5, (Match("vector", 0.5, "m"),))  # type: ignore[arg-type]


def test_what_stands_in_two_lists_comes_before_what_leads_one() -> None:
    one = [hit("/a", 0, 1), hit("/b", 0, 1), hit("/c", 5, 6)]
    two = [hit("/d", 0, 1), hit("/c", 5.5, 9, text="there"), hit("/c", 5.6, 5.7)]
    best = reciprocal_rank_fusion([one, two], 3)
    assert (best[0].record.source, best[0].record.start, best[0].record.text) == ("/c", 5, "there")
    assert best[0].score == pytest.approx(1 / 63 + 1 / 62) and len(best[0].matches) == 2
    assert found(best) == ["/c", "/a", "/d"]  # equal ones by source
    assert len(reciprocal_rank_fusion([one, two], 10)) == 5  # two hits of one list are never one moment
