"""Recognise a folder that holds a Whisper model in CTranslate2's format."""

from __future__ import annotations

from pathlib import Path


def is_converted(folder: Path) -> bool:
    """Return whether the folder holds CTranslate2's file of weights, model.bin.

    A folder that has safetensors files beside it is a Hugging Face checkpoint.
    """
    return (folder / "model.bin").is_file() and not any(folder.glob("*.safetensors"))
