"""One row a source: the mean of its windows by duration, in a job, from a generator and by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from synth import write_film

from percepts import embed, embed_iter
from percepts.stores import parquet
from percepts.tasks.pooling import WindowMean, pool_windows
from percepts.types import Record


def record(start: float, stop: float, *vector: float) -> Record:
    return Record("a.wav", start, stop, "m", "audio", np.array(vector, np.float32))


def test_windows_count_by_their_duration() -> None:
    found = pool_windows([record(0, 10, 1, 0), record(10, 15, 0, 2)])
    np.testing.assert_allclose(found.vector, [2 / 3, 2 / 3])
    assert (found.start, found.stop, found.windows) == (0, 15, 2)


def test_vectors_of_length_one_stay_so_and_pictures_count_alike() -> None:
    found = pool_windows([record(0, 0, 1, 0), record(1, 1, 0, 1), record(2, 2, 0, 1)])
    np.testing.assert_allclose(found.vector, np.array([1, 2]) / np.sqrt(5), atol=1e-6)


def test_the_mean_of_means_is_the_mean(tmp_path: Path) -> None:
    rows = [record(i, i + 1, i, 1) for i in range(4)]
    halves = [pool_windows(rows[:2]), pool_windows(rows[2:])]
    np.testing.assert_allclose(pool_windows(halves).vector, pool_windows(rows).vector)
    assert pool_windows(halves).windows == 4


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one window"):
        pool_windows([])
    pooled = WindowMean()
    pooled.add(record(0, 1, 1, 0))
    for other in (replace(record(1, 2, 1, 0), model="n"), replace(record(1, 2, 1, 0), vector=None)):
        with pytest.raises(ValueError, match="one source and one model"):
            pooled.add(other)


def test_a_job_has_one_row_a_source_and_model(tmp_path: Path) -> None:
    sounds = tmp_path / "in"
    sounds.mkdir()
    rng = np.random.default_rng(0)
    for name, seconds in (("long.wav", 3.4), ("short.wav", 0.3)):
        soundfile.write(sounds / name, rng.uniform(-0.5, 0.5, round(seconds * 8000)), 8000)
    write_film(sounds / "film.mp4", 60)
    (sounds / "bad.wav").write_bytes(b"RIFF....")
    report = embed(sounds, tmp_path / "out", models=["fake-audio", "fake-image"], rows="source", workers=1)
    assert (report.failed, report.done) == (1, 3)
    found = {
        (Path(row.source).name, model): row
        for model in ("fake-audio", "fake-image")
        for batch in parquet.read_parts(tmp_path / "out", model)
        for row in parquet.batch_records(batch, model)
    }
    assert {name for name, model in found if model == "fake-audio"} >= {"long.wav", "short.wav"}
    row = found["long.wav", "fake-audio"]
    assert (row.start, row.stop, row.windows) == (0.0, 3.4, 4)
    windows = list(embed_iter(sounds / "long.wav", "fake-audio"))
    lengths = np.array([w.stop - w.start for w in windows])
    expected = np.average([w.vector for w in windows], axis=0, weights=lengths)
    np.testing.assert_allclose(row.vector, expected, atol=1e-6)
    (alone,) = embed_iter(sounds / "long.wav", "fake-audio", rows="source")
    np.testing.assert_allclose(alone.vector, expected, atol=1e-6)
    assert found["film.mp4", "fake-image"].windows > 1
    again = embed(sounds, tmp_path / "out", models=["fake-audio", "fake-image"], rows="source", workers=1)
    assert (again.done, again.rows) == (0, 0)
