"""A job directory made by hand: parts of toy records, committed by a manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from percepts.stores import parquet
from percepts.support.files import safe_name
from percepts.types import Record, Spec


def write_manifest(folder: Path, specs: Mapping[str, Spec], parts: Sequence[Mapping[str, parquet.PartInfo]]) -> None:
    """Write a manifest that lists these parts: the file of each model, by its name."""
    listed = [
        {
            "number": max((int(info.name[-14:-8]) for info in infos.values()), default=0),
            "data": {model: asdict(info) for model, info in infos.items()},
            "ledger": None,
        }
        for infos in parts
    ]
    manifest = {
        "schema": 1,
        "fingerprint": {},
        "models": {name: {"spec": asdict(spec), "weights": ""} for name, spec in specs.items()},
        "parts": listed,
        "unfinished": [],
        "counts": {},
        "versions": {},
        "next_part": 1 + max((part["number"] for part in listed), default=-1),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


class ToyJob:
    """`write` commits a part of rows, `remove` takes one back; what the manifest lists is what there is."""

    def __init__(self, path: Path, dim: int = 8, model: str = "toy", seed: int = 0) -> None:
        self.path, self.model = path, model
        self.spec = Spec(name=model, target="toy:Toy", kind="image", dim=dim, pool="mean", license="MIT")
        self.parts: dict[str, parquet.PartInfo] = {}
        self.rng = np.random.default_rng(seed)
        path.mkdir(exist_ok=True)
        self.commit()

    def write(self, name: str, rows: int | np.ndarray) -> ToyJob:
        """A part, "p0" to "p999999", of random rows or of these vectors; an old one of that name is replaced."""
        vectors = self.rng.standard_normal((rows, self.spec.dim)) if isinstance(rows, int) else rows
        records = [
            Record(
                f"/{'ab'[n % 2]}/{name}/{n // 4}'s.mp4", n % 4 / 2, n % 4 / 2 + 1, self.model,
                ("image", "video")[n % 3 == 0], np.asarray(vector, np.float32), ("cup",), None if n % 2 else "über",
            )
            for n, vector in enumerate(vectors)
        ]  # fmt: skip
        listed = [parquet.Row(f"{name}-{n // 4}", record) for n, record in enumerate(records)]
        path = self.path / f"data/{safe_name(self.model)}/part-{int(name[1:]):06d}.parquet"
        self.parts[name] = parquet.write_part(path, listed, self.spec, root=self.path)
        self.commit()
        return self

    def remove(self, name: str) -> None:
        """Take a part out of the manifest, then off the disk, as a job does."""
        info = self.parts.pop(name)
        self.commit()
        (self.path / info.name).unlink()

    def commit(self) -> None:
        """Write the manifest."""
        write_manifest(self.path, {self.model: self.spec}, [{self.model: info} for info in self.parts.values()])
