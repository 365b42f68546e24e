"""`percepts models` says what there is and what is here; nothing is fetched unless asked."""

import json

import numpy as np
import safetensors.numpy

from percepts import encoders


def test_every_encoder_is_listed_with_what_is_known_of_it(percepts, tmp_path):
    done = percepts("models", "--json", PERCEPTS_CACHE=str(tmp_path / "cache"), PERCEPTS_WEIGHTS="")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert tuple(rows) == encoders.list_models()
    for name, row in rows.items():
        spec = encoders.model_spec(name)
        assert (row["kind"], row["dim"], row["rate"], row["window"]) == (spec.kind, spec.dim, spec.rate, spec.window)
        assert row["license"] == spec.license
        assert bool(row["download"]) == bool(spec.weights)
        assert row["present"] or spec.weights


def test_the_table_says_which_weights_are_missing(percepts, tmp_path):
    done = percepts("models", "conse", "melstats", PERCEPTS_CACHE=str(tmp_path / "cache"), PERCEPTS_WEIGHTS="")
    head, conse, melstats, *more = done.stdout.splitlines()
    assert head.split()[:3] == ["name", "kind", "dim"]
    assert "not downloaded" in conse and "MB" in conse
    assert "none needed" in melstats
    assert "27.4 M parameters" in more[0] and "vectors, text, probabilities" in more[0]


def test_fetching_without_a_network_is_one_line_with_the_cure(percepts, tmp_path):
    settings = {"PERCEPTS_CACHE": str(tmp_path / "cache"), "PERCEPTS_WEIGHTS": "", "PERCEPTS_OFFLINE": "1"}
    done = percepts("models", "effnet-lite0", "--fetch", **settings)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "effnet-lite0" in done.stderr and "PERCEPTS_WEIGHTS" in done.stderr


def test_fetching_what_needs_no_weights_is_done_at_once(percepts):
    assert percepts("models", "melstats", "--fetch", PERCEPTS_OFFLINE="1").returncode == 0


def test_families_of_checkpoints_and_their_short_names_are_listed(percepts, tmp_path):
    done = percepts("models", "--hub", HF_HUB_CACHE=str(tmp_path))
    assert all(name in done.stdout for name in encoders.list_hub_models())
    families = done.stdout.splitlines()[-1].removeprefix("families: ").split(", ")
    assert tuple(families) == encoders.list_families()


def test_speed_is_measured_here(percepts):
    (row,) = json.loads(percepts("models", "fake-image", "--bench", "--json").stdout)
    assert row["encode_per_second"] > 0 and row["prepare_per_second"] > 0 and row["runtime"] == "numpy"


def test_unnamed_only_those_whose_weights_are_here_are_measured(percepts, tmp_path):
    settings = {"PERCEPTS_CACHE": str(tmp_path / "cache"), "PERCEPTS_WEIGHTS": "", "PERCEPTS_OFFLINE": "1"}
    rows = json.loads(percepts("models", "--bench", "--json", **settings).stdout)
    measured = [row["name"] for row in rows if "encode_per_second" in row]
    assert measured == [row["name"] for row in rows if row["present"]] and {"melstats", "fake-audio"} <= set(measured)


def test_a_checkpoint_that_is_not_to_be_had_is_one_line_with_the_cure(percepts, tmp_path):
    done = percepts("models", "nobody/nothing", HF_HUB_CACHE=str(tmp_path), HF_HUB_OFFLINE="1")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "percepts models --fetch nobody/nothing" in done.stderr


def test_a_checkpoint_that_is_no_encoder_is_told_too(percepts, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "writer", "architectures": ["Writer"]}')
    safetensors.numpy.save_file({"a": np.zeros((3, 4), np.float32)}, tmp_path / "other" / "model.safetensors")
    (row,) = json.loads(percepts("models", "other", "--json").stdout)
    assert (row["family"], row["parameters"], row["memory"]) == ("writer", 12, 48)
    assert "writer, 0.0 M parameters, 48 B at float32" in percepts("models", "other").stdout
