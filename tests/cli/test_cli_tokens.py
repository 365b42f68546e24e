"""`percepts tokens` writes what it says it wrote."""

import json

import numpy as np


def test_tokens_of_a_picture_and_of_a_recording_are_written(percepts, photos, tmp_path):
    done = percepts("tokens", "photos/red.png", "-m", "fake-image", "-o", "red.npz", "--json")
    facts = json.loads(done.stdout)
    with np.load(tmp_path / "red.npz") as file:
        assert list(file["data"].shape) == facts["data"] == [1, 1, 8]
        assert str(file["model"]) == facts["model"] == "fake-image"
    done = percepts("tokens", "photos/tone.wav", "-m", "fake-audio", "-o", "tone.safetensors")
    assert done.stdout.startswith("2 x 1 x 8 float32 of fake-audio") and (tmp_path / "tone.safetensors").exists()


def test_an_ending_that_is_not_written_is_a_mistyped_command(percepts, photos):
    done = percepts("tokens", "photos/red.png", "-m", "fake-image", "-o", "red.csv")
    assert done.returncode == 2 and ".safetensors" in done.stderr
