"""Search the text and the labels of a job directory by words, with BM25. Every committed row is read."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..types import Record
from .parquet import batch_records, read_parts
from .scoring import By, Hit, Match, RowFilter, rank_rows

K1, B = 1.2, 0.75
"""Constants of BM25 as in Lucene (Robertson and Zaragoza 2009): K1 limits the effect of repetition, B sets that of
length."""
COLUMNS = ("id", "source", "kind", "start", "stop", "labels", "scores", "text", "score", "speaker", "box")
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # kana, Chinese characters, Hangul syllables: blocks of Unicode
_WORDS = re.compile(rf"[{_UNSPACED}]+|(?:(?![{_UNSPACED}])[^\W_])+")
LEAST = 0.1
"""Least score for a label to count where it is not the best of its row."""
STOP = frozenset(
    _WORDS.findall(
        "a an and are as at be been by did do does for from had has have he her his i in is it its me my of on or our "
        "she that the their them they this to was we were what when where which who with you your"
    )
)
"""Words that are too common to search for. They count where the query has no others."""


def search_text(directory: str | Path, model: str, query: str, k: int, where: RowFilter) -> list[Hit]:
    """Return the k rows of a table whose captions, answers or transcripts score best by BM25."""
    terms = tuple(dict.fromkeys(query_terms(query)))
    if not terms:
        return []
    stats = _Statistics(terms)
    for batch in _read_rows(directory, model, where):
        stats.add(batch["text"])
    return [
        replace(hit, matches=(replace(hit.matches[0], at=_find_spoken_time(hit.record, terms)),))
        for hit in _select_best(
            _filter_with_terms(directory, model, where, terms, "text"), stats.score, k, model, "text"
        )
    ]


def search_labels(directory: str | Path, model: str, query: str, k: int, where: RowFilter) -> list[Hit]:
    """Return the k rows whose labels match best: the share of the query's words in a label times the label's score.

    Only the best label of a row and those that score at least LEAST count: a table may have all labels in every row.
    """
    terms = tuple(dict.fromkeys(query_terms(query)))
    if not terms:
        return []

    def score(row: dict[str, object]) -> tuple[float, tuple[str, ...]]:
        labels: Sequence[str] = row["labels"]  # type: ignore[assignment]
        scores: Sequence[float] = row["scores"] or [1.0] * len(labels)  # type: ignore[assignment]
        # labels stand best first in a record, so the best has n = 0
        valid = [(s, label) for n, (s, label) in enumerate(zip(scores, labels, strict=True)) if not n or s >= LEAST]
        best, label = max((s * len(set(terms) & set(split_terms(label))) / len(terms), label) for s, label in valid)
        return best, (label,)

    return _select_best(_filter_with_terms(directory, model, where, terms, "labels"), score, k, model, "label")


def query_terms(query: str) -> list[str]:
    """Return the terms of a query, without common words where there are others.

    >>> query_terms("the cities of a cat's dream")
    ['city', 'cat', 'dream']
    """
    # one letter of ASCII says little, while one Chinese character can be a word
    terms = [term for word, term in _split_words(query) if (word not in STOP and len(word) > 1) or not word.isascii()]
    return terms or split_terms(query)


def split_terms(text: str) -> list[str]:
    """Split a text into terms: words in lower case and singular; pairs of characters for Chinese, Japanese and Korean.

    >>> split_terms("Two Cities, 東京都")
    ['two', 'city', '東京', '京都']
    """
    return [term for _, term in _split_words(text)]


def _split_words(text: str) -> Iterator[tuple[str, str]]:
    """Yield each word in lower case, and its term."""
    for word in _WORDS.findall(text.lower()):
        if "\u3040" <= word[0] <= "\ud7af":
            # max: a single character is a term by itself
            yield from ((two, two) for two in (word[i : i + 2] for i in range(max(1, len(word) - 1))))
        else:
            yield word, _singularise(word)


def _singularise(word: str) -> str:
    """Remove the ending of a plural by Harman's S-stemmer (1991, How effective is suffixing?)."""
    if len(word) > 3 and word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("es") and not word.endswith(("aes", "ees", "oes")):
        return word[:-1]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("us", "ss")) else word


@dataclass(slots=True)
class _Statistics:
    """Counts for BM25 over a table: rows, characters, and rows with each term."""

    terms: tuple[str, ...]
    rows: int = 0
    characters: int = 0
    holding: Counter[str] = field(default_factory=Counter)

    def add(self, texts: pa.Array) -> None:
        """Count the texts of one batch."""
        self.rows += len(texts) - texts.null_count
        self.characters += pc.sum(pc.utf8_length(texts)).as_py() or 0
        for text in texts.filter(_hold_terms(texts, self.terms)).to_pylist():
            self.holding.update(set(self.terms) & set(split_terms(text)))

    def score(self, row: dict[str, object]) -> tuple[float, tuple[str, ...]]:
        """Return the BM25 score of a row, and its words that the query has."""
        pairs, total = list(_split_words(str(row["text"]))), 0.0
        counts = Counter(term for _, term in pairs)
        # 1e-9: a table of empty texts must not divide by zero
        length = len(str(row["text"])) / max(self.characters / max(self.rows, 1), 1e-9)
        for term in self.terms:
            rows = self.holding[term]
            # 1 +, as in Lucene: never below zero, however common a term is
            rarity = math.log(1 + (self.rows - rows + 0.5) / (rows + 0.5))
            total += rarity * counts[term] * (K1 + 1) / (counts[term] + K1 * (1 - B + B * length))
        return total, tuple(dict.fromkeys(word for word, term in pairs if term in self.terms))


def _find_spoken_time(record: Record, terms: Sequence[str]) -> float | None:
    """Return the second at which the first of the terms is spoken; None where the times of words are not known."""
    return next((word.start for word in record.words if set(split_terms(word.text)) & set(terms)), None)


def _read_rows(
    directory: str | Path, model: str, where: RowFilter, columns: Sequence[str] = COLUMNS
) -> Iterator[pa.RecordBatch]:
    for batch in read_parts(directory, model, columns):
        mask = where.selects(batch)
        yield batch if mask.all() else batch.filter(pa.array(mask))


def _filter_with_terms(
    directory: str | Path, model: str, where: RowFilter, terms: Sequence[str], column: str
) -> Iterator[pa.RecordBatch]:
    """Yield the rows that may contain one of the terms; Arrow finds them, without a loop in Python."""
    for batch in _read_rows(directory, model, where, (*COLUMNS, "words")):
        texts = batch[column]
        # cast, because Arrow has no binary_join for lists whose elements cannot be null
        texts = pc.binary_join(texts.cast(pa.list_(pa.string())), "\n") if pa.types.is_list(texts.type) else texts
        held = batch.filter(_hold_terms(texts, terms))
        if held.num_rows:
            yield held


def _hold_terms(texts: pa.Array, terms: Sequence[str]) -> pa.Array:
    """Return for each text whether it may contain one of the terms. No text that does is left out."""
    return pc.fill_null(pc.match_substring_regex(pc.utf8_lower(texts), "|".join(map(_term_pattern, terms))), False)


def _term_pattern(term: str) -> str:
    """Return a regular expression for a term and its plurals: as complete words in ASCII, anywhere in other scripts."""
    if not term.isascii():  # the expressions of Arrow know word boundaries of ASCII only
        return re.escape(term)
    forms = [term, f"{term}s", *([f"{term[:-1]}ies"] if term.endswith("y") else [])]
    return f"(?:^|[^a-z0-9])(?:{'|'.join(forms)})(?:$|[^a-z0-9])"


_Score = Callable[[dict[str, object]], tuple[float, tuple[str, ...]]]


def _select_best(batches: Iterator[pa.RecordBatch], score: _Score, k: int, model: str, by: By) -> list[Hit]:
    kept: pa.RecordBatch | None = None
    for batch in batches:
        # k rows and one batch, so memory does not grow with the table
        kept = batch if kept is None else pa.concat_batches([kept, batch])
        scores = np.array([score(row)[0] for row in kept.to_pylist()])
        # zero: the pattern matched and the term is not there (buss, for bus)
        order = [i for i in rank_rows(kept, scores)[:k] if scores[i] > 0]
        kept = kept.take(pa.array(order, pa.int64()))
    if kept is None:
        return []
    hits = []
    for record, row in zip(batch_records(kept, model), kept.to_pylist(), strict=True):
        value, words = score(row)
        hits.append(Hit(record, value, (Match(by, value, model, words),)))
    return hits
