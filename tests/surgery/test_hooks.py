"""What hangs on a layer hangs on its successor, or is named."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from normlab.surgery.edits import Edits
from normlab.surgery.hooks import pass_on
from normlab.surgery.inplace import mend_inplace
from normlab.surgery.swap import swap

X = torch.linspace(-2, 2, 24).view(2, 3, 4).sin()


def pair() -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm1d(3), nn.GroupNorm(1, 3)


def test_every_kind_of_hook_is_called_on_the_new_layer_in_order() -> None:
    old, new = pair()
    calls: list[str] = []
    old.register_forward_pre_hook(lambda layer, args: calls.append(f"pre {type(layer).__name__}"))
    old.register_forward_pre_hook(lambda layer, args, kwargs: calls.append("pre kwargs"), with_kwargs=True)
    old.register_forward_hook(lambda layer, args, output: calls.append("first"))
    old.register_forward_hook(lambda layer, args, kwargs, output: calls.append("kwargs"), with_kwargs=True)
    old.register_forward_hook(lambda layer, args, output: calls.append("always"), always_call=True)
    old.register_forward_hook(lambda layer, args, output: calls.append("prepended"), prepend=True)
    old.register_full_backward_pre_hook(lambda layer, outputs: calls.append("backward pre"))
    old.register_full_backward_hook(lambda layer, inputs, outputs: calls.append("backward"))
    old.register_state_dict_pre_hook(lambda layer, prefix, keep: calls.append("state pre"))
    old._register_state_dict_hook(lambda layer, state, prefix, meta: calls.append("state"))
    old.register_load_state_dict_pre_hook(lambda layer, *rest: calls.append(f"load {type(layer).__name__}"))
    old.register_load_state_dict_post_hook(lambda layer, keys: calls.append("loaded"))
    carried = pass_on(old, new).carried
    assert len(carried) == 12
    new(X.clone().requires_grad_()).sum().backward()
    new.load_state_dict(new.state_dict())
    assert calls == [
        *("pre GroupNorm", "pre kwargs", "prepended", "first", "kwargs", "always", "backward pre", "backward"),
        *("state pre", "state", "load GroupNorm", "loaded"),
    ]
    calls.clear()
    with pytest.raises(RuntimeError):
        new(X[:, :2])
    assert calls[-1] == "always"


def test_plain_replacement_loses_them() -> None:
    old, new = pair()
    model = nn.Sequential(old)
    old.register_forward_hook(lambda layer, args, output: 0 * output)
    model[0] = new
    assert model(X).any()  # plain PyTorch: the hook is gone
    pass_on(old, new)
    assert not model(X).any()


def test_handles_remove_from_the_new_layer() -> None:
    old, new = pair()
    handle = old.register_forward_hook(lambda layer, args, output: 0 * output)
    pass_on(old, new)
    handle.remove()
    assert torch.equal(new(X), nn.GroupNorm(1, 3)(X))


def test_hooks_of_the_new_layer_stay() -> None:
    old, new = pair()
    old.register_forward_hook(lambda layer, args, output: 2 * output)
    new.register_forward_hook(lambda layer, args, output: output + 1)
    pass_on(old, new)
    assert torch.equal(new(X), 2 * (nn.GroupNorm(1, 3)(X) + 1))
    assert len(old._forward_hooks) == 1


class Counting(nn.BatchNorm1d):
    """A norm that hangs a method of its own on itself."""

    def __init__(self) -> None:
        super().__init__(3)
        self.calls = 0
        self.register_forward_hook(self.count)

    def count(self, layer: nn.Module, args: Any, output: Tensor) -> None:
        self.calls += 1


def test_what_belongs_to_the_layer_itself_is_named() -> None:
    old, new = Counting(), nn.GroupNorm(1, 3)
    old.extra = nn.ReLU()
    old.eps_before = 1.0
    new.eps_before = 2.0
    old.forward = lambda x: x
    passed = pass_on(old, new)
    assert passed.carried == ()
    assert passed.left == (
        "forward hook count, a method of the layer itself",
        "attribute 'eps_before', as its successor has one of its own",
        "a `forward` that was set on the layer",
        "module 'extra', which was added to it",
    )
    assert not hasattr(new, "calls")  # an attribute of its class, not of the user


def test_attributes_of_users_are_carried() -> None:
    old, new = pair()
    old.qconfig, old.stage, old._is_hf_initialized = object(), 3, True
    assert pass_on(old, new).carried == ("attribute 'qconfig'", "attribute 'stage'")
    assert new.qconfig is old.qconfig
    assert (new.stage, new._is_hf_initialized) == (3, True)
    own = set(vars(nn.GroupNorm(1, 3))) | {"qconfig", "stage", "_is_hf_initialized"}
    assert set(vars(new)) == own  # nothing else of BatchNorm, such as its momentum


class Positive(nn.Module):
    """A parametrization without an inverse."""

    def forward(self, x: Tensor) -> Tensor:
        return x.exp()


def test_parametrizations_are_carried_with_their_originals() -> None:
    old, new = pair()
    parametrize.register_parametrization(old, "weight", Positive())
    with torch.no_grad():
        old.parametrizations.weight.original.copy_(torch.tensor([0.0, 1.0, 2.0]))
        new.weight.copy_(old.weight)  # as a swap carries it
    passed = pass_on(old, new)
    assert "parametrization of 'weight'" in passed.carried
    assert torch.equal(new.weight, old.weight)
    new(X).square().sum().backward()
    assert new.parametrizations.weight.original.grad.any()
    parametrize.register_parametrization(old, "bias", Positive())
    assert pass_on(old, nn.RMSNorm(3)).left == ("parametrization of 'bias', as its successor has none of that shape",)


def test_marks_and_hooks_of_parameters() -> None:
    old, new = pair()
    old.weight._no_weight_decay = True
    old.weight.register_hook(lambda gradient: 0 * gradient)
    old.bias.register_post_accumulate_grad_hook(lambda parameter: None)
    passed = pass_on(old, new)
    assert passed.left == ("post-accumulate hook on 'bias': register one for the new parameter",)
    assert new.weight._no_weight_decay is True
    new(X).square().sum().backward()
    assert not new.weight.grad.any()
    assert new.bias.grad.any()
    adapter = nn.Sequential(nn.GroupNorm(1, 3))
    pass_on(old, adapter, {old.weight: adapter[0].weight, old.bias: None})
    assert adapter[0].weight._no_weight_decay is True
    old.weight._no_weight_decay = False
    assert "hook on 'weight'" in pass_on(old, nn.Identity()).left[0]


class Residual(nn.Module):
    """A block whose activation is used once behind the norm, before the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.norm: nn.Module = nn.GroupNorm(1, 3)
        self.relu = nn.ReLU(inplace=True)
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear(self.relu(self.norm(x)))


def sequential() -> nn.Module:
    activations = nn.ReLU(inplace=True), nn.Conv1d(3, 3, 1), nn.SiLU(inplace=True)
    return nn.Sequential(nn.Conv1d(3, 3, 1), nn.GroupNorm(1, 3), *activations)


@pytest.mark.parametrize(
    ("model", "norm", "behind"), [(sequential(), "1", "2"), (nn.Sequential(Residual()), "0.norm", "0.relu")]
)
def test_writing_into_the_output_of_a_hooked_norm_is_mended(model: nn.Module, norm: str, behind: str) -> None:
    expected = model(X)
    model.get_submodule(norm).register_full_backward_hook(lambda layer, inputs, outputs: None)
    with pytest.raises(RuntimeError, match="is a view and is being modified inplace"):
        model(X.clone().requires_grad_())  # plain PyTorch
    edits = Edits(model)
    mended = mend_inplace(model, [norm], change=edits.change)
    assert (mended.mended, mended.named) == ((behind,), ())
    inputs = X.clone().requires_grad_()
    output = model(inputs)
    assert torch.equal(output, expected)
    output.sum().backward()
    assert inputs.grad is not None
    edits.undo()
    assert model.get_submodule(behind).inplace is True


def test_without_hooks_it_is_named_and_left() -> None:
    model = sequential()
    assert mend_inplace(model, ["1"]).named == ("2",)
    assert model[2].inplace is True
    assert mend_inplace(model, ["1"], {"1": "4"}).named == ("4",)  # as the trace tells


def test_a_norm_that_is_taken_out_lets_nothing_write_into_the_shortcut() -> None:
    block = Residual()
    block.norm = nn.Identity()
    right = X + block.linear(X.relu())
    assert not torch.allclose(block(X.clone()), right)  # plain PyTorch: the shortcut went through the activation
    mend_inplace(block, ["norm"])
    torch.testing.assert_close(block(X.clone()), right)


def test_shared_and_copied_layers() -> None:
    model = nn.ModuleDict({"a": sequential()})
    model["b"] = model["a"]
    model["a"][1].register_full_backward_hook(lambda layer, inputs, outputs: None)
    edits = Edits(model)
    mended = mend_inplace(model, ["a.1", "b.1"], change=edits.change)
    assert mended.mended == ("a.2", "b.2")
    assert copy.deepcopy(model)["b"][2].inplace is False
    edits.undo()
    assert model["b"][2].inplace is True


class FusedInPlace(nn.BatchNorm1d):
    """A norm that holds its activation, which writes in place."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        activated: Tensor = self.act(super().forward(x))
        return activated


class Branch(nn.Module):
    """A shortcut around a norm and its activation."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = FusedInPlace(4)

    def forward(self, x: Tensor) -> Tensor:
        hidden = 2 * x
        behind: Tensor = self.norm(hidden)
        return hidden + behind


def test_an_activation_that_was_fused_with_a_norm_leaves_the_shortcut_as_it_is() -> None:
    model, x = Branch(), torch.randn(8, 4)
    swapped, _ = swap(model, "none", example_inputs=(x,))
    assert torch.equal(swapped(x), 2 * x + (2 * x).relu())
    assert model.norm.act.inplace
