"""`percepts search` in a process of its own: by words, by a picture, by a sound; a table or JSON."""

import json

import pytest


def test_words_find_the_picture_and_the_table_lines_up(library):
    _, percepts = library
    done = percepts("search", "vectors", "something blue")
    assert done.returncode == 0, done.stderr
    head, first, *rest = done.stdout.splitlines()
    assert head.split() == ["score", "source", "time"]
    assert first.split() == ["1.000", "photos/blue.png"]
    assert len(rest) == 2
    assert {line.index("photos/") for line in (first, *rest)} == {head.index("source")}
    assert "\x1b" not in done.stdout  # no colours in a pipe, and none out of a file's name


def test_json_has_what_a_program_needs(library):
    folder, percepts = library
    answer = json.loads(percepts("search", "vectors", "red", "-k", "1", "--json").stdout)
    (hit,) = answer.pop("hits")
    assert answer == {"model": "fake-image", "recall": None}
    assert hit == {
        "score": 1.0,
        "source": str(folder / "photos" / "red.png"),
        "kind": "image",
        "start": 0.0,
        "stop": 0.0,
        "model": "fake-image",
        "labels": [],
        "text": None,
        "matched": [{"by": "vector", "score": 1.0, "model": "fake-image", "words": [], "at": None}],
    }


def test_a_picture_finds_itself(library):
    _, percepts = library
    hits = json.loads(percepts("search", "vectors", "--image", "photos/blue.png", "--json").stdout)["hits"]
    assert hits[0]["source"].endswith("blue.png") and hits[0]["score"] == pytest.approx(1.0)


def test_a_sound_finds_its_moment_with_the_time_as_people_say_it(library):
    _, percepts = library
    done = percepts("search", "vectors", "--audio", "query.wav", "-k", "1")
    assert done.stdout.splitlines()[1].split() == ["1.000", "photos/late.wav", "0:00:01.0"]


def test_filters_that_let_nothing_through_say_so(library):
    _, percepts = library
    done = percepts("search", "vectors", "red", "--kind", "video")
    assert done.returncode == 0
    assert done.stdout == "" and "No results" in done.stderr


def test_a_directory_without_vectors_is_one_line(library):
    _, percepts = library
    done = percepts("search", "photos", "red")
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1 and "photos" in done.stderr


def test_a_query_that_no_table_can_take_is_one_line_that_says_what_is_there(library):
    _, percepts = library
    done = percepts("search", "vectors", "red", "--model", "fake-audio")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "fake-audio" in done.stderr
