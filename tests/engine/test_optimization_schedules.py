"""Learning rate schedules against torch's, and what is never touched."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn, optim
from torch.optim import lr_scheduler

from normlab.engine.optimization import factor
from normlab.engine.optimization.schedules import milestones
from normlab.training import Training


def rates(updates: int, schedule: object) -> list[float]:
    """What torch's scheduler makes of a rate of 1."""
    optimizer = optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = schedule(optimizer)  # type: ignore[operator]
    values = []
    for _ in range(updates):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


def warmed(optimizer: optim.Optimizer, warmup: int, after: lr_scheduler.LRScheduler) -> lr_scheduler.SequentialLR:
    warm = lr_scheduler.LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1)
    return lr_scheduler.SequentialLR(optimizer, [warm, after], milestones=[warmup])


def ours(updates: int, **values: object) -> list[float]:
    return [factor(update, updates, Training(**values)) for update in range(updates)]


def test_cosine_is_torchs() -> None:
    expected = rates(37, lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, T_max=37))
    assert ours(37, schedule="cosine") == pytest.approx(expected, abs=1e-12)


def test_step_is_torchs() -> None:
    expected = rates(40, lambda optimizer: lr_scheduler.MultiStepLR(optimizer, milestones=[12, 30], gamma=0.2))
    assert ours(40, schedule="step", decay=0.2, decay_at=[0.3, 0.75]) == pytest.approx(expected, abs=1e-12)


def test_warm_up_is_torchs() -> None:
    expected = rates(20, lambda optimizer: lr_scheduler.LinearLR(optimizer, start_factor=1 / 8, total_iters=7))
    assert ours(20, warmup=8) == pytest.approx(expected, abs=1e-12)


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")  # torch's own SequentialLR asks for it
def test_warm_up_then_cosine_is_torchs() -> None:
    def schedule(optimizer: optim.Optimizer) -> lr_scheduler.LRScheduler:
        return warmed(optimizer, 6, lr_scheduler.CosineAnnealingLR(optimizer, T_max=30 - 6))

    assert ours(30, schedule="cosine", warmup=6) == pytest.approx(rates(30, schedule), abs=1e-12)


@given(updates=st.integers(1, 10_000), data=st.data())
@settings(max_examples=50, deadline=None)
def test_nothing_acts_by_default(updates: int, data: st.DataObject) -> None:
    assert factor(data.draw(st.integers(0, updates - 1)), updates, Training()) == 1.0


@given(
    updates=st.integers(1, 300), warmup=st.integers(0, 400), schedule=st.sampled_from(["constant", "cosine", "step"])
)
@settings(max_examples=100, deadline=None)
def test_rates_rise_once_then_never_again_and_stay_above_zero(updates: int, warmup: int, schedule: str) -> None:
    values = ours(updates, schedule=schedule, warmup=warmup, decay_at=[0.9])
    assert all(0 < value <= 1 for value in values)
    start = values[: min(warmup, int(0.9 * updates))]
    assert start == sorted(start)
    end = values[max(0, warmup - 1) :]
    assert end == sorted(end, reverse=True)
    assert not end or end[0] == 1.0 or schedule == "step"


def test_shares_are_taken_as_they_are_written() -> None:
    """0.1 * 30 is 3.0000000000000004 in floats, which rounds up to 4."""
    assert milestones(30, Training(decay_at=[0.1])) == (3,)
    assert milestones(5, Training(decay_at=[0.5])) == (3,)


def test_updates_are_counted_epoch_by_epoch() -> None:
    training = Training(batch_size=10, epochs=3, accumulation=4)
    assert training.steps_per_epoch(60) == 6
    assert training.updates(60) == 3 * 2
    assert Training(batch_size=10, epochs=3).updates(60) == Training(batch_size=10, epochs=3).steps(60)
