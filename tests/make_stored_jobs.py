"""Make the job directories under tests/data/jobs-9759d90, which commit 9759d90 wrote and which later releases open.

Run once, with that commit checked out beside this tree, so that it and no later code writes them:

    PYTHONPATH=../percepts-9759d90/src python tests/make_stored_jobs.py

They are not made again: what they hold is what that release wrote. A job directory names its sources by absolute
paths, so all of it is made below ROOT; the tests lay the inputs out there again, with the same bytes and times.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

STORED = Path(__file__).parent / "data" / "jobs-9759d90"
ROOT = Path("/tmp/percepts-9759d90")
"""Where the inputs and checkpoints lay when the jobs were run. The same on every machine."""
TIME_NS = 1_000_000_000_123_456_789
"""Modification time of every input: by its time and size a file is known to be the one that was read."""
CONVERSATION = STORED.parent / "conversation.flac"

PICTURES = ["inputs/pictures"]
SOUNDS = ["inputs/sounds"]
VIT, GIT = "checkpoints/vit", "checkpoints/git"
JOBS: dict[str, Sequence[str]] = {
    "embed": ["embed", *PICTURES, *SOUNDS, "-m", "fake-image", "-m", "fake-audio", "-m", "melstats"],
    "embed-whole": [
        "embed",
        *PICTURES,
        *SOUNDS,
        "-m",
        "fake-image",
        "-m",
        "fake-audio",
        "--rows",
        "source",
        "--hop",
        "0.5",
    ],
    "embed-formats": ["embed", *PICTURES, "-m", "fake-image", "-f", "jsonl,npz"],
    "embed-vit": ["embed", *PICTURES, "-m", VIT, "--exact"],
    "embed-vit-bfloat16": ["embed", *PICTURES, "-m", VIT, "--precision", "bfloat16", "--runtime", "torch"],
    "embed-conse": ["embed", *PICTURES, "-m", "conse"],
    "classify": ["classify", *PICTURES, "-m", VIT, "--top-k", "2"],
    "zero-shot": ["zero-shot", *PICTURES, "-l", "red", "-l", "blue", "-m", "fake-image"],
    "caption": ["caption", *PICTURES, "-m", GIT, "--max-new-tokens", "5"],
    "ask": ["ask", *PICTURES, "what is it", "how many", "-m", GIT, "--max-new-tokens", "4"],
    "transcribe": ["transcribe", *SOUNDS, "-m", "fake-ctc", "--vad", "energy", "-f", "srt,txt"],
    "diarize": ["diarize", *SOUNDS, "inputs/conversation.flac", "--max-speakers", "4"],
    "shards": ["embed", *PICTURES, *SOUNDS, "-m", "fake-image", "-m", "fake-audio"],
}
"""Commands as that release had them; each ended with exit code 3, since one picture and one recording are broken."""
SHARDS = ("1/2", "2/2")


def lay_out(root: Path = ROOT) -> Path:
    """Copy the inputs and checkpoints to where the jobs were run, and return that folder; what is there stays."""
    stored = [path for name in ("inputs", "checkpoints") for path in sorted((STORED / name).rglob("*"))]
    found = {path.relative_to(STORED): path for path in stored if path.is_file()}
    for name, path in {**found, Path("inputs/conversation.flac"): CONVERSATION}.items():
        place = root / name
        if place.exists() and place.read_bytes() == path.read_bytes() and place.stat().st_mtime_ns == TIME_NS:
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        own = place.with_name(f".{place.name}.{os.getpid()}")  # tests of several processes lay it out at once
        shutil.copyfile(path, own)
        os.utime(own, ns=(TIME_NS, TIME_NS))
        own.replace(place)
    return root


def main() -> None:
    """Make the inputs, the checkpoints and the jobs."""
    shutil.rmtree(STORED, ignore_errors=True)
    shutil.rmtree(ROOT, ignore_errors=True)
    _make_inputs(STORED / "inputs", STORED / "more")
    _make_checkpoints(STORED / "checkpoints")
    lay_out()
    for name, command in JOBS.items():
        for shard in SHARDS if name == "shards" else ("",):
            _run([*command, "-o", f"jobs/{name}", "--workers", "0", *(["--shard", shard] if shard else [])])
    shutil.copytree(ROOT / "jobs", STORED / "jobs", ignore=shutil.ignore_patterns(".lock"))


def _run(command: Sequence[str]) -> None:
    program = [sys.executable, "-m", "percepts.cli", *command, "--progress", "none"]
    done = subprocess.run(program, cwd=ROOT, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True)
    print(" ".join(command), "→", done.returncode, done.stderr)
    assert done.returncode == 3, done.stdout + done.stderr


def _make_inputs(folder: Path, more: Path) -> None:
    import soundfile
    from PIL import Image

    from percepts.speech.fake import spell

    for place in (folder / "pictures", folder / "sounds", more / "pictures", more / "sounds"):
        place.mkdir(parents=True)
    for number, name in enumerate(("red", "blue")):
        colour = [(220, 30, 20), (20, 40, 210)][number]
        Image.fromarray(_speckled(colour, number)).save(folder / "pictures" / f"{name}.png")
    whole = (folder / "pictures" / "red.png").read_bytes()
    (folder / "pictures" / "broken.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(_speckled((30, 200, 40), 2)).save(more / "pictures" / "green.png")
    soundfile.write(folder / "sounds" / "fellow.flac", spell("my fellow", 0.3, 1.5), 16_000)
    (folder / "sounds" / "broken.flac").write_bytes((folder / "sounds" / "fellow.flac").read_bytes()[:30])
    soundfile.write(more / "sounds" / "country.flac", spell("your country", 0.3, 1.6), 16_000)


def _speckled(colour: tuple[int, int, int], seed: int) -> Any:
    """Return a small picture of about one colour."""
    import numpy as np

    noise = np.random.default_rng(seed).integers(-20, 20, (12, 14, 3))
    return np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)


def _make_checkpoints(folder: Path) -> None:
    """As small as they go; every weight is random."""
    import tiny_writers
    import transformers
    from tiny import CROPPED, save

    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
    vision = {**small, "image_size": 16, "patch_size": 8}
    vit = transformers.ViTConfig(**vision, id2label={0: "cat", 1: "dog", 2: "tree"})
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 16}}
    save(folder / "vit", vit, "ViTForImageClassification", processor)
    cropped = {**CROPPED, "size": {"shortest_edge": 18}, "crop_size": {"height": 16, "width": 16}}
    git = transformers.GitConfig(vision_config=vision, max_position_embeddings=32, **{**tiny_writers.TEXT, **small})
    save(folder / "git", git, "GitForCausalLM", {"image_processor_type": "CLIPImageProcessor", **cropped})
    tiny_writers.tokenizer(folder / "git")
    for path in folder.rglob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()), ensure_ascii=False))  # without the indents


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent / folder) for folder in ("encoders", "decoders")]
    main()
