"""Fit a power law to losses at several sizes, and count parameters and operations as such laws do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MissingExtra
from ..support.outputs import check_output_file


@dataclass(frozen=True, slots=True, eq=False)
class PowerLaw:
    """loss = floor + scale · x ** -exponent (Kaplan et al. 2020, arXiv 2001.08361).

    covariance   (P, P) of ln scale, exponent and, where it was fitted, ln floor
    r2           share of the variance of the loss that the law explains
    points       number of measurements
    """

    scale: float
    exponent: float
    floor: float
    covariance: np.ndarray
    r2: float
    points: int

    def predict(self, x: float | np.ndarray) -> np.ndarray:
        """Return the loss at x, which may lie beyond the measurements."""
        return np.asarray(self.floor + self.scale * np.asarray(x, float) ** -self.exponent)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the confidence interval of the exponent."""
        half = self._reach(confidence) * float(np.sqrt(self.covariance[1, 1]))
        return self.exponent - half, self.exponent + half

    def band(self, x: np.ndarray, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Return the confidence band of the law at x: of the curve, not of single measurements."""
        x = np.asarray(x, float)
        power = self.scale * x**-self.exponent
        parts = [power, -power * np.log(x), np.full_like(x, self.floor)][: len(self.covariance)]
        # The delta method: the variance of a prediction is slope · covariance · slopeᵀ.
        slope = np.stack(parts, -1)  # of the prediction in each parameter
        half = self._reach(confidence) * np.sqrt(np.einsum("...i,ij,...j", slope, self.covariance, slope))
        return self.predict(x) - half, self.predict(x) + half

    def _reach(self, confidence: float) -> float:
        return float(_import_scipy("stats").t.ppf((1 + confidence) / 2, max(1, self.points - len(self.covariance))))


def fit_power_law(
    x: Sequence[float] | np.ndarray, loss: Sequence[float] | np.ndarray, *, floor: bool = False
) -> PowerLaw:
    """Fit a power law by least squares on the logarithm of the loss: measurements count by their relative errors.

    Without a floor that is a straight line; with one, the floor is fitted too, and is above zero. ValueError for fewer
    measurements than would leave one to spare, and for numbers that are not above zero. Needs scipy.

    >>> law = fit_power_law([1e6, 1e7, 1e8, 1e9], [4.0, 3.2, 2.56, 2.048])
    >>> round(law.exponent, 4), round(law.r2, 6)
    (0.0969, 1.0)
    """
    x, loss = np.asarray(x, float), np.asarray(loss, float)
    parameters = 3 if floor else 2
    if x.shape != loss.shape or x.ndim != 1 or len(x) <= parameters or not (x > 0).all() or not (loss > 0).all():
        raise ValueError(
            f"expected more than {parameters} pairs of numbers above 0, got {len(x)} of x and {len(loss)} of loss"
        )
    line = np.polyfit(np.log(x), np.log(loss), 1)
    found = np.array([line[1], -line[0]])
    if floor:
        found = _fit_with_floor(x, loss)
    model = _log_loss(x)
    residual = np.log(loss) - model(found)
    jacobian = _log_loss_jacobian(model, found)
    # Unbiased: each fitted parameter takes up one measurement.
    variance = residual @ residual / (len(x) - parameters)
    # pinv, because the matrix is singular where two parameters cannot be told apart.
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * variance
    bottom = float(np.exp(found[2])) if floor else 0.0
    said = np.exp(model(found))
    # 1e-300: losses that are all the same have no variance to explain.
    r2 = 1 - float(((loss - said) ** 2).sum() / max(((loss - loss.mean()) ** 2).sum(), 1e-300))
    return PowerLaw(float(np.exp(found[0])), float(found[1]), bottom, covariance, r2, len(x))


def _log_loss(x: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from parameters (ln scale, exponent[, ln floor]) to ln loss."""
    logs = np.log(x)

    def of(p: np.ndarray) -> np.ndarray:
        power = p[0] - p[1] * logs
        # In logarithms, because exp(p[0]) may overflow while the search tries parameters.
        return np.asarray(power if len(p) == 2 else np.logaddexp(power, p[2]))

    return of


def _fit_with_floor(x: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Fit from several starting points, floors at these shares of the lowest loss, and return the best fit."""
    least_squares = _import_scipy("optimize").least_squares
    model, best = _log_loss(x), None
    # The cost may have several minima in the floor, and one start finds only the nearest.
    for share in (0.05, 0.3, 0.6, 0.9, 0.99):
        low = share * loss.min()
        slope, start = np.polyfit(np.log(x), np.log(loss - low), 1)
        # The floor is fitted as its logarithm: so it stays above zero without bounds.
        guess = np.array([start, -slope, np.log(low)])
        fit = least_squares(lambda p: model(p) - np.log(loss), guess, x_scale="jac", xtol=1e-14, ftol=1e-14, gtol=1e-14)
        if best is None or fit.cost < best.cost:
            best = fit
    assert best is not None
    return np.asarray(best.x)


def _import_scipy(part: str) -> Any:
    try:
        return import_module(f"scipy.{part}")
    except ModuleNotFoundError as error:
        raise MissingExtra("fits with a floor or an interval need scipy: pip install 'percepts[train]'") from error


def _log_loss_jacobian(model: Callable[[np.ndarray], np.ndarray], at: np.ndarray) -> np.ndarray:
    # Central differences in float64: their error, step² and 1e-16 / step, is far below that of any fit.
    step = 1e-6
    shifts = np.eye(len(at)) * step
    return np.stack([(model(at + shift) - model(at - shift)) / (2 * step) for shift in shifts], 1)


def count_parameters(model: Any, *, embeddings: bool = False) -> int:
    """Count trained numbers, shared ones once; token and position embeddings only with `embeddings`.

    Scaling laws count so. A head that shares the token embedding is not counted either; one of its own is.
    """
    from torch import nn

    left_out = set()
    if not embeddings:
        # By identity, so that a head which shares the embedding's tensor is left out with it (Kaplan et al., 2.1).
        left_out = {
            id(p) for module in model.modules() if isinstance(module, nn.Embedding) for p in module.parameters()
        }
    return sum(p.numel() for p in model.parameters() if id(p) not in left_out)


def training_flops(parameters: float, tokens: float) -> float:
    """Return 6 N D: two operations a parameter and token forward, four backward, without attention's own products.

    >>> f"{training_flops(175e9, 300e9):.3g}"  # GPT-3
    '3.15e+23'
    """
    return 6.0 * parameters * tokens


def plot_law(law: PowerLaw, x: Sequence[float], loss: Sequence[float], target: str | Path, *, upto: float,
             name: str = "x", held_out: Sequence[tuple[float, float]] = (),
             overwrite: bool = False) -> None:  # fmt: skip
    """Draw measurements, the law, its 95 % band and its prediction up to `upto`, as PNG.

    `held_out` measurements were not fitted. FileExistsError where the file exists, unless `overwrite`.
    """
    from ..training.plots import ACCENT, INK, PALE, new_figure, save

    check_output_file(target, overwrite=overwrite)
    picture, axes = new_figure()
    grid = np.geomspace(min(x), upto, 200)
    axes.fill_between(grid, *law.band(grid), color=ACCENT, alpha=0.15, linewidth=0)
    inside = grid <= max(x)
    axes.plot(grid[inside], law.predict(grid[inside]), color=ACCENT)
    # Dashed: beyond the measurements the law is a guess.
    axes.plot(grid[~inside], law.predict(grid[~inside]), color=ACCENT, linestyle="--")
    axes.plot(x, loss, "o", color=INK, markersize=5)
    if held_out:
        axes.plot(*zip(*held_out, strict=True), "o", markerfacecolor="none", markeredgecolor=PALE, markersize=6)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(name)
    axes.set_ylabel("loss")
    low, high = law.interval()
    axes.set_title(f"exponent {law.exponent:.4f}, 95 % {low:.4f} to {high:.4f}; floor {law.floor:.3g}", fontsize=10)
    save(picture, target, overwrite=overwrite)


MODEL_SIZES: tuple[tuple[str, str, float], ...] = (
    ("GPT", "2018-06", 117e6), ("BERT large", "2018-10", 340e6), ("GPT-2", "2019-02", 1.5e9),
    ("Megatron-LM", "2019-08", 8.3e9), ("T5", "2019-10", 11e9), ("Turing-NLG", "2020-02", 17e9),
    ("GPT-3", "2020-05", 175e9), ("Switch", "2021-01", 1.6e12), ("Gopher", "2021-12", 280e9),
    ("PaLM", "2022-04", 540e9),
)  # fmt: skip
"""Name, month of publication, parameters: as their papers and announcements say."""


def plot_model_sizes(
    target: str | Path, models: Sequence[tuple[str, str, float]] = MODEL_SIZES, *, overwrite: bool = False
) -> None:
    """Draw parameters over time on a logarithmic axis, as PNG; a row is a name, a month as "2020-05", and a number.

    FileExistsError where the file exists, unless `overwrite`.
    """
    from ..training.plots import ACCENT, INK, new_figure, save

    check_output_file(target, overwrite=overwrite)
    picture, axes = new_figure(7.0, 4.2)
    when = [int(month[:4]) + (int(month[5:7]) - 1) / 12 for _, month, _ in models]
    axes.plot(when, [size for *_, size in models], "o", color=ACCENT)
    for (name, _, size), at in zip(models, when, strict=True):
        axes.annotate(name, (at, size), xytext=(5, -3), textcoords="offset points", fontsize=8, color=INK)
    axes.set_yscale("log")
    axes.set_xlim(min(when) - 0.3, max(when) + 0.9)
    axes.xaxis.set_major_locator(_year_axis())
    axes.set_ylabel("parameters")
    save(picture, target, overwrite=overwrite)


def _year_axis() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True)
