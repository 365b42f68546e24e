"""`percepts search` in a process of its own: by words, by a picture, by a sound; a table or JSON."""

import json

import numpy as np
import pytest
import soundfile


@pytest.fixture
def vectors(percepts, photos):
    done = percepts("embed", "photos", "-o", "vectors", "-m", "fake-image", "-m", "fake-audio")
    assert done.returncode == 0, done.stderr
    return "vectors"


def test_words_find_the_picture_and_the_table_lines_up(percepts, vectors):
    done = percepts("search", vectors, "something blue")
    assert done.returncode == 0, done.stderr
    head, first, *rest = done.stdout.splitlines()
    assert head.split() == ["score", "source", "time"]
    assert first.split() == ["1.000", "photos/blue.png"]
    assert len(rest) == 2
    assert {line.index("photos/") for line in (first, *rest)} == {head.index("source")}
    assert "\x1b" not in done.stdout  # no colours in a pipe, and none out of a file's name


def test_json_has_what_a_program_needs(percepts, vectors, photos):
    hits = json.loads(percepts("search", vectors, "red", "-k", "1", "--json").stdout)
    assert hits == {
        "model": "fake-image",
        "recall": None,
        "hits": [
            {
                "score": 1.0,
                "source": str(photos / "red.png"),
                "kind": "image",
                "start": 0.0,
                "stop": 0.0,
                "model": "fake-image",
                "labels": [],
            }
        ],
    }


def test_a_picture_finds_itself(percepts, vectors, photos):
    hits = json.loads(percepts("search", vectors, "--image", photos / "blue.png", "--json").stdout)["hits"]
    assert hits[0]["source"].endswith("blue.png") and hits[0]["score"] == pytest.approx(1.0)


def test_a_sound_finds_its_moment_with_the_time_as_people_say_it(percepts, vectors, photos, tmp_path):
    samples = np.concatenate([np.zeros(8000), np.linspace(0, 0.9, 8000) * np.sin(np.arange(8000))])
    soundfile.write(photos / "late.wav", samples, 8000)
    soundfile.write(tmp_path / "query.wav", samples[8000:], 8000)
    percepts("embed", "photos", "-o", vectors, "-m", "fake-image", "-m", "fake-audio")
    done = percepts("search", vectors, "--sound", "query.wav", "-k", "1")
    assert done.stdout.splitlines()[1].split() == ["1.000", "photos/late.wav", "0:00:01.0"]


def test_filters_that_let_nothing_through_say_so(percepts, vectors):
    done = percepts("search", vectors, "red", "--kind", "video")
    assert done.returncode == 0
    assert done.stdout == "" and "nothing found" in done.stderr


def test_a_directory_without_vectors_is_one_line(percepts, photos):
    done = percepts("search", "photos", "red")
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1 and "photos" in done.stderr


def test_a_query_that_no_table_can_take_is_one_line_that_says_what_is_there(percepts, photos):
    percepts("embed", "photos", "-o", "sounds", "-m", "fake-audio")
    done = percepts("search", "sounds", "red")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "fake-audio" in done.stderr
