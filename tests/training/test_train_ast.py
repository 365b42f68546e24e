from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

import percepts
from percepts.cli import app
from percepts.preprocess.fbank import FbankOptions, ast_features, kaldi_fbank
from percepts.training import examples
from percepts.training.ast import train_ast
from percepts.training.augment import Norm, draw_mixing, mix_spectra, shake_spectra, spec_augment
from percepts.training.initialise import SmallAst
from percepts.training.loop import FitProgress
from percepts.training.plan import Plan
from percepts.training.recipes import RECIPES, Recipe
from percepts.training.stats import compute_norm_stats, read_waveform

TINY = SmallAst(n_mels=32, max_length=64, width=32, layers=2, heads=2)
QUICK = Plan(steps=40, batch_size=16, lr=3e-3, every=20)


@pytest.fixture(scope="module")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    output = tmp_path_factory.mktemp("ast")
    recipe = Recipe("single", QUICK, freq_mask=4, time_mask=6, mixup=0.3)
    return output, train_ast(digits / "labels.csv", output, base=TINY, recipe=recipe, split="split")


def test_a_small_ast_from_nothing_gets_better_than_it_began(trained: tuple[Path, Any]) -> None:
    output, done = trained
    assert done.after > max(done.before, 0.3)  # one in five is chance
    assert done.labels == ("d0", "d1", "d2", "d3", "d4") and done.metric == "accuracy"
    assert {path.name for path in output.iterdir()} == {
        "config.json", "model.safetensors", "preprocessor_config.json", "curve.png", "run"
    }  # fmt: skip


def test_what_comes_out_is_a_transformers_directory_and_a_classifier(digits: Path, trained: tuple[Path, Any]) -> None:
    output, done = trained
    theirs = transformers.AutoModelForAudioClassification.from_pretrained(output)
    assert theirs.config.problem_type == "single_label_classification" and theirs.config.id2label[3] == "d3"
    encoder: Any = percepts.load_encoder(str(output))
    assert encoder.labels == done.labels and not encoder.multi_label
    settings = json.loads((output / "preprocessor_config.json").read_text())
    assert settings["mean"] == pytest.approx(done.stats.mean) and settings["max_length"] == 64
    found = percepts.classify(digits / "recordings/2_ann_0.wav", model=str(output), top_k=5)
    assert {label for record in found.records for label in record.labels} == set(done.labels)


def test_a_killed_run_goes_on_to_the_same_weights(digits: Path, tmp_path: Path) -> None:
    recipe = Recipe(
        "single", Plan(steps=6, batch_size=8, lr=1e-3, every=2), freq_mask=4, time_mask=6, mixup=0.5, noise=True
    )

    def die(now: FitProgress) -> None:
        if now.step == 5:
            raise KeyboardInterrupt

    how: dict[str, Any] = {"base": TINY, "recipe": recipe, "split": "split"}
    train_ast(digits / "labels.csv", tmp_path / "whole", **how)
    with pytest.raises(KeyboardInterrupt):
        train_ast(digits / "labels.csv", tmp_path / "killed", on_step=die, **how)
    assert train_ast(digits / "labels.csv", tmp_path / "killed", **how).fitted.resumed_from == 4
    whole, killed = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == killed


@pytest.mark.parametrize("length", [48, 96])
def test_a_checkpoint_goes_on_with_another_window_and_other_labels(
    digits: Path, trained: tuple[Path, Any], tmp_path: Path, length: int
) -> None:
    path = tmp_path / "speakers.csv"
    rows = list(csv.DictReader((digits / "labels.csv").read_text().splitlines()))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [["source", "label"], *([digits / r["source"], f"{r['speaker']}|{r['label']}"] for r in rows)]
        )
    recipe = Recipe("multi", Plan(steps=2, batch_size=8, lr=1e-4), max_length=length)
    done = train_ast(path, tmp_path / "out", base=str(trained[0]), recipe=recipe, held_out=0.2)
    assert len(done.labels) == 8 and done.metric == "mAP" and done.after is not None
    encoder: Any = percepts.load_encoder(str(tmp_path / "out"))
    assert encoder.multi_label and encoder.spec.window == length / 100
    kept = transformers.AutoModelForAudioClassification.from_pretrained(tmp_path / "out").config
    assert (kept.max_length, kept.problem_type) == (length, "multi_label_classification")


def test_lora_trains_little_and_leaves_an_ordinary_checkpoint(
    digits: Path, trained: tuple[Path, Any], tmp_path: Path
) -> None:
    recipe = Recipe("single", Plan(steps=2, batch_size=8, lr=1e-2, every=2))
    done = train_ast(digits / "labels.csv", tmp_path, base=str(trained[0]), recipe=recipe, split="split", lora=2)
    assert done.parameters < trained[1].parameters / 10
    before, after = (
        transformers.AutoModelForAudioClassification.from_pretrained(p).state_dict() for p in (trained[0], tmp_path)
    )
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(
        name.endswith(("q_proj.weight", "v_proj.weight")) or "classifier" in name for name in changed
    )


def test_regression_is_the_squared_error(digits: Path, tmp_path: Path) -> None:
    path = tmp_path / "numbers.csv"
    rows = list(csv.DictReader((digits / "labels.csv").read_text().splitlines()))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["source", "label"], *([digits / r["source"], r["label"][1]] for r in rows)])
    done = train_ast(path, tmp_path / "out", base=TINY, recipe=Recipe("regression", replace(QUICK, steps=10)))
    assert done.metric == "-mean squared error" and done.after is not None and done.before is not None
    assert done.after > done.before


def test_pictures_too(tmp_path: Path) -> None:
    rows = [["source", "label"]]
    for i in range(12):
        colour = (200, 20 * i, 0) if i % 2 else (0, 20 * i, 200)
        Image.new("RGB", (40, 32), colour).save(tmp_path / f"{i}.png")
        rows.append([f"{i}.png", "red" if i % 2 else "blue"])
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    torch.manual_seed(0)
    config = transformers.ViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
                                    image_size=32, patch_size=8)  # fmt: skip
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 32, "width": 32}}))
    recipe = Recipe("single", Plan(steps=20, batch_size=6, lr=3e-3), mixup=0.3)
    done = train_ast(tmp_path / "t.csv", tmp_path / "out", base=str(tmp_path / "vit"), recipe=recipe, held_out=0.3)
    assert done.after == 1.0 and done.stats is None
    assert percepts.classify(tmp_path / "1.png", model=str(tmp_path / "out")).records[0].labels[0] == "red"


def test_exact_statistics_are_those_of_all_frames_at_once(digits: Path) -> None:
    sources = sorted((digits / "recordings").iterdir())[:7]
    values = np.concatenate(
        [kaldi_fbank(read_waveform(source), options=FbankOptions(n_mels=32)) for source in sources]
    ).astype(np.float64)
    found = compute_norm_stats(sources, n_mels=32)
    assert (found.mean, found.std) == (pytest.approx(values.mean(), rel=1e-6), pytest.approx(values.std(), rel=1e-6))
    assert found.frames == len(values)


def test_the_authors_statistics_depend_on_padding_and_batches(digits: Path) -> None:
    sources = sorted((digits / "recordings").iterdir())[:4]
    rows = [kaldi_fbank(read_waveform(source), options=FbankOptions(n_mels=32))[:60] for source in sources]
    padded = torch.from_numpy(np.stack([np.pad(row, [(0, 60 - len(row)), (0, 0)]) for row in rows]))
    found = compute_norm_stats(sources, n_mels=32, max_length=60, way="authors", batch=2)
    assert found.mean == pytest.approx(float(torch.stack([p.mean() for p in padded.split(2)]).mean()), rel=1e-5)
    assert found.std == pytest.approx(float(torch.stack([p.std() for p in padded.split(2)]).mean()), rel=1e-5)
    assert found.mean != pytest.approx(compute_norm_stats(sources, n_mels=32).mean, rel=0.01)
    with pytest.raises(ValueError, match="with sound, got none"):
        compute_norm_stats([])


def test_masks_are_no_wider_than_said_and_one_of_each() -> None:
    rng = torch.Generator().manual_seed(0)
    masked = spec_augment(torch.zeros(200, 50, 20), 6, 12, 9.0, rng) == 9.0
    whole_bands, whole_frames = masked.all(1), masked.all(2)
    assert whole_bands.sum(1).max() <= 6 and whole_frames.sum(1).max() <= 12
    assert whole_bands.sum(1).float().mean() > 1.5 and whole_frames.sum(1).float().mean() > 4
    assert torch.equal(masked, whole_bands[:, None, :] | whole_frames[:, :, None])
    assert torch.equal(spec_augment(torch.ones(2, 5, 4), 0, 0, 9.0, rng), torch.ones(2, 5, 4))


def test_mixing_keeps_what_is_not_chosen() -> None:
    rng = torch.Generator().manual_seed(0)
    _, own = draw_mixing(4000, 0.4, rng)
    mixed = own[own < 1]
    assert 0.35 < len(mixed) / 4000 < 0.45
    assert abs(mixed.mean() - 0.5) < 0.02 and abs(mixed.std() - 0.109) < 0.01  # of Beta(10, 10)
    x = torch.randn(3, 30, 4)
    assert shake_spectra(x, rng).shape == x.shape


def test_mixed_spectra_are_those_of_mixed_sound_in_the_mean_and_as_long_as_the_longer() -> None:
    rng, norm = np.random.default_rng(0), Norm(-5.0, 4.0)
    lengths = np.array([16_000, 8_000])

    def inputs(sound: np.ndarray, valid: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        x, mask = ast_features(sound, valid.tolist(), n_mels=32, max_length=120, mean=norm.mean, std=norm.std)
        return torch.from_numpy(x), torch.from_numpy(mask.sum(1))

    sound = rng.standard_normal((2, 16_000)).astype(np.float32) * np.float32([[0.1], [0.3]])
    sound[1, 8_000:] = 0
    x, frames = inputs(sound, lengths)
    found = mix_spectra(x, frames, torch.tensor([1, 0]), torch.tensor([0.4, 1.0]), norm)
    assert torch.equal(found[1], x[1])  # nothing of its partner
    wanted, _ = inputs(0.4 * sound[:1] + 0.6 * sound[1:], lengths[:1])
    assert torch.equal(found[0, 98:], wanted[0, 98:])  # the padding
    for part in (slice(0, 48), slice(52, 98)):  # both, then the longer one alone
        # cross terms have mean zero in power; one unit is 8 in the logarithm, so this is a tenth of a decibel's kin
        assert abs(float(found[0, part].mean() - wanted[0, part].mean())) < 0.02
    alone = (wanted[0, 52:98] - found[0, 52:98]).abs().max()
    assert alone < 1e-5  # no cross terms there: 0.4 of a sound is its spectrum with log 0.16 added


def test_sources_are_decoded_once_and_not_at_every_step(digits: Path, tmp_path: Path, monkeypatch: Any) -> None:
    asked: list[str] = []
    whole = examples._cut_windows

    def counted(source: str, spec: Any) -> Any:
        asked.append(source)
        return whole(source, spec)

    monkeypatch.setattr(examples, "_cut_windows", counted)
    recipe = Recipe("single", Plan(steps=20, batch_size=16, lr=1e-3, every=5))
    train_ast(digits / "labels.csv", tmp_path, base=TINY, recipe=recipe, split="split")
    assert len(asked) == len(set(asked)) == len((digits / "labels.csv").read_text().splitlines()) - 1
    files = {
        "start",
        "log.csv",
        "checkpoint.safetensors",
        "percepts-files.json",
    }  # the last lists what is percepts' own
    assert {path.name for path in (tmp_path / "run").iterdir()} == files


def test_the_recipes_are_the_authors() -> None:
    esc, speech, audioset = RECIPES["esc-50"], RECIPES["speech-commands"], RECIPES["audioset"]
    assert (esc.mean, esc.std, esc.max_length, esc.plan.lr, esc.freq_mask, esc.time_mask) == (
        -6.6268077, 5.358466, 512, 1e-5, 24, 96)  # fmt: skip
    assert (speech.mean, speech.std, speech.max_length, speech.mixup, speech.binary) == (
        -6.845978, 5.5654526, 128, 0.6, True)  # fmt: skip
    assert (audioset.task, audioset.plan.average_from, audioset.mixup, audioset.balanced) == ("multi", 0, 0.5, True)
    plan = RECIPES["audioset-balanced"].plan.of(1200)
    assert [round(plan.factor(epoch * 100, 1200) / 1, 4) for epoch in (5, 9, 10, 14, 15, 20)] == [
        1,
        1,
        0.5,
        0.5,
        0.25,
        0.125,
    ]


def test_a_broken_source_is_left_out_and_wrong_asking_named(digits: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(4000), 8000)
    (tmp_path / "t.csv").write_text("source,label\na.wav,x\nb.wav,x\n")
    with pytest.raises(ValueError, match="at least two labels, got x"):
        train_ast(tmp_path / "t.csv", tmp_path / "o", base=TINY, held_out=0)
    with pytest.raises(ValueError, match="recipe of plain, audioset"):
        train_ast(tmp_path / "t.csv", tmp_path / "o", base=TINY, recipe="esc50")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_take_the_steps_of_one(digits: Path, tmp_path: Path) -> None:
    words = ["-m", "percepts.cli", "train", "ast", str(digits / "labels.csv"), "--base", "small", "--steps", "3",
             "--batch-size", "7", "--split", "split", "--lr", "0.001", "--progress", "none", "-o"]  # fmt: skip
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    on_cpu = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *words, str(tmp_path / "one")], check=True, env=on_cpu)
    subprocess.run([*launch, *words, str(tmp_path / "two")], check=True, env=on_cpu)
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    start = load_file(tmp_path / "one" / "run" / "start" / "model.safetensors")
    for name in one:
        # The same for every key, so softmax drops it: its gradient is rounding alone, of which Adam makes whole steps.
        if not name.endswith("attention.key.bias"):
            apart, moved = (float((one[name] - other[name]).abs().sum()) for other in (two, start))
            assert apart < 1e-5 * moved, name  # the mean of two halves is summed in another order: 7e-7 at most


def test_the_command(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train", "ast", str(digits / "labels.csv"), "--base", "small", "--steps", "2", "--batch-size", "4",
             "--split", "split", "--lr", "0.001", "--progress", "none", "-o", "out"]  # fmt: skip
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "accuracy" in done.stdout and "before training" in done.stdout
    done = CliRunner().invoke(app, [*words, "--recipe", "esc50"])
    assert done.exit_code == 2 and "speech-commands" in done.stderr
