"""The oracle: held against the definition, computed one pair at a time."""

import math

import numpy as np
import pytest
from toyjob import write_manifest

from percepts.errors import SearchError
from percepts.stores import exact, parquet, scoring
from percepts.types import Record, Spec

SPEC = Spec(name="toy", target="toy:Toy", kind="image", dim=6, pool="mean", license="MIT")
RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """Two parts of 300 rows: pictures and film frames, some of them twice, one zero and one absent."""
    folder = tmp_path_factory.mktemp("job")
    vectors = RNG.standard_normal((600, 6)).astype(np.float32)
    vectors[100:140] = vectors[50:90]
    vectors[7] = 0
    places = ("/a/b", "/a/bc", "/a/b/it's 100%_x", "rel/d", "https://host/pics")
    records = [
        Record(f"{places[n % 5]}/{n // 10}", n % 10 / 2, n % 10 / 2 + 1, "toy", ("image", "video")[n % 3 == 0], v)
        for n, v in enumerate(vectors)
    ]
    records[9] = Record("/a/b/none", 0.0, 0.0, "toy", "image", None)
    infos = []
    for n in range(2):
        rows = [parquet.Row(f"{n}-{i}", r) for i, r in enumerate(records[n * 300 : n * 300 + 300])]
        infos.append(parquet.write_part(folder / f"data/toy/part-{n:06d}.parquet", rows, SPEC, root=folder))
    write_manifest(folder, {"toy": SPEC}, [{"toy": info} for info in infos])
    return folder, records


def by_definition(records, query, k, metric, keep):
    """Products summed exactly: what any correct search must say."""
    found = []
    for r in records:
        if r.vector is None or not r.vector.any() or not keep(r):
            continue
        score = math.fsum(float(a) * float(b) for a, b in zip(r.vector, query, strict=True))
        if metric == "cosine":
            score /= math.sqrt(math.fsum(float(a) ** 2 for a in r.vector)) * math.sqrt(
                math.fsum(float(a) ** 2 for a in query)
            )
        found.append((r.source, r.start, score))
    return sorted(found, key=lambda f: (-round(f[2], 12), f[0], f[1]))[:k]


@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize("k", [1, 10, 1000])
def test_exact_search_is_the_definition_in_order_with_ties_by_source_and_start(toys, metric, k):
    folder, records = toys
    for query in [*RNG.standard_normal((5, 6)).astype(np.float32), records[60].vector]:
        found = exact.search_exact(folder, "toy", query, k, metric=metric)
        expected = by_definition(records, query, k, metric, lambda r: True)
        assert [(h.record.source, h.record.start) for h in found] == [e[:2] for e in expected]
        # float64 sums of 6 products, against sums without rounding
        np.testing.assert_allclose([h.score for h in found], [e[2] for e in expected], atol=1e-14)


def test_a_row_that_is_there_twice_comes_twice_in_the_order_of_its_sources(toys):
    folder, records = toys
    one, two = exact.search_exact(folder, "toy", records[60].vector, 2)
    assert one.score == two.score == pytest.approx(1.0, abs=1e-15)  # the rounding of one division
    assert (one.record.source, one.record.start) <= (two.record.source, two.record.start)


def under(*prefixes):
    return lambda r: any(r.source == p or r.source.startswith(p + "/") for p in prefixes)


@pytest.mark.parametrize(
    ("where", "keep"),
    [
        (scoring.RowFilter(kind="video"), lambda r: r.kind == "video"),
        (scoring.RowFilter(folder="/a/b"), under("/a/b")),
        (scoring.RowFilter(folder="/a/b/"), under("/a/b")),
        (scoring.RowFilter(folder="/"), lambda r: r.source.startswith("/")),
        (scoring.RowFilter(folder="/a/b/it's 100%_x"), under("/a/b/it's 100%_x")),
        (scoring.RowFilter(folder="/a/b/it's 100__x"), lambda r: False),
        (scoring.RowFilter(folder="rel"), under("rel")),
        (scoring.RowFilter(folder="https://host/pics/"), under("https://host/pics")),
        (scoring.RowFilter(folder="/a/b/3"), under("/a/b/3")),
        (scoring.RowFilter(after=1.5, before=3.5), lambda r: 1.5 <= r.start < 3.5),
        (
            scoring.RowFilter(kind="image", folder="/a", after=2),
            lambda r: r.kind == "image" and r.source[:3] == "/a/" and r.start >= 2,
        ),
    ],
)
def test_filters_leave_what_they_say(toys, where, keep):
    folder, records = toys
    query = np.ones(6, np.float32)
    found = exact.search_exact(folder, "toy", query, 1000, where=where)
    expected = by_definition(records, query, 1000, "cosine", keep)
    assert [(h.record.source, h.record.start) for h in found] == [e[:2] for e in expected]


def test_a_relative_folder_is_also_looked_for_under_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f"starts_with(source, '{tmp_path}/x/')" in (scoring.RowFilter(folder="x").to_sql() or "")
    assert f"'{tmp_path}/'" in (scoring.RowFilter(folder=".").to_sql() or "")


@pytest.mark.parametrize("dim", [1, 3, 384, 1280])
def test_a_score_does_not_depend_on_the_rows_beside_it(dim):
    rows = RNG.standard_normal((97, dim)).astype(np.float32)
    query = RNG.standard_normal(dim).astype(np.float32)
    together = scoring.cosine(rows, query)
    alone = np.array([scoring.cosine(rows[n : n + 1], query)[0] for n in range(97)])
    odd = np.concatenate([scoring.cosine(rows[1:4], query), scoring.cosine(np.asfortranarray(rows[4:]), query)])
    assert np.array_equal(together, alone) and np.array_equal(together[1:], odd)


@pytest.mark.parametrize(
    ("query", "k", "message"),
    [
        (np.ones(5), 1, "expected a query of 6 numbers, got \\[5\\]"),
        (np.zeros(6), 1, "no direction"),
        (np.full(6, np.nan), 1, "no direction"),
        (np.ones(6), 0, "expected k of at least 1, got 0"),
    ],
)
def test_what_is_no_query_is_refused(toys, query, k, message):
    with pytest.raises(SearchError, match=message):
        exact.search_exact(toys[0], "toy", query, k)


def test_a_filter_that_means_nothing_is_refused():
    with pytest.raises(SearchError, match="unknown kind 'film'; the kinds are: image, audio, video, text"):
        scoring.RowFilter(kind="film")
    with pytest.raises(SearchError, match="expected after in seconds, got nan"):
        scoring.RowFilter(after=math.nan)
