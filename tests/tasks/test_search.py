"""Search over pictures, sound and films, with encoders whose answers are known beforehand."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, replace

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

import percepts
from percepts.encoders import load_encoder, model_spec, register_encoder
from percepts.encoders.builtin.fake import COLOURS
from percepts.errors import NotMedia, SearchError
from percepts.jobs.run import run
from percepts.stores import exact, parquet
from percepts.tasks import search as task
from percepts.tasks.embed import EmbedTask, embed_iter

RGB = {name: tuple(255 * (n >> bit & 1) for bit in (2, 1, 0)) for n, name in enumerate(COLOURS)}


def commit(folder, rows_by_model):
    """A job directory of these records, one part a model."""
    folder.mkdir(exist_ok=True)
    specs = [model_spec(model) for model in rows_by_model]
    data = {}
    for model, found in rows_by_model.items():
        rows = [parquet.Row(record.source, record) for record in found]
        info = parquet.write_part(folder / f"data/{model}/part-000000.parquet", rows, model_spec(model), root=folder)
        data[model] = asdict(info)
    settings = EmbedTask(tuple(specs)).settings()
    models = {s.name: {"spec": asdict(s), "weights": settings["models"][s.name]["weights"]} for s in specs}
    parts = [{"number": 0, "data": data, "ledger": None}]
    manifest = {"schema": 1, "fingerprint": settings, "models": models, "parts": parts,
                "unfinished": [], "counts": {}, "versions": {}, "next_part": 1}  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """A picture of each colour in two folders, and four recordings that get loud at another time each."""
    folder = tmp_path_factory.mktemp("media")
    for n, (name, colour) in enumerate(RGB.items()):
        place = folder / ("it's warm" if n % 2 else "cold")
        place.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30), colour).save(place / f"{name}.png")
    for n in range(4):
        samples = np.full(8 * 8000, 0.01, np.float32)
        samples[n * 16000 : n * 16000 + 4000] = 0.5  # the first half of a second 2 n
        soundfile.write(folder / f"loud-at-{2 * n}.wav", samples, 8000)
    return folder


@pytest.fixture(scope="module")
def vectors(media, tmp_path_factory):
    rows = {
        "fake-image": [r for path in sorted(media.rglob("*.png")) for r in embed_iter(path, "fake-image")],
        "fake-audio": [r for path in sorted(media.glob("*.wav")) for r in embed_iter(path, "fake-audio")],
    }
    return commit(tmp_path_factory.mktemp("out") / "vectors", rows)


def stem(hit):
    return hit.record.source.rsplit("/", 1)[1].rsplit(".", 1)[0]


@pytest.mark.parametrize("colour", COLOURS)
def test_a_text_finds_its_picture(vectors, colour):
    hits = percepts.search(vectors, f"something {colour}", k=3)
    assert stem(hits[0]) == colour and hits.model == "fake-image" and hits.recall is None
    assert len(hits) == 3 and hits[0].score == pytest.approx(1.0, abs=1e-7)  # a float32 vector of length one


@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_picture_finds_itself(vectors, media, as_bytes):
    path = media / "it's warm/blue.png"
    hits = percepts.search(vectors, image=path.read_bytes() if as_bytes else path, k=2)
    assert stem(hits[0]) == "blue" and hits[0].score == pytest.approx(1.0, abs=1e-7)


def test_a_sound_finds_the_moment_that_sounds_like_it(vectors, media, tmp_path):
    samples, rate = soundfile.read(media / "loud-at-4.wav", dtype="float32")
    soundfile.write(tmp_path / "query.wav", samples[4 * rate : 5 * rate], rate)
    hits = percepts.search(vectors, audio=tmp_path / "query.wav", k=4)
    assert hits.model == "fake-audio" and {(stem(h), h.record.start) for h in hits} == {
        (f"loud-at-{t}", float(t)) for t in (0, 2, 4, 6)
    }
    assert percepts.search(vectors, audio=tmp_path / "query.wav", k=1, after=3, before=5)[0].record.start == 4.0


def test_a_long_sound_is_the_mean_of_its_windows(vectors, media):
    found = percepts.search(vectors, audio=str(media / "loud-at-4.wav"), k=3)
    own = np.stack([r.vector for r in embed_iter(media / "loud-at-4.wav", "fake-audio")])
    mean = (own / np.linalg.norm(own, axis=1, keepdims=True)).sum(axis=0)
    expected = exact.search_exact(vectors, "fake-audio", mean, 3)
    assert [(h.record.source, h.record.start) for h in found] == [(h.record.source, h.record.start) for h in expected]


def test_filters_by_folder_and_kind(vectors, media, monkeypatch):
    warm = {name for n, name in enumerate(COLOURS) if n % 2}
    assert {stem(h) for h in percepts.search(vectors, "red", k=20, under=media / "it's warm")} == warm
    monkeypatch.chdir(media)
    assert {stem(h) for h in percepts.search(vectors, "red", k=20, under="it's warm/")} == warm
    assert percepts.search(vectors, "red", under=media / "it's") == []
    assert len(percepts.search(vectors, "red", kind="image", k=20)) == 8
    assert percepts.search(vectors, "red", kind="video") == []


def test_search_follows_the_directory_as_it_grows(media, tmp_path):
    paths = sorted(media.rglob("*.png"))
    for count in (0, 3, 8, 5):
        folder = commit(tmp_path / "v", {"fake-image": [r for p in paths[:count] for r in embed_iter(p, "fake-image")]})
        found = percepts.search(folder, "white", k=20)
        assert {h.record.source for h in found} == {str(path) for path in paths[:count]}


def test_where_no_index_can_be_written_every_vector_is_looked_at(media, tmp_path, caplog):
    folder = commit(
        tmp_path / "v", {"fake-image": [r for p in media.rglob("*.png") for r in embed_iter(p, "fake-image")]}
    )
    (folder / "index").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        assert stem(percepts.search(folder, "green", k=1)[0]) == "green"
    assert "no index can be kept here" in caplog.text


def film(path, colours):
    """A second of each colour, four frames a second."""
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for colour in colours:
            for _ in range(4):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), RGB[colour], np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_a_moment_of_a_film_is_found_by_its_text_and_its_time(media, tmp_path):
    found = list(embed_iter(film(tmp_path / "film.mp4", ["black", "red", "blue", "red"]), "fake-image"))
    folder = commit(tmp_path / "v", {"fake-image": [*found, *embed_iter(media / "it's warm/white.png", "fake-image")]})
    assert sorted(h.record.start for h in percepts.search(folder, "red", k=2)) == [1.0, 3.0]
    assert [h.record.start for h in percepts.search(folder, "red", k=1, after=2)] == [3.0]
    assert [h.record.start for h in percepts.search(folder, "red", k=1, before=2, kind="video")] == [1.0]
    assert {h.record.kind for h in percepts.search(folder, "white", k=9, kind="video")} == {"video"}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "expected one query, a text, an image or an audio file; got none"),
        ({"query": " "}, "got none"),
        ({"query": "a", "image": "b.png"}, "got text and image"),
        ({"query": "a", "model": "conse"}, "no table of 'conse'; there are: fake-image, fake-audio"),
        ({"query": "a", "model": "fake-audio"}, r"asked with a text \(fake-audio takes audio\)"),
        ({"query": "a", "kind": "film"}, "unknown kind 'film'"),
        ({"query": "a", "k": 0}, "k of at least 1"),
    ],
)
def test_what_cannot_be_asked_is_answered_with_what_can(vectors, asked, message):
    with pytest.raises(SearchError, match=message):
        percepts.search(vectors, **asked)


def test_a_query_of_the_wrong_kind_or_none_at_all_is_an_error(vectors, media, tmp_path):
    with pytest.raises(SearchError, match=r"red\.png: expected audio or a video with audio, got image \(png\)"):
        percepts.search(vectors, audio=next(media.rglob("red.png")))
    with pytest.raises(SearchError, match=r"loud-at-0\.wav: expected an image, got audio"):
        percepts.search(vectors, image=media / "loud-at-0.wav")
    with pytest.raises(FileNotFoundError):
        percepts.search(vectors, image=tmp_path / "a cat.png")
    with pytest.raises(NotMedia):
        percepts.search(vectors, image=b"a cat")
    with pytest.raises(NotMedia):
        percepts.search(vectors, image=b"")
    with pytest.raises(percepts.PerceptsError, match="percepts embed SOURCES -o"):
        percepts.search(tmp_path, "a cat")


def test_which_table_answers_is_asked_of_its_encoder(media, tmp_path):
    pictures = [r for p in sorted(media.rglob("*.png")) for r in embed_iter(p, "fake-image")]
    register_encoder(replace(model_spec("fake-image"), name="fake-twin"))
    twins = [replace(record, model="fake-twin") for record in pictures]
    sounds = list(embed_iter(media / "loud-at-0.wav", "fake-audio"))
    folder = commit(tmp_path / "v", {"fake-audio": sounds, "fake-twin": twins, "fake-image": pictures})
    assert percepts.search(folder, "red").model == "fake-twin"  # the first that can, in the order of the job
    assert percepts.search(folder, "red", model="fake-image").model == "fake-image"
    assert percepts.search(folder, audio=media / "loud-at-0.wav").model == "fake-audio"
    only = commit(tmp_path / "w", {"fake-audio": sounds})
    with pytest.raises(SearchError, match=r"no table here can be asked with an image \(fake-audio takes audio\)"):
        percepts.search(only, image=media / "cold/black.png")


def test_vectors_of_an_encoder_that_has_changed_are_not_compared_with_new_ones(vectors, media, tmp_path):
    folder = commit(tmp_path / "v", {"fake-image": list(embed_iter(media / "cold/black.png", "fake-image"))})
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["fingerprint"]["models"]["fake-image"]["revision"] = "0"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        SearchError,
        match="made with a different version of fake-image \\(revision '0' → '1'\\); re-run `percepts embed`",
    ):
        percepts.search(folder, "black")


def test_a_table_whose_encoder_is_gone_is_passed_over_and_named(media, tmp_path):
    register_encoder(replace(model_spec("fake-image"), name="fake-gone"))
    gone = [replace(r, model="fake-gone") for r in embed_iter(media / "cold/black.png", "fake-image")]
    folder = commit(tmp_path / "v", {"fake-gone": gone})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "_load_cached", lambda spec: load_encoder(f"no {spec.name}"))
        with pytest.raises(SearchError, match="no encoder called 'no fake-gone'"):
            percepts.search(folder, "black")


def test_words_and_pictures_find_real_pictures_with_the_default_encoder(tmp_path):
    data = pytest.importorskip("skimage.data")
    names = ("astronaut", "chelsea", "coffee", "rocket")
    for name in names:
        Image.fromarray(getattr(data, name)()).save(tmp_path / f"{name}.png")
    found = [record for name in names for record in embed_iter(tmp_path / f"{name}.png", "conse")]
    folder = commit(tmp_path / "v", {"conse": found})
    for text, name in {"a cup of coffee": "coffee", "a cat": "chelsea", "a rocket launch": "rocket"}.items():
        assert stem(percepts.search(folder, text)[0]) == name
    Image.open(tmp_path / "chelsea.png").crop((100, 0, 400, 300)).save(tmp_path / "part.jpg")
    assert stem(percepts.search(folder, image=tmp_path / "part.jpg")[0]) == "chelsea"


@pytest.fixture(scope="module")
def said(media, tmp_path_factory):
    """Labels of the pictures, beside their vectors."""
    from percepts.tasks.zero_shot import ZeroShotTask

    folder = tmp_path_factory.mktemp("said") / "labels"
    run(ZeroShotTask.create(["red herring", "blue whale"], model="fake-image"), [media], folder, workers=0)
    return folder


def test_labels_are_found_by_their_words(said):
    hits = percepts.search(said, "whales", k=1)
    assert hits[0].record.source.endswith("blue.png") and hits[0].matches[0].by == "label"
    assert hits[0].matches[0].words == ("blue whale",) and hits.model == "fake-image"
    with pytest.raises(SearchError, match="no table here can be asked with an image"):
        percepts.search(said, image=b"")


def test_vectors_and_labels_of_several_directories_are_one_answer(vectors, said):
    hits = percepts.search([vectors, said], "blue whale", k=3)
    assert hits[0].record.source.endswith("blue.png") and hits[0].record.labels
    assert [match.by for match in hits[0].matches] == ["vector", "label"]
    assert hits[0].score == pytest.approx(2 / 61)


def test_directories_of_one_model_are_one_list_of_cosines(vectors):
    one, two = percepts.search(vectors, "red", k=5), percepts.search([vectors, vectors], "red", k=6)
    assert [hit.score for hit in two[:2]] == [one[0].score] * 2
