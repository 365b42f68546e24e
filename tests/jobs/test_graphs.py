"""The manifest tells which graph made the vectors, and no setting depends on it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from percepts.encoders import load_encoder, register_encoder, registry
from percepts.encoders.pooling import encode_vectors
from percepts.jobs.run import embed
from percepts.jobs.verify import verify
from percepts.runtimes import DeferredRunner, Network, graph_path
from percepts.runtimes.kept import verified_digest
from percepts.types import Clip, Features, Spec

SPEC = Spec(name="mean-colour", target="test_graphs:MeanColour", kind="image", dim=3, pool="mean", license="MIT")


def network() -> Network:
    def build():
        import torch

        class Mean(torch.nn.Module):
            def forward(self, x):
                return x.mean(dim=(1, 2))

        return Mean().eval()

    return Network("mean-colour", "mean-colour-1", build, {"x": np.ones((1, 8, 8, 3), np.float32)}, ("y",))


class MeanColour:
    def __init__(self, spec: Spec, runtime: str = "auto", threads: int | None = None) -> None:
        self.spec, self._run = spec, DeferredRunner(network, "onnx" if runtime == "auto" else runtime, threads)

    @property
    def runtime(self) -> str:
        return self._run.runtime

    def prepare(self, clips: list[Clip]) -> dict[str, np.ndarray]:
        return {"x": np.stack([np.asarray(clip.data[0, :8, :8], np.float32) for clip in clips])}

    def encode(self, inputs: dict[str, np.ndarray]) -> Features:
        (found,) = self._run(inputs)
        return Features(found[:, None], np.ones((len(found), 1), bool), 0.0)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERCEPTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    register_encoder(SPEC)
    (tmp_path / "photos").mkdir()
    for n in range(2):
        Image.new("RGB", (16, 16), (n, 50, 100)).save(tmp_path / f"photos/{n}.png")
    return tmp_path / "photos"


def model_of(job: Path) -> dict[str, object]:
    return json.loads((job / "manifest.json").read_text())["models"]["mean-colour"]


def test_the_graph_that_ran_is_a_fact_of_the_manifest_and_no_setting(photos: Path, tmp_path: Path) -> None:
    job = tmp_path / "job"
    embed([photos / "0.png"], job, models=["mean-colour"], workers=0)
    graph = model_of(job)["graph"]
    assert graph == verified_digest(graph_path(network())) and len(str(graph)) == 64
    assert graph not in json.dumps(json.loads((job / "manifest.json").read_text())["fingerprint"])

    file = json.loads((job / "manifest.json").read_text())
    file["models"]["mean-colour"]["graph"] = "0" * 64  # as if another exporter had written it
    (job / "manifest.json").write_text(json.dumps(file))
    embed([photos], job, models=["mean-colour"], workers=0)
    assert model_of(job)["graph"] == graph and verify(job).ok and verify(job).counts["rows"] == 2


def test_torch_needs_no_graph(photos: Path, tmp_path: Path) -> None:
    embed([photos], tmp_path / "job", models=["mean-colour"], runtime="torch", workers=0)
    assert model_of(tmp_path / "job")["graph"] == ""


def test_a_graph_with_flipped_bits_makes_no_vectors(photos: Path) -> None:
    clip = Clip(np.full((1, 8, 8, 3), 7, np.uint8), "image", 0.0)
    encoder = load_encoder("mean-colour")
    expected = encode_vectors(encoder, encoder.prepare([clip]))
    path = graph_path(network())
    good = path.read_bytes()
    for i in range(0, len(good), max(1, len(good) // 5)):
        path.write_bytes(good[:i] + bytes([good[i] ^ 16]) + good[i + 1 :])
        again = load_encoder("mean-colour")
        assert np.array_equal(encode_vectors(again, again.prepare([clip])), expected)
