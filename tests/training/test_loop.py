from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from percepts.errors import JobDamaged, SettingsDiffer
from percepts.training.loop import CHECKPOINT, LOG, FitProgress, FitResult, fit
from percepts.training.plan import Plan

X = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
Y = (X @ torch.arange(6.0) + 0.1 * X[:, 0]).sign()


class Killed(Exception):
    pass


def model() -> torch.nn.Module:
    torch.manual_seed(1)
    layers = (
        torch.nn.Linear(6, 8),
        torch.nn.Dropout(0.2),
        torch.nn.BatchNorm1d(8),
        torch.nn.Tanh(),
        torch.nn.Linear(8, 1),
    )
    return torch.nn.Sequential(*layers)


def run(folder: Path, net: torch.nn.Module, plan: Plan, die_at: int = 0, **more: Any) -> FitResult:
    def loss(batch: Sequence[int], generator: torch.Generator) -> torch.Tensor:
        noise = torch.randn(len(batch), 6, generator=generator) * 0.01
        return torch.nn.functional.soft_margin_loss(net(X[list(batch)] + noise)[:, 0], Y[list(batch)])

    def score() -> float:
        return float((net(X)[:, 0].sign() == Y).float().mean())

    def step(now: FitProgress) -> None:
        if now.step == die_at:
            raise Killed

    return fit(net, loss, 50, plan, folder, settings={"what": "test"}, on_step=step, **{"validate": score, **more})


@pytest.mark.parametrize("plan", [
    Plan(epochs=6, batch_size=16, lr=0.05, every=3),
    Plan(epochs=6, batch_size=16, lr=0.05, average_from=2, schedule="step", decay_from=2, weight_decay=0.1),
])  # fmt: skip
@pytest.mark.parametrize("die_at", [2, 9, 13])
def test_a_run_that_was_killed_ends_at_the_weights_of_one_that_was_not(tmp_path: Path, plan: Plan, die_at: int) -> None:
    whole, again = model(), model()
    expected = run(tmp_path / "whole", whole, plan)
    with pytest.raises(Killed):
        run(tmp_path / "killed", again, plan, die_at)
    again = model()
    found = run(tmp_path / "killed", again, plan)
    assert found.resumed_from in range(1, die_at + 1) or die_at == 2
    for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert (found.steps, found.loss, found.best) == (expected.steps, expected.loss, expected.best)
    logs = [(tmp_path / name / LOG).read_text().splitlines() for name in ("whole", "killed")]
    assert [line.rsplit(",", 1)[0] for line in logs[0]] == [line.rsplit(",", 1)[0] for line in logs[1]]


def test_a_run_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    net, plan = model(), Plan(epochs=2, batch_size=10, lr=0.01)
    run(tmp_path, net, plan)
    again = model()
    assert run(tmp_path, again, plan).resumed_from == 10
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_it_learns_and_says_so(tmp_path: Path) -> None:
    found = run(tmp_path, model(), Plan(steps=60, batch_size=16, lr=0.05))
    assert found.best is not None and found.best > 0.9
    rows = list(csv.DictReader((tmp_path / LOG).read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == list(range(4, 61, 4))
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])


def test_the_best_weights_are_kept_and_patience_ends_it(tmp_path: Path) -> None:
    scores = iter([0.1, 0.5, 0.3, 0.4, 0.2, 0.9])
    seen: list[torch.Tensor] = []
    net = model()

    def score() -> float:
        seen.append(net[0].weight.detach().clone())
        return next(scores)

    found = run(tmp_path, net, Plan(steps=60, batch_size=25, lr=0.05, every=2, patience=3), validate=score)
    assert (found.stopped, found.steps, found.best, found.best_step) == (True, 10, 0.5, 4)
    assert torch.equal(net[0].weight, seen[1])
    assert not net.training


def test_the_mean_of_weights_is_that_of_the_ends_of_epochs(tmp_path: Path) -> None:
    net, ends = model(), list[torch.Tensor]()
    plan = Plan(epochs=4, batch_size=25, lr=0.05, average_from=1)

    def keep() -> float:
        ends.append(net[0].weight.detach().clone())
        return 0.0

    run(tmp_path, net, plan, validate=keep)
    torch.testing.assert_close(net[0].weight.detach(), torch.stack(ends[1:]).mean(0))


def test_warm_up_rises_and_the_cosine_falls() -> None:
    plan = Plan(steps=100, warmup=0.1).of(50)
    factors = [plan.factor(step, 50) for step in range(100)]
    assert factors[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert all(a >= b for a, b in pairwise(factors[9:])) and factors[-1] < 0.001
    steps = Plan(epochs=8, batch_size=25, warmup=0, schedule="step", decay=0.5, decay_from=5).of(50)
    assert [steps.factor(step, 50) for step in range(0, 16, 2)] == [1, 1, 1, 1, 1, 0.5, 0.25, 0.125]


def test_every_example_comes_once_an_epoch(tmp_path: Path) -> None:
    seen: list[int] = []
    net = model()

    def loss(batch: Sequence[int], _: torch.Generator) -> torch.Tensor:
        seen.extend(batch)
        return net(X[list(batch)]).square().mean()

    fit(net, loss, 50, Plan(epochs=2, batch_size=16), tmp_path, settings={})
    assert sorted(seen[:50]) == sorted(seen[50:]) == list(range(50)) and seen[:50] != seen[50:]


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    run(tmp_path, model(), Plan(epochs=1))
    with pytest.raises(SettingsDiffer, match=r"lr = 0\.001, asked for is 0\.01"):
        run(tmp_path, model(), Plan(epochs=1, lr=0.01))
    (tmp_path / CHECKPOINT).write_bytes(b"no")
    with pytest.raises(JobDamaged, match="delete it"):
        run(tmp_path, model(), Plan(epochs=1))


def test_wrong_asking(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        run(tmp_path, model().requires_grad_(False), Plan())
    with pytest.raises(ValueError, match="got none"):
        fit(model(), lambda batch, rng: torch.zeros(()), 0, Plan(), tmp_path, settings={})
    with pytest.raises(ValueError, match="batch_size=0"):
        Plan(batch_size=0)
    with pytest.raises(FloatingPointError, match="smaller --lr"):
        net = model()
        fit(net, lambda batch, rng: net(X).sum() * torch.inf, 50, Plan(), tmp_path / "nan", settings={})
