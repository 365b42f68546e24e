"""Random accounts of who spoke when, judged by pyannote.metrics → tests/reference/der.json.

python -m venv reference && reference/bin/pip install pyannote.metrics==4.2.0
reference/bin/python tests/make_reference_der.py
"""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path

TARGET = Path(__file__).parent / "reference" / "der.json"
PARTS = ("total", "missed detection", "false alarm", "confusion")


def turns(rng: random.Random, names: str) -> list[list[object]]:
    """A few turns of each speaker, none of whom overlaps with himself; quarters of seconds."""
    found: list[list[object]] = []
    for name in names:
        at = rng.randrange(0, 24)
        for _ in range(rng.randrange(1, 6)):
            length = rng.randrange(1, 30)
            found.append([at / 4, (at + length) / 4, name])
            at += length + rng.randrange(1, 20)
    return found


def main() -> None:
    from pyannote.core import Annotation, Segment
    from pyannote.metrics.diarization import DiarizationErrorRate

    def annotation(rows: list[list[object]]) -> Annotation:
        found = Annotation()
        for number, (start, stop, name) in enumerate(rows):
            found[Segment(start, stop), number] = name
        return found

    warnings.simplefilter("ignore")  # that no region to judge was given: all of it is meant
    rng, cases = random.Random(3), []
    for number in range(48):
        truth = turns(rng, "abcd"[: rng.randrange(1, 5)])
        found = turns(rng, "wxyz"[: rng.randrange(1, 5)])
        collar, skip = (0.0, 0.25, 0.5)[number % 3], number % 4 == 3
        metric = DiarizationErrorRate(collar=2 * collar, skip_overlap=skip)
        parts = metric(annotation(truth), annotation(found), detailed=True)
        cases.append(
            {
                "truth": truth,
                "found": found,
                "collar": collar,
                "skip_overlap": skip,
                "parts": [parts[part] for part in PARTS],
            }
        )
    TARGET.write_text(json.dumps(cases, separators=(",", ":")).replace('{"truth"', '\n{"truth"') + "\n")


if __name__ == "__main__":
    main()
