"""What changes a model changes all of it or nothing: after an error anywhere it is as it was, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import normlab
from normlab import norms
from normlab.surgery.edits import Edits

X = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))


class Stubborn(nn.BatchNorm2d):
    """A norm that does not go into another mode once it is told not to."""

    stuck = False

    def train(self, mode: bool = True) -> nn.Module:
        if self.stuck:
            raise RuntimeError("the mode must stay")
        return super().train(mode)


class Counting(nn.Module):
    """A layer that keeps a count and an attribute of its own, and raises at the third call."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.last: object = None

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = x
        self.calls = self.calls + 0  # another tensor in its place
        if self.calls == 3:
            raise KeyError("third")
        return x


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.bn = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.again = self.bn
        self.count = Counting()
        self.act = nn.ReLU(inplace=True)
        self.rest = nn.ModuleList([nn.Conv2d(6, 6, 1), Stubborn(6), nn.SyncBatchNorm(6), norms.BatchRenorm(6)])
        self.kept = [self.bn, (self.rest[1],)]

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.count(self.kept[0](self.first(x))))
        for layer in self.rest:
            x = layer(x)
        return x


def net() -> Net:
    torch.manual_seed(0)
    model = Net().train()
    model.rest[1].eval()
    model.bn.bias.requires_grad_(False)
    model.bn.register_forward_hook(lambda layer, inputs, output: None)
    with torch.no_grad():
        for buffer in model.buffers():
            if buffer.numel() > 1:
                buffer.uniform_(0.5, 2.0)
    return model


def state(model: nn.Module) -> dict[str, Any]:
    """All that a model is: its layers themselves, what they hold, their modes, what learns, and every number."""
    held: dict[str, Any] = {}
    for name, layer in model.named_modules(remove_duplicate=False):
        held[name] = (id(layer), type(layer))
        for attribute, value in vars(layer).items():
            inner = [(key, id(one)) for key, one in value.items()] if isinstance(value, dict) else []
            if attribute in ("training", "inplace", "kept"):
                inner = [value if isinstance(value, bool) else (id(value[0]), id(value[1][0]))]
            held[f"{name}/{attribute}"] = inner
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        held[f"{name}="] = (tensor.requires_grad, tensor.tolist())
    return held


def frozen(affine: bool = False) -> Net:
    return normlab.freeze(net(), affine=affine, copy=False)[0]


WAYS: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], object]]] = {
    "swap": (net, lambda model: normlab.swap(model, "group:groups=2", copy=False, optimizer=adam(model))),
    "freeze": (net, lambda model: normlab.freeze(model, affine=True, copy=False)),
    "freeze further": (frozen, lambda model: normlab.freeze(model, affine=True, copy=False)),
    "unfreeze": (lambda: frozen(affine=True), lambda model: normlab.unfreeze(model, copy=False)),
    "to_sync": (net, lambda model: normlab.to_sync(model, copy=False)),
    "from_sync": (lambda: normlab.to_sync(net())[0], lambda model: normlab.from_sync(model, copy=False)),
    "fold": (lambda: net().eval(), lambda model: normlab.fold(model, X, copy=False)),
}


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters())


@pytest.mark.parametrize("way", WAYS)
def test_an_interruption_at_any_change_leaves_the_model_as_it_was(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, act = WAYS[way]
    remember, places = Edits.remember, -2

    def interrupted(self: Edits, way_back: Callable[[], object]) -> None:
        nonlocal left
        remember(self, way_back)
        left -= 1
        if not left:
            raise KeyboardInterrupt

    monkeypatch.setattr(Edits, "remember", interrupted)
    while True:
        left = 0
        model = made()
        before = state(model)
        places += 3
        left = places
        try:
            act(model)
        except KeyboardInterrupt:
            assert state(model) == before, f"change {places}"
        else:
            break
    assert places > 3, "the changes are more than these"
    assert state(model) != before


@pytest.mark.parametrize("way", ["freeze", "unfreeze"])
def test_a_layer_that_refuses_its_mode_stops_all_of_it(way: str) -> None:
    made, act = WAYS[way]
    model = made()
    layer = model.rest[1]
    (layer.layer if way == "unfreeze" else layer).stuck = True  # type: ignore[union-attr]
    before = state(model)
    with pytest.raises(RuntimeError, match="the mode must stay"):
        act(model)
    assert state(model) == before


@pytest.mark.parametrize("layer_by_layer", [True, False])
def test_a_forward_pass_that_raises_leaves_every_statistic(layer_by_layer: bool) -> None:
    model = net()
    model.bn.running_var[1] = float("nan")
    model.rest[2] = nn.Identity()
    before = {name: (id(one), one.clone()) for name, one in model.named_buffers()}
    modes = [layer.training for layer in model.modules()]
    with pytest.raises(normlab.InputError, match="third"):
        normlab.recalibrate(model, X.split(1), layer_by_layer=layer_by_layer, copy=False)
    assert [layer.training for layer in model.modules()] == modes
    assert model.count.last is None
    for name, buffer in model.named_buffers():
        assert id(buffer) == before[name][0]
        assert torch.equal(buffer.nan_to_num(), before[name][1].nan_to_num()), name


def test_a_class_that_raises_what_nobody_expects_is_left_and_the_rest_is_synchronized() -> None:
    class Odd(nn.BatchNorm2d):
        def forward(self, input: Tensor) -> Tensor:
            raise KeyError("no")

    _, report = normlab.to_sync(nn.Sequential(nn.BatchNorm2d(3), Odd(3)))
    assert report.layers == ("0",)
    assert "no synchronized form can be proven" in report.reason("1")


@pytest.mark.parametrize("way", ["freeze", "to_sync", "fold"])
def test_plain_references_follow_in_every_operation(way: str) -> None:
    made, act = WAYS[way]
    model = made()
    act(model)
    assert model.kept[0] is model.bn
    assert model.kept[1][0] is model.rest[1]
    if way == "freeze":
        normlab.unfreeze(model, copy=False)
        assert model.kept[0] is model.bn
        assert type(model.bn) is nn.BatchNorm2d


def test_what_came_after_a_change_stays_when_it_is_undone() -> None:
    """Hooks, marks and modes of later are not those of the change."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU())
    names = list(model.state_dict())
    swapped, report = normlab.swap(model, "weight", copy=False, example_inputs=torch.randn(5, 3))
    handle = swapped[0].register_forward_hook(lambda layer, inputs, output: output)
    swapped.eval()
    swapped[0].mark = "mine"
    back = report.undo()
    assert not back[0].training
    assert handle.id in back[0]._forward_hooks
    assert back[0].mark == "mine"
    assert list(back.state_dict()) == names
    assert type(back[0]) is nn.Linear


def test_an_activation_that_gave_way_comes_back_and_modes_stay_those_of_the_model() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn, self.relu = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()
            self.act = self.relu

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.bn(self.conv(x)))

    model, report = normlab.swap(Named(), "frn", copy=False, example_inputs=X)
    assert type(model.act) is type(model.relu) is nn.Identity
    model.eval()
    model = report.undo()
    assert model.act is model.relu
    assert type(model.act) is nn.ReLU
    assert not any(layer.training for layer in model.modules())
