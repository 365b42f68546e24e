"""MTEB's own checks of a model, its mock tasks, pass on tiny CLIP-like and CLAP-like checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

mteb = pytest.importorskip("mteb", reason="mteb is no dependency: pip install mteb")

import tiny  # noqa: E402  # the tests of encoders have the checkpoints

from percepts.interop.mteb import MtebEncoder  # noqa: E402


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of mteb, datasets and scikit-learn about each other
@pytest.mark.parametrize(("name", "kind"), [("clip", "image"), ("clap", "audio")])
def test_mock_tasks_of_mteb_pass(name: str, kind: str, tmp_path: Path) -> None:
    if kind == "audio":
        pytest.importorskip("torchcodec", reason="datasets encodes sound with torchcodec", exc_type=Exception)
    results = mteb.mock_run(MtebEncoder(str(getattr(tiny, name)(tmp_path / name))))
    assert results.all_passed, results.to_markdown()
    ran = {modality for status, modality, _ in results.modality_summary() if status != "skipped"}
    assert {"text", kind} <= ran


class Rows(list[dict[str, Any]]):
    """What a DataLoader is to an encoder: batches, of two here, by its collate_fn."""

    def __iter__(self) -> Iterator[Any]:
        rows = list(super().__iter__())
        yield from (self.collate_fn(rows[i : i + 2]) for i in range(0, len(rows), 2))


def test_sound_of_any_rate_and_length_is_one_vector_and_lies_with_text(tmp_path: Path) -> None:
    encoder = MtebEncoder(str(tiny.clap(tmp_path / "clap")))
    rng = np.random.default_rng(0)
    sounds = [(16_000, 8_000), (44_100, 50_000), (48_000, 700_000)]  # the last is longer than the window of 10 s
    rows = Rows({"audio": {"array": rng.uniform(-1, 1, n), "sampling_rate": rate}} for rate, n in sounds)
    vectors = encoder.encode(rows)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    words = encoder.encode(Rows({"text": text} for text in ("rain", "a dog", "piano")))
    assert encoder.similarity(vectors, words).shape == (3, 3)
    both = encoder.encode(Rows(a | b for a, b in zip(list.__iter__(rows), [{"text": "rain"}] * 3, strict=True)))
    assert both.shape == (3, 24)
