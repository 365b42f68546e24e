"""Time an epoch of training on stored features against computing them again; and learn digits, by a probe and an AST.

The epoch is LayerNorm and Linear on effnet-lite0's frames of the demo images, repeated to 2,000; recomputing them is
measured on 100 of those and scaled. With --fsdd the Free Spoken Digits (their zip) are learned by a linear probe on
melstats and by a small AST from random weights, with the official split and each speaker held out: some 100 CPU
seconds for each of the seven, of which --hold-out selects some. What is finished in DIR is not repeated.

    python bench/train.py [--pictures 2000]
    python bench/train.py --fsdd fsdd.zip --work DIR [--hold-out split theo ...]
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
import zipfile
from pathlib import Path

import torch
from _compare import machine

import percepts
from percepts import adapters
from percepts.cli.demo.run import copy_demo_media
from percepts.media import open_image
from percepts.training.ast import train_ast
from percepts.training.features import cache_features
from percepts.training.heads import train_head
from percepts.training.initialise import SmallAst
from percepts.training.plan import Plan
from percepts.training.recipes import Recipe

BATCH, AGAIN = 32, 100
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")


def cpu(call: object) -> float:
    begun = time.process_time()
    call()  # type: ignore[operator]
    return time.process_time() - begun


def caching(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = copy_demo_media(Path(folder) / "demo")[:-2]  # without the recording and the film
        sources = [str(Path(folder) / f"{i:05}{found[i % len(found)].suffix}") for i in range(count)]
        for i, source in enumerate(sources):
            Path(source).symlink_to(found[i % len(found)])
        once = time.perf_counter()
        kept = cache_features(sources, Path(folder) / "kept", "effnet-lite0", workers=0)
        once = time.perf_counter() - once
        encoder = percepts.load_encoder("effnet-lite0")
        adapter = adapters.make_adapter("linear", kept.data.shape[2], 32)
        optimizer = torch.optim.AdamW(adapter.parameters())

        def learn(data: torch.Tensor) -> None:
            optimizer.zero_grad()
            adapter(data).embeds.square().mean().backward()
            optimizer.step()

        def cached() -> None:
            for first in range(0, count, BATCH):
                learn(torch.from_numpy(kept.of(sources[first : first + BATCH])[0]))

        def again() -> None:
            for first in range(0, AGAIN, BATCH):
                clips = [open_image(s, at_least=512) for s in sources[first : min(AGAIN, first + BATCH)]]
                learn(torch.from_numpy(encoder.encode(encoder.prepare(clips)).data))

        again()
        ratios = []
        for _ in range(3):
            fast, slow = cpu(cached), cpu(again) * count / AGAIN
            ratios.append(slow / fast)
            print(f"an epoch over {count:,} pictures: {fast:.2f} CPU s cached, {slow:.1f} recomputed (from {AGAIN})")
        print(f"cached is {sorted(ratios)[1]:.0f} times faster ({min(ratios):.0f} to {max(ratios):.0f}); "
              f"making the cache took {once:.0f} s, {kept.data.nbytes / 1e6:.0f} MB")  # fmt: skip


def digits(archive: Path, folder: Path, chosen: list[str]) -> None:
    table = folder / "labels.csv"
    if not table.exists():
        unpack(archive, folder, table)
    percepts.embed(folder / "recordings", folder / "vectors", models=["melstats"])
    for how in ({"split": "split"}, {"groups": "speaker"}):
        done = train_head(folder / "vectors", table, folder / f"probe-{next(iter(how))}", overwrite=True, **how)
        each = ", ".join(f"{name} {found.accuracy:.1%}" for name, found in done.folds)
        print(f"linear probe on melstats, {next(iter(how))}: mean {done.mean_accuracy:.1%} ({each})", flush=True)
    plan = Plan(steps=1500, batch_size=32, lr=3e-3, weight_decay=0.01, every=500)
    recipe = Recipe("single", plan, freq_mask=6, time_mask=8)
    for held in chosen:
        begun = time.process_time()
        done = train_ast(table, folder / f"ast-{held}", base=SmallAst(), recipe=recipe, split=held)
        # done.after is of the weights that did best on what is held out; the figure is the last, chosen by nothing
        print(f"small AST from nothing, held out {held}: {done.before:.1%} before, {done.fitted.score:.1%} after "
              f"{plan.steps:,} steps, {time.process_time() - begun:.0f} CPU s, "
              f"{done.parameters / 1e6:.2f} million parameters", flush=True)  # fmt: skip


def unpack(archive: Path, folder: Path, table: Path) -> None:
    """Unpack the audio files, and write a table with a column for everything that may be held out."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["source", "label", "speaker", "split", *SPEAKERS])
        for path in sorted((folder / "recordings").glob("*.wav")):
            digit, speaker, take = path.stem.split("_")
            held = [int(take) < 5, *(speaker == name for name in SPEAKERS)]
            writer.writerow([f"recordings/{path.name}", digit, speaker, *("test" if h else "train" for h in held)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--fsdd", type=Path)
    parser.add_argument("--work", type=Path, default=Path("bench-output/fsdd"))
    parser.add_argument("--hold-out", nargs="*", choices=("split", *SPEAKERS), default=["split", *SPEAKERS])
    asked = parser.parse_args()
    print(machine())
    if asked.fsdd:
        digits(asked.fsdd, asked.work, asked.hold_out)
    else:
        caching(asked.pictures)


if __name__ == "__main__":
    main()
