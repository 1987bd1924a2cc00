"""A whole swap mends what stands around the layers, and takes it back."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normlab.errors import ExecutionError, InputError
from normlab.surgery.swap import swap

X = torch.linspace(-1, 1, 96).view(2, 3, 4, 4).sin()


def images() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 1))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 2) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model(X).square().mean().backward()
        optimizer.step()


def held(optimizer: torch.optim.Optimizer) -> set[int]:
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}


@pytest.mark.parametrize("to", ["group:groups=2", "instance", "none", "weight", "standardized", "evonorm-s0"])
def test_an_optimizer_holds_just_the_parameters_of_the_swapped_model(to: str) -> None:
    model = images()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    train(model, optimizer)
    before, known = list(optimizer.param_groups[0]["params"]), len(optimizer.state)
    model, report = swap(model, to, example_inputs=X, optimizer=optimizer, copy=False)
    assert held(optimizer) == {id(parameter) for parameter in model.parameters()}
    assert len(optimizer.param_groups[0]["params"]) == len(list(model.parameters()))
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    train(model, optimizer)
    moved = {name: not torch.equal(value, start[name]) for name, value in model.named_parameters()}
    assert all(moved.values())
    assert report.optimizer.startswith("AdamW: ")
    model = report.undo()
    assert all(one is other for one, other in zip(optimizer.param_groups[0]["params"], before, strict=True))
    assert len(optimizer.state) == known
    train(model, optimizer)


def test_an_optimizer_of_another_model_is_refused_before_anything_is_done() -> None:
    model = images()
    optimizer = torch.optim.SGD(images().parameters(), lr=0.1)
    with pytest.raises(InputError, match="none of which is among the model's 6"):
        swap(model, "group", optimizer=optimizer, copy=False)
    assert type(model[1]) is nn.BatchNorm2d
    with pytest.raises(InputError, match="Give `copy=False`"):
        swap(model, "group", optimizer=torch.optim.SGD(model.parameters()))


def test_tied_gammas_are_followed() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.LayerNorm(3), nn.LayerNorm(3))
    model[2].weight = model[3].weight = model[1].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model, report = swap(model, "rms", where=["1", "2"], optimizer=optimizer, copy=False)
    assert held(optimizer) == {id(parameter) for parameter in model.parameters()}
    model = report.undo()
    assert held(optimizer) == {id(parameter) for parameter in model.parameters()}


def transformer() -> nn.Module:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    return nn.TransformerEncoder(layer, 2)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("to", ["rms", "dyt", "none", "layer:eps=0.1", "batch"])
def test_encoders_compute_the_new_norm_without_gradients_too(to: str) -> None:
    model = transformer()
    x = torch.linspace(-2, 2, 80).view(2, 5, 8).sin()
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    swapped, report = swap(model, to, example_inputs=(x,))
    swapped.eval()
    for named in ({}, {"src_key_padding_mask": padding}):
        kept = ~padding if named else slice(None)
        with torch.no_grad():
            without = swapped(x, **named)
        torch.testing.assert_close(without[kept], swapped(x, **named)[kept])
    assert any("fast paths that would" in text for text in (*report.notes, *report.warnings)) == (
        not to.startswith("layer")
    )
    restored = report.undo().eval()
    with torch.no_grad():
        assert torch.equal(restored(x), model.eval()(x))


def test_hooks_go_along_and_activations_let_them_work() -> None:
    model = images()
    seen: list[str] = []
    model[1].register_forward_hook(lambda layer, args, output: seen.append(type(layer).__name__))
    handle = model[1].register_full_backward_hook(lambda layer, inputs, outputs: seen.append("backward"))
    model[1].tag = "first"
    with pytest.raises(RuntimeError, match="modified inplace"):
        model(X)  # plain PyTorch
    seen.clear()
    swapped, report = swap(model, "group:groups=2", copy=False)
    swapped(X).sum().backward()
    assert seen == ["GroupNorm", "backward"]
    assert swapped[1].tag == "first"
    assert any(text.startswith("no longer in place") and text.endswith(": 2") for text in report.notes)
    handle.remove()
    swapped(X).sum().backward()
    assert seen == ["GroupNorm", "backward", "GroupNorm"]
    assert report.undo()[2].inplace is True


class Shortcut(nn.Module):
    """A block whose activation writes into what its norm gives, beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.relu(self.norm(x))


def test_a_norm_that_is_taken_out_leaves_the_shortcut_alone() -> None:
    plain = Shortcut()
    plain.norm = nn.Identity()
    assert torch.equal(plain(X.clone()), 2 * X.relu())  # plain PyTorch: the shortcut is overwritten
    swapped, _ = swap(Shortcut(), "none")
    assert torch.equal(swapped(X.clone()), X + X.relu())


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda model: torch.compile(model, backend="eager"), "compiled by torch.compile"),
        (nn.DataParallel, "wrapped in DataParallel"),
        (torch.jit.script, "a script of TorchScript"),
        (lambda model: nn.Sequential(torch.jit.script(model), nn.LazyBatchNorm2d()), "LazyBatchNorm2d"),
        (lambda model: "model", r"must be a `torch\.nn\.Module`"),
    ],
)
def test_obstacles_are_named_by_swap(wrap: Callable[[nn.Module], Any], message: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, that scripts are an old form
        model = wrap(images().eval())
    with pytest.raises(InputError, match=message):
        swap(model, "group")


@pytest.mark.parametrize("copy", [True, "shared"])
def test_legacy_weight_norm_is_copied(copy: Any) -> None:
    model = images()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, that this form is an old one
        nn.utils.weight_norm(model[0])
    swapped, _ = swap(model, "group:groups=2", copy=copy)
    assert type(model[1]) is nn.BatchNorm2d
    expected = nn.functional.group_norm(model[0](X), 2).relu()
    torch.testing.assert_close(swapped[:3](X), expected)
    shared = [a is b for a, b in zip(model[0].parameters(), swapped[0].parameters(), strict=True)]
    assert set(shared) == {copy == "shared"}


@pytest.mark.parametrize("to", ["group:groups=2", "none", "weight"])
def test_a_shared_copy_leaves_the_model_as_it_is(to: str) -> None:
    model = images()
    train(model, torch.optim.SGD(model.parameters(), lr=0.1))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    output = model.eval()(X)
    swapped, _ = swap(model, to, example_inputs=X, copy="shared")
    assert swapped[3].weight is model[3].weight
    assert torch.equal(model(X), output)
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


class Held(nn.Module):
    """A norm that is called in another way than by its attribute."""

    def __init__(self, hold: Callable[[nn.Module], Callable[[Tensor], Tensor]]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.call = hold(self.norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)


HOLD: dict[str, Callable[[Any], Any]] = {
    "partial": lambda norm: partial(norm),
    "partial of a method": lambda norm: partial(norm.forward),
    "method": lambda norm: norm.forward,
}


@pytest.mark.parametrize("copied", [True, False])
@pytest.mark.parametrize("way", HOLD)
def test_methods_and_partials_of_a_replaced_layer_follow_and_come_back(way: str, copied: bool) -> None:
    model, expected = Held(HOLD[way]), nn.functional.rms_norm(X, (4,), eps=1e-5)
    plain = model(X)
    swapped, report = swap(model, "rms", example_inputs=X, copy=copied)
    torch.testing.assert_close(swapped(X), expected)
    assert torch.equal(report.undo()(X), plain)


@pytest.mark.parametrize("copied", [True, False])
def test_a_model_that_goes_on_with_the_old_layer_is_refused_and_as_it_was(copied: bool) -> None:
    model = Held(lambda norm: lambda x: norm(x))
    before = model.norm
    with pytest.raises(ExecutionError, match=r"must call its new layers .* does not call 'norm'"):
        swap(model, "rms", example_inputs=X, copy=copied)
    assert model.norm is before


def test_layers_that_are_skipped_at_random_are_no_layers_that_are_not_called() -> None:
    class Skipping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norms = nn.ModuleList(nn.LayerNorm(4) for _ in range(8))

        def forward(self, x: Tensor) -> Tensor:
            for norm in self.norms:
                x = norm(x) if torch.rand(()) < 0.5 else x
            return x

    def draws(channels: int) -> nn.Module:
        torch.rand(3)
        return nn.RMSNorm(channels)

    for _ in range(4):
        assert len(swap(Skipping(), draws, example_inputs=X)[1].replaced) == 8


class Named(nn.Module):
    """A model that gives its norm, whose class is of somebody else's, the input by a name."""

    def __init__(self, norm: nn.Module, keyword: str) -> None:
        super().__init__()
        self.norm, self.keyword = norm, keyword

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.norm(**{self.keyword: x}) if self.keyword else self.norm(x)
        return output


class ForeignRMSNorm(nn.Module):
    """As models of transformers have it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.variance_epsilon = nn.Parameter(torch.linspace(0.5, 1.5, 4)), 1e-6

    def forward(self, hidden_states: Tensor) -> Tensor:
        mean = hidden_states.square().mean(-1, keepdim=True)
        return self.weight * hidden_states * torch.rsqrt(mean + self.variance_epsilon)


@pytest.mark.parametrize("to", ["batch", "layer", "rms:eps=1e-3", "group:groups=2", "dyt", "none", nn.BatchNorm1d])
@pytest.mark.parametrize(("norm", "keyword"), [(nn.LayerNorm(4), "input"), (ForeignRMSNorm(), "hidden_states")])
def test_a_model_that_gives_its_norms_their_input_by_a_name_goes_on_to(norm: nn.Module, keyword: str, to: Any) -> None:
    x = torch.linspace(-1, 1, 24).view(6, 4).sin()
    named, report = swap(Named(norm, keyword), to, example_inputs=(x,))
    by_place, _ = swap(Named(norm, ""), to, example_inputs=(x,))
    for copied in (named, pickle.loads(pickle.dumps(named))):
        assert torch.equal(copied(x), by_place(x))
    assert named.state_dict().keys() == by_place.state_dict().keys()
    assert torch.equal(report.undo()(x), Named(norm, keyword)(x))
