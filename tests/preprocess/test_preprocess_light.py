from __future__ import annotations

import subprocess
import sys

PREPARING = """
import sys
import percepts.windows, percepts.preprocess.fbank, percepts.preprocess.mel, percepts.preprocess.pixels
import percepts.preprocess.resample
print(*(name for name in ("torch", "transformers", "scipy", "onnxruntime") if name in sys.modules))
"""


def test_cutting_and_preparing_load_nothing_heavy():
    """A worker that decodes and prepares pays for numpy, Pillow and soxr, and for no model."""
    loaded = subprocess.run([sys.executable, "-c", PREPARING], check=True, capture_output=True, text=True).stdout
    assert loaded.split() == []
