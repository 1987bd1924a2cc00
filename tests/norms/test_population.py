"""Population statistics are those of the whole set, layer by layer, and leave nothing behind."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from normlab.norms.population import population_statistics, running_layers


def deep_model() -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for width_in, width_out in ((5, 8), (8, 7), (7, 6)):
        layers += [nn.Linear(width_in, width_out), nn.BatchNorm1d(width_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(6, 2)).double()


def by_hand(model: nn.Sequential, x: np.ndarray, population: np.ndarray) -> np.ndarray:
    """Forward through ``model``, each BatchNorm with the mean and biased variance of ``population`` there."""
    for layer in model:
        if isinstance(layer, nn.BatchNorm1d):
            mean, variance = population.mean(axis=0), population.var(axis=0)
            x, population = ((value - mean) / np.sqrt(variance + layer.eps) for value in (x, population))
        elif isinstance(layer, nn.Linear):
            weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
            x, population = (value @ weight.T + bias for value in (x, population))
        else:
            x, population = np.maximum(x, 0), np.maximum(population, 0)
    return x


def test_statistics_are_exact_at_any_depth() -> None:
    model = deep_model()
    generator = torch.Generator().manual_seed(1)
    whole = torch.randn(200, 5, generator=generator, dtype=torch.float64)
    fresh = torch.randn(17, 5, generator=generator, dtype=torch.float64)
    with population_statistics(model, whole) as outputs, torch.no_grad():
        np.testing.assert_allclose(
            outputs.numpy(), by_hand(model, whole.numpy(), whole.numpy()), rtol=1e-10, atol=1e-12
        )
        np.testing.assert_allclose(model(fresh).numpy(), by_hand(model, fresh.numpy(), whole.numpy()), rtol=1e-10)
        torch.testing.assert_close(model(whole), outputs)


def test_the_model_is_as_before_also_after_an_error() -> None:
    model = deep_model().train()
    model(torch.randn(30, 5, dtype=torch.float64))
    before = copy.deepcopy(model.state_dict())
    for fail in (False, True):
        try:
            with population_statistics(model, torch.randn(50, 5, dtype=torch.float64)):
                assert not model.training
                if fail:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            assert fail
        assert model.training
        assert all(layer.momentum == 0.1 and layer.training for layer in running_layers(model))
        after = model.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)
