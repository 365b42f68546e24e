"""Whether a folder holds a Whisper model as CTranslate2 writes it."""

from __future__ import annotations

from pathlib import Path


def is_converted(folder: Path) -> bool:
    """Its converter's one file of weights is there; where safetensors lie beside it, the folder is a checkpoint."""
    return (folder / "model.bin").is_file() and not any(folder.glob("*.safetensors"))
