from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import percepts
from percepts.cli import app
from percepts.encoders.pooling import pool
from percepts.errors import JobError, UnknownModel
from percepts.training.heads import train_head
from percepts.training.metrics import measure_predictions


def test_a_head_of_held_out_speakers_is_a_classifier(digits: Path, tmp_path: Path) -> None:
    done = train_head(digits / "vectors", digits / "labels.csv", tmp_path / "head", groups="speaker")
    assert [name for name, _ in done.folds] == ["ann", "ben", "cleo"]
    assert done.mean_accuracy > 0.8 and done.labels == ("d0", "d1", "d2", "d3", "d4")
    head = percepts.load_encoder(str(tmp_path / "head"))
    assert isinstance(head, percepts.Classifier) and head.labels == done.labels
    melstats = percepts.load_encoder("melstats")
    assert (head.spec.kind, head.spec.window, head.spec.dim) == ("audio", 4.0, 512)
    clips = [percepts.open_audio(digits / f"recordings/{d}_ben_1.wav") for d in range(5)]
    clips = [percepts.Clip(np.repeat(c.data, 2, axis=1), "audio", 16000.0) for c in clips]  # twice the rate, as good
    inputs = head.prepare(clips)
    chances = head.classify(inputs)
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-5)
    assert chances.dtype == np.float32
    np.testing.assert_array_equal(
        pool(head.encode(inputs), head.spec.pool), pool(melstats.encode(melstats.prepare(clips)), "concat")
    )
    names = sorted(path.name for path in (tmp_path / "head").iterdir())
    assert names == ["config.json", "confusion.png", "head.safetensors", "metrics.json"]


def test_a_head_gives_vectors_to_jobs_like_any_encoder(digits: Path, tmp_path: Path) -> None:
    train_head(digits / "vectors", digits / "labels.csv", tmp_path / "head", folds=2)
    done = percepts.embed(
        digits / "recordings/0_ann_0.wav", tmp_path / "out", models=[str(tmp_path / "head")], workers=0
    )
    assert (done.done, done.rows) == (1, 1)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_torch_takes_over_where_memory_ends(digits: Path, tmp_path: Path, kind: str) -> None:
    done = train_head(digits / "vectors", digits / "labels.csv", tmp_path / kind, kind=kind, split="split", in_memory=0)  # type: ignore[arg-type]
    assert done.overall.accuracy > 0.8 and done.overall.count == 15 and done.sources == 45


def test_the_same_head_comes_out_twice(digits: Path, tmp_path: Path) -> None:
    for name in "ab":
        train_head(digits / "vectors", digits / "labels.csv", tmp_path / name, kind="mlp", split="split", seed=3)
    assert (tmp_path / "a/head.safetensors").read_bytes() == (tmp_path / "b/head.safetensors").read_bytes()


def test_several_labels_a_source(digits: Path, tmp_path: Path) -> None:
    rows = list(csv.DictReader((digits / "labels.csv").read_text().splitlines()))
    path = tmp_path / "many.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["source", "label"])
        writer.writerows(
            [digits / r["source"], "|".join([r["label"], *(["low"] if r["label"] < "d2" else [])])] for r in rows
        )
    done = train_head(digits / "vectors", path, tmp_path / "head", task="multi", folds=3)
    assert done.labels[-1] == "low" and done.overall.mean_average_precision > 0.9
    assert done.overall.confusion is None and not (tmp_path / "head/confusion.png").exists()


def test_a_label_that_a_fold_does_not_hold_is_never_said(digits: Path, tmp_path: Path) -> None:
    rows = (digits / "labels.csv").read_text().replace("recordings/4_ann_0.wav,d4", "recordings/4_ann_0.wav,rare")
    path = digits / "rare.csv"
    path.write_text(rows)
    done = train_head(digits / "vectors", path, tmp_path / "head", groups="speaker")
    assert dict(done.folds)["ann"].confusion[:, done.labels.index("rare")].sum() == 0  # type: ignore[index]


def test_metrics_by_hand() -> None:
    truth = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1]], bool)
    found = measure_predictions(truth, np.array([[0.9, 0.1, 0.2], [0.1, 0.8, 0.3], [0.6, 0.2, 0.1], [0.1, 0.3, 0.9]]))
    assert found.accuracy == 0.5 and found.confusion is None
    assert found.mean_average_precision == 1.0
    assert found.f1 == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)


def test_wrong_asking_says_what_there_is(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected columns age; it has source, label, speaker, split"):
        train_head(digits / "vectors", digits / "labels.csv", tmp_path, groups="age")
    with pytest.raises(JobError, match="no vectors of 'clip'; there are: melstats"):
        train_head(digits / "vectors", digits / "labels.csv", tmp_path, model="clip")
    with pytest.raises(ValueError, match="at least two labels, got recordings"):
        train_head(digits / "vectors", "folders", tmp_path)
    (tmp_path / "other.csv").write_text("source,label\nnowhere.wav,a\n")
    with pytest.raises(ValueError, match="none of the labelled sources"):
        train_head(digits / "vectors", tmp_path / "other.csv", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "percepts-heat"}))
    (tmp_path / "x.safetensors").write_bytes(b"")
    with pytest.raises(UnknownModel, match="percepts-head"):
        percepts.load_encoder(str(tmp_path))


def test_a_model_that_found_nothing_to_embed_is_not_asked_about(digits: Path, tmp_path: Path) -> None:
    percepts.embed(digits / "recordings", tmp_path / "v", models=["fake-image", "melstats"], workers=0)
    done = train_head(tmp_path / "v", digits / "labels.csv", tmp_path / "head", split="split")
    assert done.sources == 45
    percepts.embed(digits / "recordings", tmp_path / "w", models=["fake-audio", "melstats"], workers=0)
    with pytest.raises(JobError, match="holds vectors of fake-audio, melstats: say which with --model"):
        train_head(tmp_path / "w", digits / "labels.csv", tmp_path / "head2", split="split")


def test_the_command_prints_the_figures_and_the_mean(digits: Path, tmp_path: Path) -> None:
    words = ["train", "head", str(digits / "vectors"), "--labels", str(digits / "labels.csv"), "--groups", "speaker"]
    done = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "head")])
    assert done.exit_code == 0, done.output
    assert "held out" in done.stdout and "mean over 3 folds" in done.stdout and "60 files" in done.stdout
    assert "ann: " in done.stderr
    done = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "head"), "--overwrite", "--json"])
    assert json.loads(done.stdout)["held_out"]["sources"] == 60
    done = CliRunner().invoke(app, [*words[:-1], "age", "-o", str(tmp_path / "head"), "--overwrite"])
    assert done.exit_code == 2 and "it has source, label" in " ".join(done.stderr.split())
