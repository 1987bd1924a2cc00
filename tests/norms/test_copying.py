"""Copies of models, also where ``copy.deepcopy`` raises or gives a copy that uses the original."""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from normlab.errors import InputError
from normlab.norms.copying import copied

LEGACY: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight_norm": nn.utils.weight_norm,
    "spectral_norm": nn.utils.spectral_norm,
    "prune": lambda layer: prune.l1_unstructured(layer, "weight", 0.5).train(),
}
X = torch.linspace(-1, 1, 15).view(5, 3)


def legacy(name: str) -> nn.Sequential:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, that this form is an old one
        layer = nn.Linear(3, 4)
        LEGACY[name](layer)
    return nn.Sequential(layer, nn.BatchNorm1d(4))


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("name", LEGACY)
def test_weights_that_hooks_compute_are_copied(name: str, share: bool) -> None:
    model = legacy(name)
    model(X)
    with pytest.raises(RuntimeError, match="deepcopy protocol"):
        copy.deepcopy(model)  # plain PyTorch
    model.eval()
    twin = copied(model, share=share)
    assert torch.equal(twin(X), model(X))
    twin(X).sum().backward()
    original = next(parameter for own, parameter in twin[0].named_parameters() if own != "bias")
    assert original.grad is not None  # the computed weight depends on the copy's own parameters again
    assert all((a is b) == share for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert all((a is b) == share for a, b in zip(model.buffers(), twin.buffers(), strict=True))


def test_a_change_of_a_copy_stays_there() -> None:
    model = legacy("weight_norm").eval()
    before = model(X)
    twin = copied(model)
    with torch.no_grad():
        for parameter in twin[1].parameters():
            parameter.zero_()
    assert torch.equal(model(X), before)
    assert not twin(X).any()


@pytest.mark.parametrize("share", [False, True])
def test_tied_parameters_and_shared_layers_stay_so(share: bool) -> None:
    norm = nn.LayerNorm(3)
    model = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3), "c": nn.Sequential(norm, norm), "d": norm})
    model["b"].weight = model["a"].weight
    model.register_buffer("view", model["a"].weight * 2)  # computed, and a buffer
    model.kept = [model.view]
    twin = copied(model, share=share)
    assert twin["a"].weight is twin["b"].weight
    assert twin["c"][0] is twin["c"][1] is twin["d"]
    assert twin["d"] is not norm
    assert twin.kept[0] is twin.view
    assert torch.equal(twin.view, model.view)
    assert list(twin.state_dict()) == list(model.state_dict())


@pytest.mark.parametrize("share", [False, True])
def test_recurrent_layers_keep_their_flat_weights(share: bool) -> None:
    model = nn.LSTM(3, 4)
    twin = copied(model, share=share)
    assert all(
        flat is twin.get_parameter(name)
        for flat, name in zip(twin._flat_weights, twin._flat_weights_names, strict=True)
    )
    assert torch.equal(twin(X.view(5, 1, 3))[0], model(X.view(5, 1, 3))[0])


def test_nothing_is_copied_that_is_shared() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(10**5, 10**5), nn.BatchNorm1d(10**5))
    twin = copied(model, share=True)
    assert twin[0].weight is model[0].weight
    assert twin[1].running_mean is model[1].running_mean
    twin[1] = nn.LayerNorm(3)
    assert isinstance(model[1], nn.BatchNorm1d)
    assert copied(model)[0].weight.device.type == "meta"


def test_marks_on_parameters_are_copied() -> None:
    model = nn.Linear(3, 4)
    model.weight._no_weight_decay = True
    assert not hasattr(copy.deepcopy(model).weight, "_no_weight_decay")  # plain PyTorch drops it
    assert copied(model).weight._no_weight_decay is True


def patch(model: nn.Module) -> None:
    """What people do to change a forward from outside."""
    before = model.forward

    def forward(x: Tensor) -> Tensor:
        return 2 * before(x)

    model.forward = forward


def test_a_patched_forward_runs_the_layers_of_the_copy() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    patch(model)
    patch(model)  # a function within a function
    wrong, right = copy.deepcopy(model), copied(model)
    wrong[1], right[1] = nn.Identity(), nn.Identity()
    assert torch.equal(wrong(X), model(X))  # plain PyTorch: the copy runs the original
    assert torch.equal(right(X), 4 * right[0](X))
    assert torch.equal(model(X), 4 * model[1](model[0](X)))


def test_hooks_that_know_the_model_know_the_copy() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4))
    seen: list[Tensor] = []

    def hooked(net: nn.Module) -> None:
        def hook(layer: nn.Module, inputs: object, output: Tensor) -> Tensor:
            seen.append(output)
            return output @ net[0].weight

        net[1].register_forward_hook(hook)

    hooked(model)
    twin = copied(model)
    with torch.no_grad():
        twin[0].weight.zero_()
    assert not twin(X).any()
    assert model(X).any()
    assert len(seen) == 2  # what has nothing to do with the model is still the user's


def test_what_cannot_be_copied_is_named() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    model[1].lock = threading.Lock()
    for share in (False, True):
        with pytest.raises(InputError, match=r"got '1\.lock' \(lock\): TypeError: cannot pickle"):
            copied(model, share=share)


def test_a_computed_tensor_within_an_object_is_copied() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    box = SimpleNamespace(tensor=model[0].weight * 2)
    model[1].box = box
    with pytest.raises(RuntimeError, match="created explicitly by the user"):  # plain PyTorch
        copy.deepcopy(model)
    twin = copied(model)
    assert twin[1].box is not box
    assert torch.equal(twin[1].box.tensor, box.tensor)
    assert twin[1].box.tensor.data_ptr() != box.tensor.data_ptr()


def test_parametrizations_are_copied() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 4)), nn.LSTM(4, 2))
    for share in (False, True):
        twin = copied(model, share=share)
        assert torch.equal(twin[0](X), model[0](X))
        assert twin[0].parametrizations is not model[0].parametrizations
