"""Makes src/percepts/encoders/builtin/data/conse_labels.npy: minilm's vectors of the 1000 label texts, by torch, as
float16."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from percepts.encoders import load_encoder
from percepts.encoders.builtin.conse import list_label_texts

TARGET = Path(__file__).parents[1] / "src/percepts/encoders/builtin/data/conse_labels.npy"


def main() -> None:
    vectors = load_encoder("minilm", runtime="torch").encode_text(list_label_texts())  # type: ignore[attr-defined]
    np.save(TARGET, vectors.astype(np.float16))


if __name__ == "__main__":
    main()
