"""Running statistics of every norm that keeps them: exact, precise, frozen; and nothing is left behind."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from norm_cases import TEXTS, by_formula
from normlab import norms
from normlab.errors import InputError
from normlab.norms import population_statistics, reestimate, running_layers
from normlab.norms.catalog import NORMS, parse
from normlab.norms.slot import Slot
from normlab.norms.spec import Norm
from normlab.surgery.freezing import freeze

COUPLED = [parse(TEXTS[spec.name]) for spec in NORMS if spec.couples_batch]
IMAGE = Slot(6, "NCHW", (4, 4))


def images(samples: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, 3, 4, 4, generator=generator, dtype=torch.float64) * 2 + 1


def network(norm: Norm) -> nn.Sequential:
    """Two convolutions, each with the norm behind it."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs in (3, 6):
        layers += [nn.Conv2d(inputs, 6, 3, padding=1), norm.build(IMAGE), nn.Tanh()]
    return nn.Sequential(*layers).double()


def by_hand(norm: Norm, model: nn.Sequential, whole: Tensor) -> Tensor:
    """Training mode on the whole of the input, each norm by its formula: one batch, and one chunk."""
    chosen = Norm(norm.reference, norm.spec, {**norm.options, "size": len(whole)})
    for layer in model:
        if layer in running_layers(model):
            whole = torch.from_numpy(by_formula(chosen, layer, "NCHW", whole)[0])
        else:
            whole = layer(whole)
    return whole


@pytest.mark.parametrize("norm", COUPLED, ids=str)
def test_statistics_of_a_population_are_exact_at_any_depth(norm: Norm) -> None:
    model, whole = network(norm), images(40)
    assert len(running_layers(model)) == 2
    with population_statistics(model, whole) as outputs, torch.no_grad():
        torch.testing.assert_close(outputs, by_hand(norm, model, whole))
        torch.testing.assert_close(model(whole), outputs)
        torch.testing.assert_close(model(whole[:3]), outputs[:3])  # no sample depends on the others


@pytest.mark.parametrize("norm", COUPLED, ids=str)
def test_the_model_is_as_before_also_after_an_error(norm: Norm) -> None:
    model = network(norm).train()
    model(images(30))
    model[0].eval()  # a mode of its own, which must come back
    before = copy.deepcopy(model.state_dict())
    for fail in (False, True):
        try:
            with population_statistics(model, images(50, seed=2)):
                assert not any(layer.training for layer in model.modules())
                if fail:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            assert fail
        assert [layer.training for layer in model] == [False, True, True, True, True, True]
        assert not any(layer._forward_pre_hooks for layer in model)
        after = model.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(RuntimeError), population_statistics(model, torch.zeros(2, 5, 4, 4)):
        pass
    assert not any(layer._forward_pre_hooks for layer in model)


@pytest.mark.parametrize("norm", COUPLED, ids=str)
def test_precise_statistics_of_one_layer_are_those_of_all_batches(norm: Norm) -> None:
    whole = images(23)
    model = nn.Sequential(nn.Conv2d(3, 6, 1), norm.build(IMAGE)).double().train()
    model(whole[:5])
    tracked = int(model[1].num_batches_tracked)
    told = reestimate(model, whole.split(7))  # 7, 7, 7, 2: a batch counts by its size
    assert (told.layers, told.samples) == (("1",), 23)
    arrived = model[0](whole).detach().numpy()
    axes = (0, 2, 3)
    if norm.spec.name == "batch-group":
        arrived, axes = arrived.reshape(23, 2, -1), (0, 2)
    mean, variance = arrived.mean(axes), arrived.var(axes)
    expected = {
        "running_mean": mean,
        "running_var": variance,
        "running_std": np.sqrt(variance + norm.options.get("eps", 0.0)),
    }
    found = {name: buffer.numpy() for name, buffer in model[1].named_buffers() if name in expected}
    assert found
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-12)
    assert (int(model[1].num_batches_tracked), model.training) == (tracked, True)


@pytest.mark.parametrize("norm", COUPLED, ids=str)
def test_layer_by_layer_all_batches_are_one_population(norm: Norm) -> None:
    model, whole = network(norm), images(23)
    with population_statistics(model, whole) as outputs:
        exact = copy.deepcopy(model.state_dict())
    assert reestimate(model, whole.split(6), layer_by_layer=True).layers == ("1", "4")
    torch.testing.assert_close(model.state_dict(), exact)
    torch.testing.assert_close(model.eval()(whole), outputs)


def test_in_one_pass_each_batch_is_normalized_by_itself() -> None:
    model, whole = network(parse("batch")), images(24)
    reestimate(model, whole.split(8))
    arrived = torch.cat([model[:4].train()(batch) for batch in whole.split(8)])
    torch.testing.assert_close(model[4].running_mean, arrived.mean((0, 2, 3)))
    torch.testing.assert_close(model[4].running_var, arrived.var((0, 2, 3), correction=0))
    with population_statistics(model, whole):
        assert not torch.allclose(model[4].running_var, arrived.var((0, 2, 3), correction=0), rtol=1e-4)


def test_in_one_pass_each_chunk_of_a_ghost_batch_is_normalized_by_itself() -> None:
    model, whole = network(parse("ghost:size=2")), images(24)
    before = copy.deepcopy(model)
    reestimate(model, whole.split(8))
    arrived = torch.cat([before[:4].train()(batch) for batch in whole.split(8)])
    torch.testing.assert_close(model[4].running_var, arrived.var((0, 2, 3), correction=0))
    chunk = copy.deepcopy(before[:4]).train()(whole[:2])
    torch.testing.assert_close(arrived[:2], chunk, msg="the chunk alone")


def test_in_one_pass_batch_renorm_keeps_to_its_running_statistics() -> None:
    model = network(parse("batch-renorm:start=0,rmax_at=0,dmax_at=0,rmax=1e9,dmax=1e9,momentum=0")).train()
    model[1].running_mean.fill_(0.3)
    whole = images(24)
    arrived = model[:4](whole)
    reestimate(model, [whole])
    torch.testing.assert_close(model[4].running_mean, arrived.mean((0, 2, 3)).detach())


def test_moments_combine_without_cancellation() -> None:
    """With mean 1e4 and spread 1 in float32, E[x^2] - E[x]^2 has lost every digit of the variance."""
    x = torch.randn(4096, 1, generator=torch.Generator().manual_seed(0)) + 1e4
    model = nn.BatchNorm1d(1)
    reestimate(model, x.split(64))
    exact = x.double().var(correction=0)
    assert float(abs(model.running_var - exact) / exact) < 1e-4
    naive = x.square().mean() - x.mean().square()
    assert float(abs(naive - exact) / exact) > 1e-1


def test_batches_are_tensors_pairs_or_one_tensor() -> None:
    x = torch.randn(6, 2, dtype=torch.float64)
    pairs = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, torch.zeros(6)), batch_size=3)
    found = []
    for batches in (x, [x], pairs, list(x.split(3))):
        model = nn.Sequential(nn.BatchNorm1d(2)).double()
        assert reestimate(model, batches).samples == 6
        found.append(model[0].running_var)
    for each in found[1:]:
        torch.testing.assert_close(each, found[0])


def test_layers_are_reached_by_any_batch_any_argument_and_any_name() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.small, self.large, self.idle = nn.BatchNorm1d(2), nn.BatchNorm1d(2), nn.BatchNorm1d(2)
            self.again = self.small

        def forward(self, x: Tensor) -> Tensor:
            return self.large(input=x) if x.abs().max() > 10 else self.again(input=x)

    x = torch.randn(5, 2)
    for layer_by_layer in (False, True):
        model = Branches()
        assert reestimate(model, [x, 100 * x], layer_by_layer=layer_by_layer).layers == ("small", "large")
        torch.testing.assert_close(model.large.running_mean, 100 * x.mean(0))
        assert torch.equal(model.idle.running_var, torch.ones(2))
    frozen, report = freeze(model)
    assert report.layers == ("small", "large", "idle")
    before = frozen.state_dict()["small.running_mean"].clone()
    frozen.train()(x)
    assert frozen.again is frozen.small
    assert torch.equal(frozen.state_dict()["again.running_mean"], before)


def test_instance_norm_that_tracks_is_frozen_too() -> None:
    model = nn.Sequential(nn.InstanceNorm1d(2, track_running_stats=True), nn.InstanceNorm1d(2))
    frozen, report = freeze(model)
    assert report.layers == ("0",)
    assert reestimate(model, [torch.randn(3, 2, 4)]).layers == ()
    before = copy.deepcopy(frozen.state_dict())
    frozen.train()(torch.randn(3, 2, 4))
    torch.testing.assert_close(frozen.state_dict(), before)


def test_an_average_over_all_batches_counts_those_of_the_estimate() -> None:
    x = torch.randn(12, 2)
    model = nn.Sequential(nn.BatchNorm1d(2, momentum=None)).train()
    reestimate(model, x.split(4))
    model(x[:4])
    torch.testing.assert_close(model[0].running_mean, (3 * x.mean(0) + x[:4].mean(0)) / 4)


@pytest.mark.parametrize("layer_by_layer", [False, True])
def test_after_an_error_everything_is_as_before(layer_by_layer: bool) -> None:
    model = network(parse("batch")).train()
    model(images(9))
    before = copy.deepcopy(model.state_dict())
    for bad in (images(4)[:, :2], images(4) / 0, images(4)[:0]):
        batches = [bad] if not len(bad) else [images(8), bad]
        with pytest.raises((InputError, RuntimeError)):
            reestimate(model, batches, layer_by_layer=layer_by_layer)
        torch.testing.assert_close(model.state_dict(), before)
        assert all(layer.training for layer in model.modules())


def test_what_cannot_be_estimated_says_why() -> None:
    for batches in ([torch.zeros(1, 2)], [torch.ones(3, 2), torch.ones(1, 2)]):
        with pytest.raises(InputError, match="more than one element"):
            reestimate(nn.BatchNorm1d(2), batches)
    with pytest.raises(InputError, match="one in all batches"):
        reestimate(nn.BatchNorm1d(2), [torch.zeros(1, 2)], layer_by_layer=True)
    single = nn.BatchNorm1d(2)
    reestimate(single, [torch.zeros(1, 2), torch.ones(1, 2)], layer_by_layer=True)
    torch.testing.assert_close(single.running_mean, torch.full((2,), 0.5))
    for wrong in ([{"a": 3}], [()], [[1.0]]):
        with pytest.raises(InputError, match="must be tensors, mappings of names"):
            reestimate(nn.BatchNorm1d(2), wrong)
    with pytest.raises(InputError, match="must be finite"):
        reestimate(nn.BatchNorm1d(2), [torch.full((3, 2), torch.nan)])
    model = nn.Sequential(nn.BatchNorm1d(2))
    with pytest.raises(InputError, match="at least one sample"):
        reestimate(model, [])
    with pytest.raises(InputError, match="run through again"):
        reestimate(model, iter([torch.zeros(3, 2)]), layer_by_layer=True)
    assert reestimate(nn.Linear(2, 2), [torch.zeros(3, 2)]).layers == ()


def test_dropout_is_off_and_spectral_norm_does_not_step_while_estimating() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.BatchNorm1d(4)).double().train()
    parse("spectral").spec.wrap(model[0], parse("spectral").options)
    vectors = {name: value.clone() for name, value in model[0].named_buffers()}
    x = torch.randn(20, 3, dtype=torch.float64)
    state = torch.get_rng_state()
    reestimate(model, [x])
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(model[0].get_buffer(name), value) for name, value in vectors.items())
    torch.testing.assert_close(model[2].running_mean, model[0].eval()(x).mean(0))


@pytest.mark.parametrize("norm", COUPLED, ids=str)
def test_frozen_statistics_survive_training_copies_and_checkpoints(norm: Norm) -> None:
    model, x = network(norm).train(), images(8)
    model(images(20, seed=3))
    frozen, report = freeze(model)
    assert report.layers == ("1", "4")
    expected = copy.deepcopy(model).eval()(x)
    for other in (frozen, copy.deepcopy(frozen), frozen.train(), copy.deepcopy(frozen.train())):
        other.train()
        torch.testing.assert_close(other(x), expected)
        torch.testing.assert_close(other.state_dict(), model.state_dict(), msg="same names, and nothing moved")
    assert model.training
    assert len(running_layers(model)) == 2, "the model itself stays as it is"
    assert running_layers(frozen) == []

    fresh, _ = freeze(network(norm))
    fresh.load_state_dict(frozen.state_dict())
    torch.testing.assert_close(fresh.train()(x), expected)
    thawed = network(norm)
    thawed.load_state_dict(frozen.state_dict())
    torch.testing.assert_close(thawed.eval()(x), expected)
    fresh.load_state_dict(thawed.state_dict())
    torch.testing.assert_close(fresh.train()(x), expected)
    assert reestimate(frozen, [images(9)]).layers == ()


def test_a_frozen_layer_shows_what_the_layer_has() -> None:
    frozen, _ = freeze(nn.Sequential(nn.BatchNorm1d(3)))
    assert frozen[0].weight is frozen[0].layer.weight
    assert (frozen[0].num_features, frozen[0].running_mean.shape) == (3, (3,))
    with pytest.raises(AttributeError, match="'BatchNorm1d' object has no attribute 'nothing'"):
        frozen[0].nothing  # noqa: B018
    assert copy.deepcopy(frozen)[0].eps == 1e-5


def test_frozen_layers_train_their_affine_parameters_unless_told_otherwise() -> None:
    model = network(parse("batch"))
    for affine in (False, True):
        frozen, _ = freeze(model, affine=affine)
        learned = {name for name, parameter in frozen.named_parameters() if parameter.requires_grad}
        assert ("1.weight" in learned) != affine
    alone, report = freeze(nn.BatchNorm1d(3))
    assert isinstance(alone, norms.FrozenNorm)
    assert report.layers == ("",)
    torch.testing.assert_close(alone.state_dict(), nn.BatchNorm1d(3).state_dict())


def test_a_norm_of_ones_own_takes_part() -> None:
    class Centred(norms.RunningStatistics):
        """Subtracts the mean of the batch."""

        def __init__(self) -> None:
            super().__init__(4, momentum=0.1)
            self.register_buffer("running_mean", torch.zeros(4))

        def moments(self, inputs: Tensor) -> norms.Moments:
            return norms.Moments.of(inputs, (0,))

        def buffers_of(self, mean: Tensor, variance: Tensor) -> dict[str, Tensor]:
            return {"running_mean": mean}

        def forward(self, inputs: Tensor) -> Tensor:
            return inputs - self.running_mean

    model, x = nn.Sequential(nn.Linear(3, 4), Centred()), torch.randn(9, 3)
    with population_statistics(model, x) as outputs:
        torch.testing.assert_close(outputs.mean(0), torch.zeros(4))
    reestimate(model, x.split(3))
    torch.testing.assert_close(model[1].running_mean, model[0](x).mean(0).detach())
