"""Statistics are told apart beyond chance: closed forms, and no alarm on samples of the same population."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from normlab.diagnosis.statistics import apart, distances, is_initial, lag, statistics_of
from normlab.diagnosis.step import sliced, training_step
from normlab.recognition.distance import distance
from normlab.recognition.find import found_norms, recognize
from normlab.recognition.inputs import samples_in
from normlab.recognition.spec import FoundNorm


def batch_norm(channels: int = 3) -> FoundNorm:
    found = recognize(nn.BatchNorm2d(channels))
    assert found is not None
    return found


def correlated(samples: int, seed: int, mean: float = 0.0) -> torch.Tensor:
    """Images of one colour each with little noise: as many independent values as samples, not as pixels."""
    draw = torch.Generator().manual_seed(seed)
    return mean + torch.randn(samples, 3, 1, 1, generator=draw) + 0.01 * torch.randn(samples, 3, 8, 8, generator=draw)


def test_statistics_are_those_of_batch_norm() -> None:
    layer, value = nn.BatchNorm2d(3, momentum=1.0), torch.randn(8, 3, 5, 5) * 3 + 1
    found = recognize(layer)
    assert found is not None
    layer(value)
    seen = statistics_of(found, value)
    assert seen is not None
    count = 8 * 5 * 5
    torch.testing.assert_close(seen.mean.float(), layer.running_mean)
    torch.testing.assert_close((seen.variance * count / (count - 1)).float(), layer.running_var)


def test_the_error_of_a_mean_is_that_over_samples() -> None:
    seen = statistics_of(batch_norm(), correlated(4000, 1))
    assert seen is not None
    torch.testing.assert_close(seen.mean_error, torch.full((3,), 4000**-0.5).double(), rtol=0.05, atol=0)


@pytest.mark.parametrize("samples", [4, 16, 64])
def test_two_batches_of_one_population_are_not_apart(samples: int) -> None:
    alarms = 0
    for seed in range(100):
        one, other = (statistics_of(batch_norm(), correlated(samples, 2 * seed + k)) for k in range(2))
        assert one is not None
        assert other is not None
        alarms += max(distances(one, other)) > 0.5
    assert alarms <= 3


def test_means_are_apart_in_deviations_of_the_others() -> None:
    one, other = (statistics_of(batch_norm(), correlated(4000, seed, mean)) for seed, mean in ((1, 2.0), (2, 0.0)))
    assert one is not None
    assert other is not None
    means, logs = distances(one, other)
    assert means == pytest.approx(2.0, rel=0.05)
    assert logs < 0.05


def test_a_lag_is_seen_in_means_and_in_deviations() -> None:
    found = batch_norm()
    value = correlated(256, 3)
    assert lag(found, value) < 0.2  # mean 0 and variance 1 are what it starts with
    assert lag(found, value + 3) == pytest.approx(3.0, rel=0.1)
    assert lag(found, value * 100) == pytest.approx(4.6, rel=0.1)  # log 100
    assert is_initial(found)


def test_a_step_counts_and_moves_and_puts_back() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, momentum=0.5))
    inputs = (torch.randn(16, 4),)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step = training_step(model, found_norms(model), inputs)
    assert (dict(step.forward), dict(step.backward), step.error) == ({"1": 1}, {}, None)
    assert step.moved_again["1"] == 0.0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model(*inputs)
    assert step.moved["1"] == pytest.approx(
        distance([model[1].running_mean, model[1].running_var], [before["1.running_mean"], before["1.running_var"]])
    )


def test_a_step_that_raises_says_so_and_puts_back() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(5, 4))
    step = training_step(model, found_norms(model), (torch.randn(8, 4),))
    assert isinstance(step.error, RuntimeError)
    assert model[0].num_batches_tracked == 0


def test_only_what_has_samples_is_sliced() -> None:
    inputs = {"x": torch.zeros(8, 3), "table": torch.zeros(5, 3), "flag": True}
    assert samples_in(inputs) == 8
    few = sliced(inputs, 2)
    assert (few["x"].shape[0], few["table"].shape[0], few["flag"]) == (2, 5, True)


@pytest.mark.parametrize("samples", [4, 16])
def test_two_calls_of_one_population_are_seldom_apart(samples: int) -> None:
    """A permutation test is right as often as it says, whatever depends on what within a sample."""
    chances = []
    for seed in range(60):
        found = apart(batch_norm(), correlated(samples, 2 * seed), correlated(samples, 2 * seed + 1))
        assert found is not None
        chances.append(found.chance)
    assert sum(chance <= 0.1 for chance in chances) <= 12  # 6 are expected; more than 12 in 1 of 100 tries
    assert min(chances) > 0.005 or samples > 4


def test_two_calls_with_other_means_or_spreads_are_apart_by_as_much() -> None:
    value = correlated(400, 1)
    found = apart(batch_norm(), 2 * correlated(400, 2) + 3, value)
    assert found is not None
    assert found.chance == pytest.approx(1 / 200)
    assert found.logs == pytest.approx(0.693, abs=0.1)
    assert found.means == pytest.approx(3 / 2.5**0.5, abs=0.2)  # in the root of the mean of both variances, 1 and 4
    same = apart(batch_norm(), value.flip(0), value)
    assert same is not None
    assert same.chance > 0.5
    assert max(same.means, same.logs) < 1e-6
