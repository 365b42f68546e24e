"""Tars of images for the tests."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path


def write_tar(path: Path, folder: Path) -> None:
    """Write a tar as webdataset does: a label beside each image."""
    with tarfile.open(path, "w") as file:
        for picture in sorted(folder.glob("*.png")):
            file.add(picture, picture.name)
            label = tarfile.TarInfo(f"{picture.stem}.cls")
            label.size = 1
            file.addfile(label, io.BytesIO(b"7"))
