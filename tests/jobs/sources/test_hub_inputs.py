"""`hf://datasets/…`: pictures of a hub's dataset, through huggingface_hub, from a server that speaks as a hub does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import REPO, serving
from tables import Photos, ledger, rows

from percepts.jobs.run import embed
from percepts.jobs.verify import verify

MODEL = "fake-image"


def test_pictures_of_a_dataset_of_the_hub(photos: Photos, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    folder, out = photos(6), tmp_path / "v"
    (folder / "0003.png").write_bytes(b"no picture")
    (folder / "more").mkdir()
    (folder / "0005.png").rename(folder / "more" / "0005.png")
    with serving(folder) as hub:

        def run(named: str) -> subprocess.CompletedProcess[str]:
            words = ["embed", f"hf://datasets/{named}", "-o", str(out), "-m", MODEL, "--workers", "1"]
            environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0"}
            command = [sys.executable, "-m", "percepts.cli", *words]
            return subprocess.run(command, env=environment, capture_output=True, text=True)

        first = run(f"{REPO}/")
        assert first.returncode == 3 and "5 files embedded, 1 failed" in first.stdout, first.stderr
        assert "0 files embedded, 5 already done" in run(f"{REPO}/*.png").stdout
        gone = run(f"{REPO}/gone.png")
        assert gone.returncode == 3 and "FileNotFoundError" in gone.stdout, gone.stderr
        none = run("you/none/")
        assert none.returncode == 2 and "repository not found" in none.stderr, none.stderr
    local = embed(folder, tmp_path / "w", models=[MODEL], workers=0)
    assert local.done == 5 and rows(out, MODEL) == rows(tmp_path / "w", MODEL)
    assert ledger(out)["0003.png"]["stage"] == "probe" and verify(out).ok
