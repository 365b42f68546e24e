"""Draw the pictures of docs/train.md and docs/toolbox.md: `python docs/pictures.py`, from the root of the project.

With the folder of a run it draws that run's: `python docs/pictures.py curve RUN/log.csv docs/img/curve.png`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from percepts.toolbox.attention import favor_plus, linear_attention
from percepts.toolbox.masks import Band, BlockLocal, Dilated, Global, Random, bigbird, longformer
from percepts.toolbox.scaling import fit_power_law, plot_law, plot_model_sizes
from percepts.training.plots import ACCENT, INK, new_figure, plot_curve

HERE = Path(__file__).parent / "img"


def masks() -> None:
    """Eight patterns over 64 tokens, and how dense each is."""
    shown = {"Global(4)": Global(4), "Band(5)": Band(5), "Dilated(3, 4)": Dilated(3, 4),
             "BlockLocal(16)": BlockLocal(16), "Random(6)": Random(6), "longformer(10, 3)": longformer(10, 3),
             "bigbird(8, 3, 4)": bigbird(8, 3, 4),
             "BlockLocal(8) | Dilated(7, 8)": BlockLocal(8) | Dilated(7, 8)}  # fmt: skip
    picture, axes = new_figure(8.4, 4.6)
    axes.remove()
    for number, (name, pattern) in enumerate(shown.items(), 1):
        place = picture.add_subplot(2, 4, number)
        place.imshow(pattern.matrix(64), cmap="GnBu", vmin=0, vmax=1.3, interpolation="nearest")
        place.set_title(f"{name}\n{pattern.density(64):.0%}", fontsize=8, color=INK)
        place.set_xticks([])
        place.set_yticks([])
    picture.savefig(HERE / "masks.png")


def favor() -> None:
    """Draw the error of FAVOR+ over the number of features."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(6, 40, 8, dtype=torch.float64) / 2 for _ in range(3))
    exact = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    counts = [2**i for i in range(4, 13)]
    errors = [
        float(np.sqrt(np.mean([(linear_attention(q, k, v, phi=favor_plus(8, m, seed=s)) - exact).square().mean()
                               for s in range(20)])))
        for m in counts
    ]  # fmt: skip
    picture, axes = new_figure(5.6, 3.6)
    axes.loglog(counts, errors, "o-", color=ACCENT, label="root mean square error, 20 draws")
    axes.loglog(counts, errors[0] * np.sqrt(counts[0] / np.array(counts)), "--", color=INK, label="1 / √features")
    axes.set_xlabel("features")
    axes.legend(frameon=False)
    picture.savefig(HERE / "favor.png")


def law() -> None:
    """Draw a law with a floor that was fitted to small sizes, beside the losses of larger ones."""
    rng, x = np.random.default_rng(4), np.geomspace(1e5, 1e9, 13)
    loss = (1.7 + 60 * x**-0.3) * np.exp(0.01 * rng.standard_normal(len(x)))
    found = fit_power_law(x[:9], loss[:9], floor=True)
    plot_law(found, x[:9], loss[:9], HERE / "law.png", overwrite=True, upto=3e9, name="parameters without embeddings",
             held_out=list(zip(x[9:], loss[9:], strict=True)))  # fmt: skip


def main() -> None:
    """All of them, or the curve of one run."""
    HERE.mkdir(exist_ok=True)
    if sys.argv[1:2] == ["curve"]:
        plot_curve(Path(sys.argv[2]), Path(sys.argv[3]), score="held-out accuracy", overwrite=True)
        return
    masks()
    favor()
    law()
    plot_model_sizes(HERE / "sizes.png", overwrite=True)


if __name__ == "__main__":
    main()
