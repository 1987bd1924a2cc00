"""Gap and drift from moments are those of the layers themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from normlab.watching.measure import Array, LayerStatistics, drift, gap
from normlab.watching.read import batch_statistics, read_values
from normlab.watching.spec import MOST_SAMPLES, History, Sample


@given(seed=st.integers(0, 10_000), shape=st.sampled_from([(2, 3), (8, 5), (4, 6, 7), (3, 4, 5, 2)]))
def test_the_gap_is_that_of_the_layers_two_modes(seed: int, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(seed)
    layer = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(shape[1]).double()
    x = 3 * torch.randn(shape, generator=generator, dtype=torch.float64) + 1
    with torch.no_grad():
        for tensor in (layer.weight, layer.bias):
            tensor.normal_(generator=generator)
        trained = layer.train()(x)
        running_mean = torch.randn(shape[1], generator=generator, dtype=torch.float64)
        running_var = torch.rand(shape[1], generator=generator, dtype=torch.float64) + 0.1
        layer.load_state_dict({"running_mean": running_mean, "running_var": running_var}, strict=False)
        evaluated = layer.eval()(x)
    change = (evaluated - trained).square().mean().sqrt()
    output = (trained - layer.bias.detach().view(1, -1, *[1] * (len(shape) - 2))).square().mean().sqrt()
    statistics = batch_statistics(x, channels_first=True)
    assert statistics is not None
    mean, variance, size = statistics
    arrays = read_values([mean, variance, running_mean, running_var, layer.weight])
    moments = LayerStatistics(arrays[0], arrays[1], size, arrays[2], arrays[3])
    assert gap(moments, layer.eps, arrays[4]) == pytest.approx(float(change / output))


@pytest.mark.parametrize("size", [2, 4, 32])
def test_noise_of_batches_is_a_gap_and_no_drift(size: int) -> None:
    numbers = np.random.default_rng(size)
    batches = [_moments(numbers.normal(size=(size, 2000))) for _ in range(4)]
    assert drift(batches, 1e-5).size < 0.1
    assert gap(batches[0], 1e-5) == pytest.approx((1.5 / size) ** 0.5, rel=0.35)


def test_a_shift_and_a_wider_spread_are_found_behind_the_noise() -> None:
    numbers = np.random.default_rng(0)
    found = drift([_moments(0.5 + 2 * numbers.normal(size=(16, 2000))) for _ in range(4)], 0.0)
    assert found.shift == pytest.approx(0.5, rel=0.1)
    assert found.ratio == pytest.approx(4, rel=0.1)
    assert found.size == pytest.approx((0.5**2 + (2 - 1) ** 2) ** 0.5, rel=0.1)


def _moments(batch: Array) -> LayerStatistics:
    """Of a batch beside running statistics of 0 and 1."""
    channels = batch.shape[1]
    return LayerStatistics(batch.mean(axis=0), batch.var(axis=0), len(batch), np.zeros(channels), np.ones(channels))


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_statistics_of_a_batch(channels_first: bool, dtype: torch.dtype) -> None:
    x = (torch.randn(4, 5, 6, 3, generator=torch.Generator().manual_seed(0)) + 100).to(dtype)
    axes = (0, 2, 3) if channels_first else (0, 1, 2)
    statistics = batch_statistics(x, channels_first)
    assert statistics is not None
    mean, variance, size = statistics
    exact = x.double()
    assert size == x.numel() // len(mean)
    torch.testing.assert_close(mean.double(), exact.mean(axes), rtol=1e-6, atol=0)
    torch.testing.assert_close(variance.double(), exact.var(axes, correction=0), rtol=1e-3, atol=0)


def test_what_has_no_samples_has_no_statistics() -> None:
    assert batch_statistics(torch.ones(3), True) is None
    assert batch_statistics(torch.ones(0, 3), True) is None
    assert batch_statistics(torch.ones(4, 3, dtype=torch.int64), True) is None


def test_values_of_all_types_come_back_as_they_are() -> None:
    tensors = [torch.tensor(2**40), torch.tensor([1.5, float("nan")]), torch.ones(2, 2, dtype=torch.bfloat16)]
    count, values, ones = read_values(tensors)
    assert count.tolist() == [2**40]
    np.testing.assert_array_equal(values, [1.5, np.nan])
    assert ones.tolist() == [1.0] * 4
    assert read_values([]) == []


def test_a_history_stays_short_and_even() -> None:
    history = History()
    for step in range(10_000):
        history.add(Sample(step))
    steps = [sample.step for sample in history]
    assert MOST_SAMPLES // 2 <= len(steps) <= MOST_SAMPLES
    assert len(set(np.diff(steps))) == 1
    assert Sample(1, gap=float("nan"), drift=0.5).as_dict()["gap"] == "nan"
