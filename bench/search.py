"""Time searches and check what they find: the LanceDB index against exact search over the parquet parts.

    python bench/search.py [ROWS ...]

Rows are clustered vectors of 384 dimensions, in parts of 8192, which is also what a job writes.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from percepts.stores import exact, parquet
from percepts.stores.lance import VectorIndex
from percepts.types import Record, Spec

DIM = 384
SPEC = Spec(name="bench", target="none:None", kind="image", dim=DIM, pool="mean", license="Apache-2.0")


def job(folder: Path, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Make a job directory of so many rows, and 20 queries: half stored vectors, half between two."""
    centres = rng.standard_normal((400, DIM)).astype(np.float32)
    infos, samples = [], []
    for number, first in enumerate(range(0, rows, 8192)):
        count = min(8192, rows - first)
        vectors = centres[rng.integers(0, 400, count)] + rng.standard_normal((count, DIM)).astype(np.float32)
        records = [Record(f"/pictures/{first + n}.jpg", 0.0, 0.0, "bench", "image", v) for n, v in enumerate(vectors)]
        listed = [parquet.Row(record.source, record) for record in records]
        path = folder / f"data/part-{number:06d}.parquet"
        infos.append(parquet.write_part(path, listed, SPEC, root=folder))
        samples.append(vectors[:30])
    manifest = {
        "models": {"bench": {"spec": asdict(SPEC), "weights": ""}},
        "parts": [{"number": n, "data": {"bench": asdict(info)}} for n, info in enumerate(infos)],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    sample = rng.permutation(np.concatenate(samples))[:30]
    return np.concatenate([sample[:10], sample[10:20] + sample[20:]])


def timed(what: Callable[[], object]) -> float:
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


def median(search: Callable[[np.ndarray], object], queries: np.ndarray) -> float:
    return statistics.median(timed(lambda q=query: search(q)) for query in queries)  # type: ignore[misc]


def main() -> None:
    print("rows | made s | exact ms | index ms | ratio | recall@10 measured | of these queries")
    for rows in [int(text) for text in sys.argv[1:]] or [10_000, 90_000, 150_000]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            queries = job(folder, rows, np.random.default_rng(0))
            index = VectorIndex(folder, "bench")
            made = timed(index.sync)
            index.search(queries[0])
            oracle = median(lambda q, at=folder: exact.search_exact(at, "bench", q), queries)
            ours = median(index.search, queries)
            shares, recall = [], None
            for query in queries:
                hits, bar = index.search(query), exact.search_exact(folder, "bench", query)[-1].score
                recall = hits.recall
                shares.append(sum(h.score >= bar for h in hits) / 10)
            told = "exact" if recall is None else f"{recall:.3f}"
            print(
                f"{rows} | {made:.1f} | {oracle * 1e3:.0f} | {ours * 1e3:.1f} | {oracle / ours:.1f} | "
                f"{told} | {np.mean(shares):.3f}"
            )


if __name__ == "__main__":
    main()
