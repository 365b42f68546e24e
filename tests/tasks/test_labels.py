"""classify, zero_shot, similarity: the numbers of transformers' own models, right names, named errors, jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import synth
import tiny  # the tests of encoders have the checkpoints
import torch
import transformers
from need_weights import need_weights
from PIL import Image

import percepts
from percepts.encoders import load_encoder
from percepts.encoders.scores import sigmoid, softmax
from percepts.errors import LabelsError, NotMedia, WeightsError, WrongMedium
from percepts.jobs.run import run
from percepts.stores.parquet import batch_records, read_parts
from percepts.tasks.classify import ClassifyTask
from percepts.tasks.zero_shot import ZeroShotTask
from percepts.types import Clip, Record

CLOSE = 1e-5
"""Of probabilities: float32 steps of 1e-7 in scores of about 1, through a softmax."""
TEXTS = ["cat", "dog piano", "the red sky"]

Make = Callable[..., str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Make:
    folder, known = tmp_path_factory.mktemp("labels"), dict[object, str]()

    def make(name: str, *arguments: object) -> str:
        key = (name, *arguments)
        if key not in known:
            known[key] = str(getattr(tiny, name)(folder / "-".join(map(str, key)), *arguments))
        return known[key]

    return make


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    for name, colour in {"red.png": (255, 0, 0), "blue.png": (0, 0, 255)}.items():
        Image.new("RGB", (40, 30), colour).save(folder / name)
    synth.picture(60, 44).save(folder / "smooth.png")
    soundfile.write(folder / "noise.wav", synth.noise(16_000, 4.6)[0], 16_000)
    synth.write_film(folder / "film.mp4")
    (folder / "bad.jpg").write_bytes(b"this is no picture")
    return folder


def scores_of(record: Record, labels: Iterable[str]) -> list[float]:
    scores = dict(zip(record.labels, record.scores, strict=True))
    return [scores[label] for label in labels]


# classify


def test_a_picture_gets_the_labels_that_its_classifier_finds_likeliest(made: Make, media: Path) -> None:
    model = made("classifier", "vit")
    found = percepts.classify(media / "smooth.png", model=model, top_k=3)
    encoder = load_encoder(model)
    (row,) = encoder.classify(encoder.prepare([percepts.open_image(media / "smooth.png")]))
    best = np.argsort(-row)[:3]
    assert found.overall.labels == tuple(encoder.labels[i] for i in best)
    np.testing.assert_allclose(found.overall.scores, row[best], atol=CLOSE)
    assert found.records[0].labels == found.overall.labels


def test_a_long_recording_is_labelled_window_by_window_and_as_a_whole(made: Make, media: Path) -> None:
    model = made("classifier", "ast")  # windows of two seconds
    found = percepts.classify(media / "noise.wav", model=model, top_k=None)
    assert [(record.start, record.stop) for record in found.records] == [(0.0, 2.0), (2.0, 4.0), (4.0, 4.6)]
    rows = np.array(
        [[dict(zip(r.labels, r.scores, strict=True))[n] for n in tiny.NAMES.values()] for r in found.records]
    )
    mean = np.average(rows, axis=0, weights=[2.0, 2.0, 0.6])
    whole = dict(zip(found.overall.labels, found.overall.scores, strict=True))
    np.testing.assert_allclose([whole[name] for name in tiny.NAMES.values()], mean, atol=CLOSE)
    assert (found.overall.start, found.overall.stop) == (0.0, 4.6)
    assert found.intervals()[0].start == 0.0 and found.intervals()[-1].stop == 4.6


def test_single_or_multi_is_asked_each_time_and_never_sticks(made: Make, media: Path) -> None:
    # Trap 20: transformers keeps the first kind of labels in config.problem_type, and the other fails from then on.
    model, source = made("classifier", "vit"), media / "smooth.png"
    encoder = load_encoder(model)
    (scores,) = encoder.logits(encoder.prepare([percepts.open_image(source)]))
    for multi_label, expected in ((True, sigmoid(scores)), (None, softmax(scores)), (True, sigmoid(scores))):
        found = percepts.classify(source, model=model, multi_label=multi_label, top_k=None).overall
        np.testing.assert_allclose(found.scores, -np.sort(-expected), atol=CLOSE)


def test_a_film_is_seen_in_windows_of_exactly_the_frames_it_was_trained_on(made: Make, media: Path) -> None:
    # Trap 31: TimeSformer of 4 frames runs on 8 and says nothing.
    model = made("classifier", "videomae")  # 4 frames at 7.5 a second
    found = percepts.classify(media / "film.mp4", model=model)
    assert found.records[0].stop == pytest.approx(4 / 7.5)
    encoder = load_encoder(model)
    with pytest.raises(ValueError, match="1 to 4 frames"):
        encoder.prepare([Clip(np.zeros((8, 32, 32, 3), np.uint8), "video", encoder.spec.rate)])


def test_uniform_frames_are_spread_over_the_whole_film(made: Make, media: Path) -> None:
    model = made("classifier", "timesformer")
    found = percepts.classify(media / "film.mp4", model=model, frames="uniform", top_k=None)
    (record,) = found.records
    frames = list(percepts.stream_frames(media / "film.mp4", fps=4 / record.stop))[:4]
    assert len(frames) == 4 and record.start == 0.0 and record.stop == pytest.approx(2.0, abs=0.11)
    encoder = load_encoder(model)
    clip = Clip(np.concatenate([frame.data for frame in frames]), "video", encoder.spec.rate)
    np.testing.assert_allclose(
        found.overall.scores, -np.sort(-encoder.classify(encoder.prepare([clip]))[0]), atol=CLOSE
    )


def test_what_cannot_be_classified_is_an_error_with_a_name(made: Make, media: Path) -> None:
    with pytest.raises(WrongMedium, match=r"is audio; .* takes image"):
        percepts.classify(media / "noise.wav", model=made("classifier", "vit"))
    with pytest.raises(WrongMedium, match=r"is image; .* takes audio"):
        percepts.classify(media / "red.png", model=made("classifier", "ast"))
    with pytest.raises(WeightsError, match="no classifier"):
        percepts.classify(media / "red.png", model=made("vit"))
    with pytest.raises(NotMedia):
        percepts.classify(media / "bad.jpg", model=made("classifier", "vit"))
    with pytest.raises(TypeError, match="banana"):  # trap 21: transformers ignores what it does not know
        percepts.classify(media / "red.png", banana=1)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="multi_label to be True, False or None"):
        percepts.classify(media / "red.png", model=made("classifier", "vit"), multi_label="both")  # type: ignore[arg-type]


def test_a_job_labels_all_that_is_good_as_one_by_one_and_its_ledger_says_the_rest(
    made: Make, media: Path, tmp_path: Path
) -> None:
    model = made("classifier", "vit")
    report = run(ClassifyTask.create(model, top_k=2), [media], tmp_path / "out", workers=0)
    assert (report.done, report.skipped, report.failed) == (4, 1, 1)
    rows = {(r.source, r.start): r for batch in read_parts(tmp_path / "out", load_encoder(model).spec.name)
            for r in batch_records(batch, "m")}  # fmt: skip
    for name in ("red.png", "film.mp4"):
        for record in percepts.classify(media / name, model=model, top_k=2).records:
            kept = rows[record.source, record.start]
            assert kept.labels == record.labels and kept.vector is None
            np.testing.assert_allclose(kept.scores, record.scores, atol=CLOSE)
    assert [(Path(entry.uri).name, entry.error) for entry in report.failures] == [("bad.jpg", "NotMedia")]


# zero_shot


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_labels_of_ones_own_get_the_probabilities_of_transformers(family: str, made: Make, media: Path) -> None:
    folder, picture = made(family), media / "smooth.png"
    found = percepts.zero_shot(picture, TEXTS, model=folder, templates=["a photo of {}"])
    kind = {"clip": "CLIP", "siglip": "Siglip"}[family]
    inputs = getattr(transformers, f"{kind}ImageProcessorPil").from_pretrained(folder)(
        Image.open(picture), return_tensors="pt"
    )
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(
        [f"a photo of {text}" for text in TEXTS], padding="max_length", max_length=12, return_tensors="pt"
    )
    asked = {"input_ids": tokens["input_ids"]} | (
        {"attention_mask": tokens["attention_mask"]} if kind == "CLIP" else {}
    )
    with torch.inference_mode():
        (logits,) = (
            getattr(transformers, f"{kind}Model").from_pretrained(folder).eval()(**inputs, **asked).logits_per_image
        )
    expected = (logits.softmax(0) if kind == "CLIP" else logits.sigmoid()).numpy()
    np.testing.assert_allclose(scores_of(found.overall, TEXTS), expected, atol=1e-4)  # CLOSE, times a scale of 14


def test_sound_is_compared_with_text_by_clap(made: Make, media: Path) -> None:
    folder = made("clap")
    found = percepts.zero_shot(media / "noise.wav", TEXTS, model=folder)
    encoder = load_encoder(folder)
    (row,) = percepts.similarity(media / "noise.wav", TEXTS, model=folder, templates=[encoder.template]).softmax()
    np.testing.assert_allclose(scores_of(found.overall, TEXTS), row, atol=CLOSE)
    assert sum(found.overall.scores) == pytest.approx(1, abs=CLOSE)


def test_of_several_templates_a_label_is_the_mean_direction(made: Make, media: Path) -> None:
    folder, templates = made("clip"), ["a photo of {}", "the {}", "two {}"]
    encoder = load_encoder(folder)
    vectors = np.stack([encoder.encode_text([t.replace("{}", text) for text in TEXTS]) for t in templates]).mean(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    picture = encoder.encode(encoder.prepare([percepts.open_image(media / "smooth.png")])).data[0, 0]
    found = percepts.similarity(media / "smooth.png", TEXTS, model=folder, templates=templates)
    np.testing.assert_allclose(found.matrix[0], vectors @ picture / np.linalg.norm(picture), atol=CLOSE)


def test_each_frame_of_a_film_and_the_whole_of_it(media: Path) -> None:
    found = percepts.zero_shot(media / "film.mp4", ["black", "white", "red"], model="fake-image", fps=4)
    assert len(found.records) == 8 and {"black", "white"} >= {found.overall.labels[0]}


def test_labels_that_cannot_be_asked_about_are_an_error_with_a_name(made: Make, media: Path) -> None:
    for labels, match in (([], "at least one"), (["cat", " "], "blank"), (["cat", "cat "], "more than once")):
        with pytest.raises(LabelsError, match=match):
            percepts.zero_shot(media / "red.png", labels, model="fake-image")
    with pytest.raises(LabelsError, match="one text"):
        percepts.zero_shot(media / "red.png", "cat", model="fake-image")
    with pytest.raises(LabelsError, match=r"expected \{\}"):
        percepts.zero_shot(media / "red.png", ["cat"], model="fake-image", templates=["a photo"])
    with pytest.raises(LabelsError, match="does not compare image with text"):
        percepts.zero_shot(media / "red.png", ["cat"], model=made("vit"))
    with pytest.raises(LabelsError, match="cannot judge each"):
        percepts.zero_shot(media / "red.png", ["cat"], model=made("clip"), multi_label=True)
    with pytest.raises(WrongMedium, match="is audio"):
        percepts.zero_shot(media / "noise.wav", ["cat"], model="fake-image")


def test_labels_with_braces_are_no_templates(media: Path) -> None:
    assert percepts.zero_shot(media / "red.png", ["{red}", "{0} blue"], model="fake-image").overall.labels[0] == "{red}"


def test_a_job_of_labels_of_ones_own(media: Path, tmp_path: Path) -> None:
    report = run(ZeroShotTask.create(["red", "blue"], model="fake-image"), [media], tmp_path / "out", workers=0)
    rows = {
        Path(r.source).name: r
        for batch in read_parts(tmp_path / "out", "fake-image")
        for r in batch_records(batch, "m")
    }
    assert report.failed == 1 and rows["red.png"].labels == ("red", "blue") and rows["blue.png"].labels[0] == "blue"


# similarity


def test_rows_are_pictures_columns_texts_and_the_softmax_is_clips(made: Make, media: Path) -> None:
    # Traps 24 and 25: the notebook's cell crashes; before, it was not normalised, without temperature, axes swapped.
    folder, pictures = made("clip"), [media / "red.png", media / "smooth.png"]
    found = percepts.similarity(pictures, TEXTS, model=folder)
    assert found.matrix.shape == (2, 3) and found.columns == tuple(TEXTS) and found.rows == tuple(map(str, pictures))
    inputs = transformers.CLIPImageProcessorPil.from_pretrained(folder)(
        [Image.open(path).convert("RGB") for path in pictures], return_tensors="pt"
    )
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    tokens.pop("token_type_ids", None)
    with torch.inference_mode():
        logits = transformers.CLIPModel.from_pretrained(folder).eval()(**inputs, **tokens).logits_per_image
    np.testing.assert_allclose(found.softmax(), logits.softmax(1).numpy(), atol=1e-4)  # CLOSE, times a scale of 14
    np.testing.assert_allclose(found.softmax(axis=0).sum(axis=0), 1, atol=CLOSE)
    assert found.logit_scale is not None
    np.testing.assert_allclose(found.matrix * found.logit_scale.scale, logits.numpy(), atol=1e-3)


def test_pictures_with_pictures_and_sounds_with_sounds(media: Path) -> None:
    found = percepts.similarity([media / "red.png", media / "blue.png"], model="fake-image")
    np.testing.assert_allclose(found.matrix, [[1, 0], [0, 1]], atol=CLOSE)
    assert found.columns == found.rows
    one = percepts.similarity(media / "red.png", against=[media / "blue.png", media / "red.png"], model="fake-image")
    np.testing.assert_allclose(one.matrix, [[0, 1]], atol=CLOSE)
    sounds = percepts.similarity([media / "noise.wav"], model="fake-audio")
    np.testing.assert_allclose(sounds.matrix, [[1]], atol=CLOSE)
    with pytest.raises(ValueError, match="no scale of its own"):
        found.softmax()
    np.testing.assert_allclose(found.softmax(scale=0.0), 0.5)


def test_what_shares_no_space_is_an_error_with_a_name(made: Make, media: Path) -> None:
    with pytest.raises(WrongMedium, match="is audio"):
        percepts.similarity(media / "red.png", against=media / "noise.wav", model="fake-image")
    with pytest.raises(LabelsError, match="reads no text"):
        percepts.similarity(media / "red.png", ["cat"], model=made("vit"))
    with pytest.raises(LabelsError, match="got both"):
        percepts.similarity(media / "red.png", ["cat"], against=media / "red.png", model="fake-image")
    with pytest.raises(LabelsError, match="got none"):
        percepts.similarity([], ["cat"], model="fake-image")


def test_a_heatmap_says_its_numbers_and_names(media: Path, tmp_path: Path) -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    pictures = [media / "red.png", media / "film.mp4"]
    found = percepts.similarity(pictures, ["a red thing with a very long name", "$blue$"], model="fake-image")
    axes = figure.add_subplot()
    found.heatmap(axes)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["red.png", "film.mp4"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a red thing with a\nvery long name", r"\$blue\$"]
    assert {text.get_text() for text in axes.texts} == {f"{value:.2f}" for value in found.matrix.ravel()}
    assert len(axes.artists) == 2  # a thumbnail of the picture, one of the film
    found.heatmap(tmp_path / "map.png", values=found.softmax())
    with Image.open(tmp_path / "map.png") as drawn:
        assert drawn.size[0] > 300
    with pytest.raises(ValueError, match="shape"):
        found.heatmap(tmp_path / "map.png", values=np.zeros((1, 1)))


# the real thing


@pytest.fixture(scope="module")
def real() -> Path:
    from percepts.cli.demo.run import PICTURES
    from percepts.encoders import model_spec

    folder = pytest.importorskip("skimage").__path__[0]
    need_weights(*model_spec("conse").weights)
    return Path(folder) / PICTURES["skimage"]


SEEN = {
    "chelsea.png": ({"tiger cat", "Egyptian cat"}, "a cat"),
    "coffee.png": ({"espresso"}, "a cup of coffee"),
    "camera.png": ({"tripod"}, "a photographer with a tripod"),
    "motorcycle_left.png": ({"moped"}, "a motorbike"),
    "rocket.jpg": ({"missile", "projectile, missile"}, "a rocket launch"),
}


@pytest.mark.parametrize("name", SEEN)
def test_real_pictures_are_named_by_their_classifier_and_by_ones_own_labels(name: str, real: Path) -> None:
    named, own = SEEN[name]
    assert percepts.classify(real / name).overall.labels[0] in named
    assert percepts.zero_shot(real / name, [own for _, own in SEEN.values()]).overall.labels[0] == own


def test_real_pictures_and_texts_are_nearest_to_their_own(real: Path) -> None:
    found = percepts.similarity([real / name for name in SEEN], [own for _, own in SEEN.values()])
    assert found.matrix.argmax(axis=0).tolist() == found.matrix.argmax(axis=1).tolist() == [0, 1, 2, 3, 4]
