"""Measure how well texts find images, for every way of making `conse` that was tried: docs/conse.md has the table.

    python bench/conse_trial.py --held-out DIR --synsets DIR --lemmas FILE --names DIR

--held-out  one image of each ImageNet class, n01440764_tench.JPEG; each class is searched by a map that never saw it
--synsets   images n00007846_1_person.jpg of any synsets, some of which are no class
--lemmas    timm's imagenet_synset_to_lemma.txt: the names of those synsets
--names     a folder of images for each name that is searched
No query is among those of the demo, and no image of scikit-image or scikit-learn is used.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from percepts import weights as weight_files
from percepts.encoders import load_encoder, pooling
from percepts.encoders.builtin.effnet import read_label_rows, softmax
from percepts.media.image import open_image

FOLDS = 10
TEXTS: dict[str, Callable[[str, str], str]] = {
    "first name": lambda names, definition: names.partition(",")[0],
    "all names": lambda names, definition: names,
    "all names: definition": lambda names, definition: f"{names}: {definition}",
    "first name: definition": lambda names, definition: f"{names.partition(',')[0]}: {definition}",
}
unit = pooling.normalise


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Mean features (P, 1280), class scores (P, 1000), and the number of the query that each image answers (P,)."""

    features: np.ndarray
    scores: np.ndarray
    answers: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Vectors of the classes' texts (N, 384) and the classifier's weights (N, 1280), for the classes a map may see."""

    texts: np.ndarray
    weights: np.ndarray
    seen: np.ndarray

    @property
    def centred(self) -> np.ndarray:
        """Return the texts of the seen classes as unit vectors around their mean."""
        texts = self.texts[self.seen]
        return unit(texts - texts.mean(axis=0))


Method = Callable[[Labels, Pictures], np.ndarray]
"""Pictures to (P, 384)."""


def conse(sharpness: float, top: int) -> Method:
    def method(labels: Labels, pictures: Pictures) -> np.ndarray:
        chances = softmax(pictures.scores[:, labels.seen] * np.float32(sharpness))
        least = np.sort(chances, axis=1)[:, -min(top, chances.shape[1]), None]
        return np.where(chances >= least, chances, 0) @ labels.centred

    return method


def ridge(strength: float, transform: Callable[[np.ndarray], np.ndarray]) -> Method:
    """Map the classifier's weights to the texts in closed form; the map is applied to the images' features."""

    def method(labels: Labels, pictures: Pictures) -> np.ndarray:
        weights = labels.weights[labels.seen]
        weights = unit(weights - weights.mean(axis=0)).astype(np.float64)
        gram = weights @ weights.T + strength * np.eye(len(weights))
        return transform(pictures.features) @ (np.linalg.solve(gram, labels.centred).T @ weights).T

    return method


def both(share: float, first: Method, second: Method) -> Method:
    return lambda labels, pictures: unit(first(labels, pictures)) + share * unit(second(labels, pictures))


METHODS: dict[str, Method] = {
    **{f"ConSE, sharpness {s}, top {k}": conse(s, k) for s in (0.4, 0.6, 0.8, 1.0) for k in (10, 100)},
    **{f"ridge {s}, features": ridge(s, lambda x: x) for s in (0.3, 3.0)},
    **{f"ridge {s}, square roots": ridge(s, np.sqrt) for s in (0.3, 3.0)},
    "ConSE 0.6, top 10 + half of ridge 1.0": both(0.5, conse(0.6, 10), ridge(1.0, np.sqrt)),
}


def look(files: Sequence[Path], answers: Iterable[int]) -> Pictures:
    encoder = load_encoder("effnet-lite0")
    features, scores = [], []
    for at in range(0, len(files), 32):
        inputs = encoder.prepare([open_image(file) for file in files[at : at + 32]])
        patches, found = encoder._run(inputs)  # type: ignore[attr-defined]
        features.append(patches.mean(axis=1, dtype=np.float64))
        scores.append(found)
    return Pictures(np.concatenate(features), np.concatenate(scores), np.array(list(answers)))


def rank(queries: np.ndarray, vectors: np.ndarray, answers: np.ndarray, numbers: Iterable[int]) -> tuple[float, float]:
    """Return the percentage of queries whose first hit is right, and the mean average precision."""
    likeness, first, precision = unit(queries) @ unit(vectors).T, [], []
    for query, number in zip(likeness, numbers, strict=True):
        places = np.flatnonzero(answers[np.argsort(-query, kind="stable")] == number)
        first.append(places[0] == 0)
        precision.append(np.mean(np.arange(1, len(places) + 1) / (places + 1)))
    return 100 * float(np.mean(first)), 100 * float(np.mean(precision))


def held_out(method: Method, labels: Labels, pictures: Pictures, queries: np.ndarray) -> tuple[float, float]:
    """Search each tenth of the classes by a map of the other nine."""
    fold = np.random.default_rng(0).permutation(len(queries)) % FOLDS
    found = []
    for i in range(FOLDS):
        part = Labels(labels.texts, labels.weights, np.flatnonzero(fold != i))
        asked = np.flatnonzero(fold == i)
        centre = part.texts[part.seen].mean(axis=0)
        found.append(rank(queries[asked] - centre, method(part, pictures), pictures.answers, asked))
    return tuple(np.mean(found, axis=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("held-out", "synsets", "lemmas", "names"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    text, rows = load_encoder("minilm").encode_text, read_label_rows()  # type: ignore[attr-defined]
    classes = [synset for synset, _, _ in rows]

    files = sorted(given.held_out.glob("n*_*.*"))
    each = look(files, [classes.index(file.name.partition("_")[0]) for file in files])
    files = sorted(given.synsets.glob("n*_*.*"))
    synsets = sorted({file.name.partition("_")[0] for file in files})
    some = look(files, [synsets.index(file.name.partition("_")[0]) for file in files])
    lemmas = dict(line.split("\t") for line in given.lemmas.read_text().splitlines())
    new = [i for i, synset in enumerate(synsets) if synset not in classes]
    names = sorted(folder.name for folder in given.names.iterdir())
    files = [file for name in names for file in sorted((given.names / name).iterdir())]
    other = look(files, [names.index(file.parent.name) for file in files])

    class_queries = text([names.partition(",")[0] for _, names, _ in rows])
    synset_queries = text([lemmas[synset].partition(",")[0] for synset in synsets])
    name_queries = text([f"a {name}" for name in names])
    weights = _fc()
    print(f"{'text':24}{'method':40}{'held out':>12}{'synsets':>12}{'new ones':>12}{'names':>12}   (first %, mAP %)")
    for title, template in TEXTS.items():
        texts = text([template(names, definition) for _, names, definition in rows])
        labels = Labels(texts, weights, np.arange(len(rows)))
        centre = texts.mean(axis=0)
        for called, method in METHODS.items():
            synset_vectors, name_vectors = method(labels, some), method(labels, other)
            found = [
                held_out(method, labels, each, class_queries),
                rank(synset_queries - centre, synset_vectors, some.answers, range(len(synsets))),
                rank(synset_queries[new] - centre, synset_vectors, some.answers, new),
                rank(name_queries - centre, name_vectors, other.answers, range(len(names))),
            ]
            print(f"{title:24}{called:40}" + "".join(f"{a:6.1f}{b:6.1f}" for a, b in found), flush=True)


def _fc() -> np.ndarray:
    import torch

    state = torch.load(weight_files.local_path("effnet-lite0"), map_location="cpu", weights_only=True)
    return state["_fc.weight"].numpy().astype(np.float64)


if __name__ == "__main__":
    main()
