"""Makes src/percepts/encoders/builtin/data/imagenet_labels.tsv from a wheel of timm, given as the one argument.

timm lists WordNet 3.0's names and definitions of all ImageNet synsets; the 1000 of ImageNet-1k are taken, in the order
of the classifier's scores.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

TARGET = Path(__file__).parents[1] / "src/percepts/encoders/builtin/data/imagenet_labels.tsv"
FOLDER = "timm/data/_info/"


def main(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        synsets, names, definitions = (
            archive.read(FOLDER + file).decode().splitlines()
            for file in ("imagenet_synsets.txt", "imagenet_synset_to_lemma.txt", "imagenet_synset_to_definition.txt")
        )
    name_of = dict(line.split("\t", 1) for line in names)
    definition_of = dict(line.split("\t", 1) for line in definitions)
    head = (
        "# The 1000 classes of ImageNet-1k in the order of the scores: WordNet synset, its names, its definition.\n"
        "# From WordNet 3.0 (Princeton University, see NOTICE), as listed in timm 1.0.31 (timm/data/_info);"
        " made by tests/make_reference_labels.py.\n"
    )
    TARGET.write_text(head + "".join(f"{synset}\t{name_of[synset]}\t{definition_of[synset]}\n" for synset in synsets))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
