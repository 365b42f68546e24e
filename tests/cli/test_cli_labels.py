"""`percepts zero-shot`, `classify` and `similarity` as users meet them: one file, a folder, mistakes."""

from __future__ import annotations

import json

import pytest
from PIL import Image


def test_one_file_is_answered_at_once(library):
    _, percepts = library
    done = percepts("zero-shot", "photos/red.png", "-m", "fake-image", "-l", "red", "-l", "blue")
    head, first, second = done.stdout.splitlines()
    assert head.split() == ["score", "label"] and first.split()[1] == "red" and second.split()[1] == "blue"
    answer = json.loads(percepts("zero-shot", "photos/red.png", "-m", "fake-image", "-l", "red", "--json").stdout)
    assert answer["labels"] == [{"label": "red", "score": 1.0}] and answer["kind"] == "image"


def test_a_folder_is_a_job_that_search_reads(library):
    folder, percepts = library
    (folder / "labels.txt").write_text("a red rose\n\na blue sky\n")
    arguments = ("zero-shot", "photos", "--texts", "labels.txt", "-m", "fake-image", "-o", "labels", "-f", "jsonl")
    done = percepts(*arguments)
    assert done.returncode == 0, done.stderr
    assert "labelled" in done.stdout and "sets of labels in labels" in done.stdout
    assert "already done" in percepts(*arguments).stdout
    best = percepts("search", "labels", "roses", "-k", "1").stdout.splitlines()[1]
    assert "red.png" in best and "label (a red rose)" in best
    both = json.loads(percepts("search", "vectors", "labels", "red rose", "-k", "1", "--json").stdout)["hits"][0]
    assert [match["by"] for match in both["matched"]] == ["vector", "label"] and both["labels"][0] == "a red rose"


def test_the_matrix_is_printed_and_drawn(library):
    folder, percepts = library
    done = percepts(
        "similarity", "photos", "-m", "fake-image", "-t", "red", "-t", "blue", "-o", "map.png", "--softmax", "columns"
    )
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split()[-2:] for line in done.stdout.splitlines()[1:]}
    assert float(rows["photos/red.png"][0]) > 0.9 and float(rows["photos/red.png"][1]) < 0.1
    with Image.open(folder / "map.png") as drawn:
        assert drawn.format == "PNG"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("zero-shot", "photos/red.png", "-m", "fake-image"), 2, "at least one label"),
        (("zero-shot", "photos/red.png", "-l", "a", "-l", "a"), 2, "more than once"),
        (("zero-shot", "photos/tone.wav", "-m", "fake-image", "-l", "a"), 1, "is audio; fake-image takes image"),
        (("classify", "photos"), 2, "expected a directory"),
        (("classify", "photos/red.png", "-m", "fake-image"), 1, "no labels"),
        (("classify", "photos/red.png", "--banana"), 2, "No such option"),
        (("similarity", "photos/red.png", "-m", "fake-image", "-t", ""), 2, "none of them blank"),
        (("similarity", "photos/red.png", "-m", "fake-image", "--softmax", "rows"), 2, "no scale of its own"),
    ],
)
def test_mistakes_are_told_in_words(library, arguments, code, message):
    _, percepts = library
    done = percepts(*arguments)
    assert done.returncode == code and message in done.stderr and "Traceback" not in done.stderr
