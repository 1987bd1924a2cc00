"""Freezing holds against everything that moved statistics in plain PyTorch, and is taken back to the last bit."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

import normlab
from normlab import norms


class Activated(nn.BatchNorm2d):
    """A norm with an activation of its own, as timm has it."""

    def forward(self, input: Tensor) -> Tensor:
        return torch.relu(super().forward(input))


class Net(nn.Module):
    """Two convolutions that share one norm, and further kinds of norms."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6, momentum=None)
        self.again = self.norm
        self.rest = nn.ModuleList([Activated(6, affine=False), nn.InstanceNorm2d(6, track_running_stats=True)])
        self.plain = nn.Sequential(nn.GroupNorm(2, 6), nn.BatchNorm2d(6, track_running_stats=False))

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(self.second(self.norm(self.first(x))))
        for norm in self.rest:
            x = norm(x)
        return self.plain(x)


def images(seed: int, samples: int = 6) -> Tensor:
    return torch.randn(samples, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 + 1


def trained() -> Net:
    torch.manual_seed(0)
    model = Net().train()
    for seed in range(3):
        model(images(seed))
    return model


def statistics(model: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def lightning_fit(model: nn.Module) -> None:
    """What a trainer does between epochs: evaluation for validation, then training mode for all modules."""
    for _ in range(2):
        model.eval()
        for module in model.modules():
            module.train()
        model(images(7) + 3)


def average(model: nn.Module) -> None:
    """An average of weights and buffers beside the model, as EMA keeps it, with statistics made anew."""
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    averaged.update_parameters(model)
    update_bn([images(8) - 4], averaged)
    averaged(images(8))
    expected, found = statistics(model), statistics(averaged.module)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def by_hand(model: nn.Module) -> None:
    """An EMA as most write it: over the pairs of a state dict."""
    shadow = copy.deepcopy(model)
    for mine, theirs in zip(shadow.state_dict().values(), model.state_dict().values(), strict=True):
        if mine.dtype.is_floating_point:
            mine.mul_(0.9).add_(theirs, alpha=0.1)
    torch.testing.assert_close(statistics(shadow), statistics(model))


THREATS: dict[str, Callable[[nn.Module], object]] = {
    "train": lambda model: model.train()(images(9) + 5),
    "lightning": lightning_fit,
    "ema": average,
    "ema by hand": by_hand,
    "update_bn": lambda model: update_bn([images(8) - 4], model),
    "recalibrating": lambda model: norms.reestimate(model, [images(8) - 4], include_evaluating=True),
    "gradient step": lambda model: model.train()(images(9)).square().mean().backward(),
}


@pytest.mark.parametrize("threat", THREATS)
def test_statistics_stay_whatever_is_done(threat: str) -> None:
    model, report = normlab.freeze(trained())
    assert report.layers == ("norm", "rest.0", "rest.1")
    before, x = statistics(model), images(5)
    expected = model(x).detach()
    THREATS[threat](model)
    assert all(torch.equal(before[name], value) for name, value in statistics(model).items())
    torch.testing.assert_close(model(x), expected, rtol=0, atol=0)


def test_plain_eval_is_undone_by_train() -> None:
    model = trained()
    model.norm.eval()
    before = model.norm.running_mean.clone()
    model.train()(images(9) + 5)
    assert not torch.equal(model.norm.running_mean, before), "the reason why there is a freeze"


def test_a_frozen_model_computes_what_evaluation_does_in_either_mode() -> None:
    model, x = trained(), images(5)
    frozen, _ = normlab.freeze(model)
    expected = model.eval()(x)
    for mode in (True, False):
        torch.testing.assert_close(frozen.train(mode)(x), expected, rtol=0, atol=0)


def test_a_subclass_keeps_its_activation_and_a_shared_layer_its_names() -> None:
    frozen, report = normlab.freeze(trained())
    assert frozen.norm is frozen.again
    assert report.changes[0].also == ("again",)
    assert float(frozen.rest[0](images(1, 2).repeat(1, 2, 1, 1)).detach().min()) == 0.0


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("copied", [True, False])
def test_unfreezing_is_the_exact_inverse(copied: bool, affine: bool) -> None:
    model = trained()
    model.norm.eval()
    model.norm.bias.requires_grad_(False)  # by the user, not by freezing
    before, kinds = copy.deepcopy(model), [type(layer) for layer in model.modules()]
    frozen, _ = normlab.freeze(model, affine=affine, copy=copied)
    assert (frozen is model) != copied
    if affine:
        assert not any(parameter.requires_grad for parameter in frozen.norm.parameters())
    again, report = normlab.unfreeze(frozen, copy=copied)
    assert report.layers == ("norm", "rest.0", "rest.1")
    assert [type(layer) for layer in again.modules()] == kinds
    assert [layer.training for layer in again.modules()] == [layer.training for layer in before.modules()]
    assert again.norm is again.again
    learned = {name: value.requires_grad for name, value in again.named_parameters()}
    assert learned == {name: value.requires_grad for name, value in before.named_parameters()}
    torch.testing.assert_close(again.state_dict(), before.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(again(images(4)), before(images(4)), rtol=0, atol=0)
    torch.testing.assert_close(again.state_dict(), before.state_dict(), rtol=0, atol=0, msg="it moves as it would have")


def test_in_place_parameters_stay_those_of_the_optimizer() -> None:
    model = trained()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    parameters = set(model.parameters())
    frozen, _ = normlab.freeze(model, copy=False)
    assert set(frozen.parameters()) == parameters
    frozen.train()(images(2)).square().mean().backward()
    gamma = frozen.norm.weight.clone()
    optimizer.step()
    assert not torch.equal(frozen.norm.weight, gamma)


def test_the_mode_asked_for_in_between_is_the_one_that_comes_back() -> None:
    frozen, _ = normlab.freeze(trained())
    frozen.eval()
    assert not any(layer.training for layer in normlab.unfreeze(frozen)[0].modules())
    frozen.train()
    assert all(layer.training for layer in normlab.unfreeze(frozen)[0].modules())


def test_hooks_are_called_once_before_in_between_and_after() -> None:
    model, calls = trained(), []
    handle = model.norm.register_forward_hook(lambda layer, arguments, output: calls.append(type(layer).__name__))
    frozen, _ = normlab.freeze(model, copy=False)
    frozen(images(1))
    thawed, _ = normlab.unfreeze(frozen, copy=False)
    thawed(images(1))
    assert calls == ["BatchNorm2d"] * 4  # twice in each pass
    handle.remove()
    thawed(images(1))
    assert len(calls) == 4


def test_what_is_left_is_named_with_its_reason() -> None:
    _, report = normlab.freeze(trained())
    assert [left.name for left in report.left] == ["plain.1"]
    assert "keeps no running statistics" in report.reason("plain.1")
    _, again = normlab.freeze(normlab.freeze(trained())[0])
    assert (again.layers, again.reason("norm")) == ((), "frozen already")
    assert "  norm (also again): BatchNorm2d -> FrozenNorm" in report.text()
    told = report.as_dict()
    assert (told["operation"], told["layers"][1]["was"], told["left"][0]["layer"]) == (
        "freeze",
        "Activated",
        "BatchNorm2d",
    )
    assert str(report) == report.text()


def test_buffers_are_where_distributed_training_looks_for_them() -> None:
    model = trained()
    frozen, _ = normlab.freeze(model)
    assert [name for name, _ in frozen.named_buffers()] == [name for name, _ in model.named_buffers()]
    with (
        torch.no_grad()
    ):  # what DDP does at the start of each pass: rank 0's buffers are copied into all others in place
        for buffer in frozen.buffers():
            buffer.copy_(buffer.clone())
    torch.testing.assert_close(frozen.train()(images(3)), model.eval()(images(3)), rtol=0, atol=0)


class Foreign(nn.Module):
    """A batch normalization that is none of torch's classes."""

    def __init__(self, channels: int, frozen: bool = False) -> None:
        super().__init__()
        self.eps, self.frozen = 1e-5, frozen
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        training = self.training and not self.frozen
        state = self.running_mean, self.running_var, self.weight, self.bias
        return nn.functional.batch_norm(x, *state, training, 0.1, self.eps)


def test_layers_of_other_libraries_are_told_by_what_they_compute() -> None:
    model = nn.Sequential(Foreign(3), Foreign(3, frozen=True))
    frozen, report = normlab.freeze(model)
    assert (report.layers, report.reason("1")) == (("0",), "frozen already")
    expected = frozen(images(2))
    for seed in range(3):
        frozen.train()(images(seed))
    torch.testing.assert_close(frozen(images(2)), expected, rtol=0, atol=0)
    assert type(normlab.unfreeze(frozen)[0][0]) is Foreign


@pytest.mark.parametrize("operation", [normlab.freeze, normlab.unfreeze, normlab.to_sync, normlab.from_sync])
def test_a_shared_copy_is_for_swaps_alone(operation: Callable[..., object]) -> None:
    with pytest.raises(normlab.InputError, match="`copy` must be True or False; got 'shared'"):
        operation(Net(), copy="shared")


def test_a_frozen_norm_whose_gamma_learns_is_frozen_further() -> None:
    once, _ = normlab.freeze(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    assert once[1].weight.requires_grad
    twice, report = normlab.freeze(once, affine=True)
    assert report.layers == ("1",)
    assert not twice[1].weight.requires_grad
    assert once[1].weight.requires_grad, "the model itself stays as it was"
    thawed, _ = normlab.unfreeze(twice)
    assert thawed[1].weight.requires_grad
    assert normlab.freeze(twice, affine=True)[1].reason("1") == "frozen already"
