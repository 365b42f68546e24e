from __future__ import annotations

import csv
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_lm
import torch
from typer.testing import CliRunner

import percepts
from percepts import adapters
from percepts.adapters import Splicer, make_adapter, token_rms
from percepts.cli import app
from percepts.errors import EncodeError, MediaError, SettingsDiffer
from percepts.preprocess.resample import resample
from percepts.training.adapter import LanguageModel, train_adapter
from percepts.training.features import FlattenedEncoder, cache_features, measure_features_shape
from percepts.training.loop import FitProgress, fit
from percepts.training.plan import Plan
from percepts.types import Clip
from percepts.windows import cut_fixed_windows

NAMES = "zero one two three four five six seven eight nine".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return LanguageModel(tiny_lm.llama(), tiny_lm.tokenizer(), "tiny")


@pytest.fixture(scope="module")
def table(digits: Path) -> Path:
    """What the digits are called, in words: the language model is to say it."""
    path = digits / "words.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["source", "text", "transcript"])
        for row in csv.DictReader((digits / "labels.csv").read_text().splitlines()):
            name = NAMES[int(row["label"][1])]
            writer.writerow([row["source"], name, f"sound of {name}"])
    return path


def test_a_frozen_language_model_learns_ten_classes_through_layer_norm_and_linear(
    lm: LanguageModel, tmp_path: Path
) -> None:
    rng, before = np.random.default_rng(0), lm.digest()
    centres = rng.standard_normal((10, 1, 16))
    classes = rng.integers(0, 10, 400)
    data = torch.from_numpy((centres[classes] + 0.3 * rng.standard_normal((400, 3, 16))).astype(np.float32))
    torch.manual_seed(0)
    adapter, splicer = make_adapter("linear", 16, 32), Splicer(lm.model, lm.tokenizer)
    adapter.match_scale(token_rms(lm.model), data)
    lm.model.requires_grad_(False)

    def said(rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        media = [{"<audio>": [part]} for part in adapter(data[list(rows)]).embeds]
        batch = splicer(["<audio> :"] * len(rows), media, answers=[NAMES[classes[i]] for i in rows])
        target = batch.pop("labels")[:, -2]
        return lm.model(**batch).logits[:, -3], target

    def right() -> float:
        logits, target = said(range(300, 400))
        return float((logits.argmax(-1) == target).float().mean())

    plan = Plan(steps=150, batch_size=32, lr=0.01, every=50)
    done = fit(adapter, lambda rows, _: torch.nn.functional.cross_entropy(*said(rows)), 300, plan, tmp_path,
               settings={}, validate=right)  # fmt: skip
    assert done.best == 1.0
    assert lm.digest() == before


@pytest.mark.parametrize("objective", ["ce", "kl"])
def test_recordings_to_words(digits: Path, table: Path, lm: LanguageModel, tmp_path: Path, objective: str) -> None:
    before, seen = lm.digest(), list[FitProgress]()
    plan = Plan(steps=60, batch_size=16, lr=0.01, every=20)
    _, done = train_adapter(table, tmp_path, encoder="melstats", lm=lm, prompt="what is <audio> :", plan=plan,
                                  objective=objective, workers=0, on_step=seen.append)  # type: ignore[arg-type]  # fmt: skip
    assert seen[-1].loss < 0.7 * seen[0].loss and len(seen) == 60
    assert lm.digest() == before
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"adapter.json", "adapter.safetensors", "curve.png", "features", "run"}
    again = adapters.load_adapter(tmp_path)
    assert again.about == {"encoder": "melstats", "lm": "tiny", "prompt": "what is <audio> :"}
    soft = percepts.soft_tokens(digits / "recordings/0_ann_0.wav", "melstats", tmp_path)
    assert soft.embeds.shape == (1, 8, 32)
    if objective == "ce":
        assert done.best is not None and done.best > 0.6  # half of the tokens are ends, and one of five words is right
        said = adapters.generate(Splicer(lm.model, lm.tokenizer), ["what is <audio> :"], [{"<audio>": [soft]}],
                                 max_new_tokens=2, do_sample=False)  # fmt: skip
        assert said[0] in NAMES


def test_a_killed_run_goes_on_to_the_same_adapter(table: Path, lm: LanguageModel, tmp_path: Path) -> None:
    plan = Plan(steps=9, batch_size=16, lr=0.01, every=3)
    how = {"encoder": "melstats", "lm": lm, "prompt": "<audio> :", "plan": plan, "kind": "stack", "workers": 0,
           "settings": {"k": 3, "hidden": 8}}  # fmt: skip

    def die(now: FitProgress) -> None:
        if now.step == 5:
            raise KeyboardInterrupt

    train_adapter(table, tmp_path / "whole", **how)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        train_adapter(table, tmp_path / "killed", on_step=die, **how)  # type: ignore[arg-type]
    _, done = train_adapter(table, tmp_path / "killed", **how)  # type: ignore[arg-type]
    assert done.resumed_from == 3
    whole, killed = ((tmp_path / name / "adapter.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == killed
    with pytest.raises(SettingsDiffer, match="prompt"):
        train_adapter(table, tmp_path / "killed", **how | {"prompt": "this <audio> :"})  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_process_that_is_killed_goes_on_to_the_same_adapter(table: Path, tmp_path: Path) -> None:
    tiny_lm.save(tmp_path / "lm")
    words = ["train", "adapter", str(table), "--lm", str(tmp_path / "lm"), "--encoder", "melstats",
             "--prompt", "<audio> :", "--steps", "60", "--every", "5", "--lr", "0.01",
             "--progress", "none"]  # fmt: skip
    for name in ("whole", "killed"):
        command = [sys.executable, "-m", "percepts.cli", *words, "-o", str(tmp_path / name)]
        if name == "killed":
            process = subprocess.Popen(command)
            while not (tmp_path / name / "run" / "log.csv").exists():
                time.sleep(0.05)
            process.kill()
            process.wait()
        subprocess.run(command, check=True)
    whole, killed = ((tmp_path / name / "adapter.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == killed


def test_frames_come_back_as_they_were_and_are_not_computed_twice(digits: Path, tmp_path: Path) -> None:
    sources = sorted(str(path) for path in (digits / "recordings").iterdir())[:3]
    assert measure_features_shape("melstats") == (8, 64)
    found = cache_features(sources, tmp_path, "melstats", workers=0)
    data, mask, counts = found.of(sources[:2])
    melstats = percepts.load_encoder("melstats")
    sound = [resample([percepts.open_audio(source)], 16000) for source in sources[:2]]
    clips = [clip for stream in sound for clip in cut_fixed_windows(4.0)(stream)]
    np.testing.assert_allclose(data, melstats.encode(melstats.prepare(clips)).data, atol=1e-5)
    assert counts == [1, 1] and mask.all()
    told = []
    cache_features(sources, tmp_path, "melstats", workers=0, on_progress=told.append)
    assert told[-1].done == 0 and told[-1].unchanged == 3


def test_a_broken_source_costs_no_good_one(table: Path, lm: LanguageModel, tmp_path: Path) -> None:
    rows = list(csv.reader(table.read_text().splitlines()))[1:4]
    (tmp_path / "broken.wav").write_bytes(b"RIFF nothing")
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["source", "text"], ["broken.wav", "one"],
                                    *[[table.parent / r[0], r[1]] for r in rows]])  # fmt: skip
    how = {"encoder": "melstats", "lm": lm, "prompt": "<audio>", "plan": Plan(steps=1), "workers": 0}
    _, done = train_adapter(tmp_path / "t.csv", tmp_path / "a", **how)  # type: ignore[arg-type]
    assert done.steps == 1
    (tmp_path / "b.csv").write_text("source,text\nbroken.wav,one\n")
    with pytest.raises(MediaError, match="ledger"):
        train_adapter(tmp_path / "b.csv", tmp_path / "b", **how)  # type: ignore[arg-type]


def test_wrong_asking(table: Path, lm: LanguageModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one marker of <image>, <audio>, <video> in the prompt, got 2"):
        train_adapter(table, tmp_path, encoder="melstats", lm=lm, prompt="<audio> <image>")
    with pytest.raises(ValueError, match="objective of ce or kl, got 'mse'"):
        train_adapter(table, tmp_path, encoder="melstats", lm=lm, prompt="<audio>", objective="mse")  # type: ignore[arg-type]
    for wrong, said in (({"kind": "foo"}, "adapter of linear.*got 'foo'"), ({"settings": {"kk": 2}}, "no setting kk")):
        with pytest.raises(ValueError, match=said):
            train_adapter(table, tmp_path / "no", encoder="melstats", lm=lm, prompt="<audio>", **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "no").exists()  # and no features were computed
    (tmp_path / "t.csv").write_text("source,text\na.wav,one\n")
    with pytest.raises(ValueError, match="expected columns transcript"):
        train_adapter(tmp_path / "t.csv", tmp_path, encoder="melstats", lm=lm, prompt="<audio>", objective="kl")


def test_the_command(table: Path, tmp_path: Path) -> None:
    tiny_lm.save(tmp_path / "lm")
    words = ["train", "adapter", str(table), "--lm", str(tmp_path / "lm"), "--encoder", "melstats",
             "--prompt", "<audio> :", "--steps", "4", "--kind", "stack", "--set", "k=2", "--set", "hidden=8",
             "--progress", "plain", "-o", str(tmp_path / "out")]  # fmt: skip
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "4 steps" in done.stdout and "loss" in done.stderr
    assert adapters.load_adapter(tmp_path / "out").settings == {"k": 2, "hidden": 8, "project": "linear"}
    done = CliRunner().invoke(app, [*words[:-1], str(tmp_path / "no"), "--set", "kk=2"])
    assert done.exit_code == 2 and "no setting kk" in " ".join(done.stderr.split())


def test_frames_that_a_short_window_lacks_are_zero_and_more_than_of_a_full_one_are_an_error() -> None:
    wrapped = FlattenedEncoder(replace(percepts.model_spec("melstats"), name="melstats-frames", dim=10 * 64))
    melstats = percepts.load_encoder("melstats")
    inputs = melstats.prepare([Clip(np.ones((1, 16_000), np.float32), "audio", 16_000.0)])
    found, own = wrapped.encode(inputs).data, melstats.encode(inputs).data
    assert found.shape == (1, 1, 640) and not found[..., 512:].any()
    assert np.array_equal(found[0, 0, :512], own.ravel())
    narrow = FlattenedEncoder(replace(wrapped.spec, dim=7 * 64))
    with pytest.raises(EncodeError, match=r"at most 448 numbers of a window.*got 512"):
        narrow.encode(inputs)
