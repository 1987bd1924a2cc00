"""Optimizers follow a change of layers; each test shows first what plain PyTorch does."""

from __future__ import annotations

import copy
import operator
import warnings
from collections.abc import Callable, Iterable
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import Optimizer

from normlab.errors import InputError
from normlab.surgery import optimizers
from normlab.surgery.optimizers import repair, require_same

OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter]], Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.1, foreach=False),
    "adam-foreach": lambda parameters: torch.optim.Adam(parameters, lr=0.1, foreach=True),
    "adamw-fused": lambda parameters: torch.optim.AdamW(parameters, lr=0.1, fused=True),
    "adagrad": lambda parameters: torch.optim.Adagrad(parameters, lr=0.1, initial_accumulator_value=0.3),
    "adagrad-fused": lambda parameters: torch.optim.Adagrad(parameters, lr=0.1, fused=True),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.1),
    "lbfgs": lambda parameters: torch.optim.LBFGS(parameters, lr=0.1, max_iter=2),
}


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))


def train(model: nn.Module, optimizer: Optimizer, steps: int = 3) -> list[float]:
    x = torch.linspace(-1, 1, 15).view(5, 3)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = (model(x) - x[:, :2].sin()).square().mean()
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(steps)]


def swapped(model: nn.Sequential) -> tuple[nn.Module, nn.Module]:
    """Another layer of the same parameters in the place of the norm."""
    old, new = model[1], nn.GroupNorm(1, 4)
    new.load_state_dict(old.state_dict())
    model[1] = new
    return old, new


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_as_if_the_parameters_had_always_been_there(name: str) -> None:
    make = OPTIMIZERS[name]
    model, reference = network(), network()
    optimizer, undisturbed = make(model.parameters()), make(reference.parameters())
    assert train(model, optimizer) == train(reference, undisturbed)
    old, new = swapped(model)  # GroupNorm of one group on N,C computes what LayerNorm does
    repaired = repair(optimizer, {old.weight: new.weight, old.bias: new.bias})
    assert {change.state for change in repaired.changes} == {"kept"}
    assert train(model, optimizer) == pytest.approx(train(reference, undisturbed), rel=1e-5)


def test_without_repair_the_new_parameters_stay_where_they_are() -> None:
    model = network()
    optimizer = OPTIMIZERS["adam"](model.parameters())
    train(model, optimizer)
    old, new = swapped(model)
    before = new.weight.clone()
    train(model, optimizer)
    assert torch.equal(new.weight, before)  # plain PyTorch: not trained, and nobody is told
    repair(optimizer, {old.weight: new.weight, old.bias: new.bias})
    train(model, optimizer)
    assert not torch.equal(new.weight, before)


@pytest.mark.parametrize("name", ["adagrad", "adagrad-fused"])
def test_adagrad_has_state_for_new_parameters(name: str) -> None:
    model, new = network(), nn.Parameter(torch.ones(7))
    optimizer = OPTIMIZERS[name](model.parameters())
    start = optimizer.defaults["initial_accumulator_value"]
    repair(optimizer, {model[1].bias: new})
    assert optimizer.state[new]["sum"].tolist() == pytest.approx([start] * 7)  # older torch makes it only when built
    new.grad = torch.ones(7)
    optimizer.step()
    assert optimizer.state[new]["sum"].tolist() == pytest.approx([start + 1] * 7)


def test_groups_stay_the_same_objects_in_the_same_order() -> None:
    model = network()
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    optimizer = torch.optim.AdamW([{"params": decayed}, {"params": others, "weight_decay": 0.0, "lr": 0.5}], lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    groups, lists = list(optimizer.param_groups), [group["params"] for group in optimizer.param_groups]
    old, new = swapped(model)
    extra = nn.Parameter(torch.zeros(4))
    repaired = repair(optimizer, {old.weight: new.weight, old.bias: None}, [(extra, old.bias)])
    assert all(one is other for one, other in zip(optimizer.param_groups, groups, strict=True))
    assert all(group["params"] is kept for group, kept in zip(groups, lists, strict=True))
    assert [id(one) for one in lists[0]] == [id(one) for one in decayed]
    assert [id(one) for one in lists[1]] == [id(one) for one in (others[0], new.weight, extra, others[3])]
    assert repaired.text == "AdamW: 1 parameters replaced (0 with their state); 1 removed; 1 added"
    optimizer.step()
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.25]


def test_undo_brings_back_lists_and_state_to_the_byte() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.named_parameters(), lr=0.1)
    train(model, optimizer)
    old = model[1]
    lists = [list(group["params"]) for group in optimizer.param_groups]
    names = list(optimizer.param_groups[0]["param_names"])
    moments = {key: value.clone() for key, value in optimizer.state[old.weight].items()}
    _, new = swapped(model)
    repaired = repair(optimizer, {old.weight: new.weight, old.bias: None}, names={new.weight: "1.gamma"})
    assert optimizer.param_groups[0]["param_names"] == ["0.weight", "0.bias", "1.gamma", "2.weight", "2.bias"]
    train(model, optimizer, steps=1)  # the moments that went to the new one move on
    repaired.undo()
    model[1] = old
    assert optimizer.param_groups[0]["param_names"] == names
    assert all(a is b for a, b in zip(optimizer.param_groups[0]["params"], lists[0], strict=True))
    assert new.weight not in optimizer.state
    assert all(torch.equal(optimizer.state[old.weight][key], value) for key, value in moments.items())
    train(model, optimizer, steps=1)


def test_state_of_another_shape_or_type_is_cleared_and_said() -> None:
    model = network()
    optimizer = OPTIMIZERS["adam"](model.parameters())
    train(model, optimizer)
    old = model[1]
    shorter, double = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(4, dtype=torch.float64))
    repaired = repair(optimizer, {old.weight: shorter, old.bias: double})
    assert [change.state for change in repaired.changes] == ["cleared", "cleared"]
    assert old.weight not in optimizer.state
    assert shorter not in optimizer.state
    assert repaired.text == "Adam: 2 parameters replaced (0 with their state)"


def test_lbfgs_forgets_a_history_that_no_longer_fits() -> None:
    model = network()
    optimizer = OPTIMIZERS["lbfgs"](model.parameters())
    train(model, optimizer)
    old, new = model[1], nn.RMSNorm(4, eps=1e-5)
    model[1] = new
    changes = {old.weight: new.weight, old.bias: None}
    before = copy.deepcopy(optimizer.state_dict())
    repaired = repair(optimizer, changes)
    assert "history" in repaired.text
    losses = train(model, optimizer)
    assert losses[-1] < losses[0]
    repaired.undo()
    model[1] = old
    torch.testing.assert_close(optimizer.state_dict(), before, rtol=0, atol=0)
    train(model, optimizer)  # it knows again how many numbers there are


def test_a_repair_that_fails_leaves_the_optimizer_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    optimizer = OPTIMIZERS["adam"](model.parameters())
    train(model, optimizer)
    old, new = swapped(model)
    before = [list(group["params"]) for group in optimizer.param_groups], copy.deepcopy(optimizer.state_dict())

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(optimizers, "_initialize", interrupted)
    with pytest.raises(KeyboardInterrupt):
        repair(optimizer, {old.weight: new.weight, old.bias: new.bias})
    assert all(map(operator.is_, optimizer.param_groups[0]["params"], before[0][0]))
    torch.testing.assert_close(optimizer.state_dict(), before[1], rtol=0, atol=0)


def test_lbfgs_keeps_its_history_when_its_first_parameter_is_replaced() -> None:
    model = nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 2))
    optimizer = OPTIMIZERS["lbfgs"](model.parameters())
    train(model, optimizer)
    steps = optimizer.state[model[0].weight]["n_iter"]
    old, new = model[0], nn.GroupNorm(1, 3)
    model[0] = new
    repair(optimizer, {old.weight: new.weight, old.bias: new.bias})
    assert optimizer.state[new.weight]["n_iter"] == steps
    assert old.weight not in optimizer.state


def test_muon_takes_no_vectors_and_is_left_alone() -> None:
    model = network()
    muon = torch.optim.Muon([model[0].weight, model[2].weight], lr=0.01)
    old, new = swapped(model)
    repaired = repair(muon, {old.weight: new.weight, old.bias: new.bias}, [(nn.Parameter(torch.ones(4)), None)])
    assert repaired.changes == ()
    assert "1 new parameters left out" in repaired.text
    train(model, muon)


def test_what_was_frozen_is_not_added() -> None:
    model = network()
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)
    repaired = repair(optimizer, {model[1].weight: None}, [(nn.Parameter(torch.ones(4)), model[1].weight)])
    assert repaired.changes == ()
    assert "left out" in repaired.text


def test_a_new_parameter_without_a_model_joins_the_vectors() -> None:
    model, new = network(), nn.Parameter(torch.ones(4))
    groups = [{"params": [model[0].weight, model[2].weight]}, {"params": [model[0].bias, model[2].bias]}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    repair(optimizer, {}, [(new, None)])
    assert optimizer.param_groups[1]["params"][-1] is new


def test_parameters_that_are_held_twice_stand_once_afterwards() -> None:
    old, other, new = (nn.Parameter(torch.ones(2)) for _ in range(3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, that this will be an error
        optimizer = torch.optim.SGD([old, old, other], lr=1.0)
    repair(optimizer, {old: new, other: new})
    assert [id(one) for one in optimizer.param_groups[0]["params"]] == [id(new)]
    new.grad = torch.ones(2)
    optimizer.step()
    assert new.tolist() == [0.0, 0.0]  # one step


@pytest.mark.parametrize("name", ["sgd", "adam-foreach", "adamw-fused", "adagrad"])
def test_an_emptied_group_is_kept(name: str) -> None:
    model = network()
    make = OPTIMIZERS[name]
    optimizer = make([{"params": list(model[1].parameters())}, {"params": list(model[0].parameters())}])  # type: ignore[list-item]
    train(model, optimizer)
    repair(optimizer, dict.fromkeys(model[1].parameters()))
    assert [len(group["params"]) for group in optimizer.param_groups] == [0, 2]
    train(model, optimizer)


def test_a_gradient_scaler_goes_on() -> None:
    model = network()
    optimizer = OPTIMIZERS["adam"](model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    old, new = swapped(model)
    repair(optimizer, {old.weight: new.weight, old.bias: new.bias})
    scaler.scale(model(torch.ones(2, 3)).sum()).backward()
    scaler.unscale_(optimizer)
    plain = network()
    plain(torch.ones(2, 3)).sum().backward()
    torch.testing.assert_close(new.bias.grad, plain[1].bias.grad)
    assert scaler.step(optimizer) is None
    scaler.update()


def test_the_optimizer_of_another_model_is_refused() -> None:
    model, copy = network(), network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    require_same(optimizer, model)
    with pytest.raises(InputError, match=r"6 parameters, none of which is among the model's 6\. Give `copy=False`"):
        require_same(optimizer, copy)


def test_only_optimizers_of_torch_are_taken() -> None:
    class Wrapper:
        optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))])

    with pytest.raises(InputError, match=r"got Wrapper.*\.optimizer"):
        repair(Wrapper(), {})  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_whatever_is_replaced_each_new_one_stands_once_and_undo_is_exact(data: st.DataObject) -> None:
    sizes = st.integers(1, 3).map(lambda size: nn.Parameter(torch.ones(size)))
    groups = data.draw(st.lists(st.lists(sizes, min_size=1, max_size=4), min_size=1, max_size=3))
    optimizer = torch.optim.Adam([{"params": group} for group in groups], lr=0.1)
    every = [parameter for group in groups for parameter in group]
    for parameter in every:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    known = {parameter: optimizer.state[parameter]["exp_avg"].clone() for parameter in every}
    fate = st.one_of(st.none(), sizes)
    replaced = {parameter: data.draw(fate) for parameter in every if data.draw(st.booleans())}
    added = [(data.draw(sizes), data.draw(st.sampled_from(every))) for _ in range(data.draw(st.integers(0, 3)))]
    expected = [parameter for parameter in every if parameter not in replaced]
    expected += [new for new in replaced.values() if new is not None] + [new for new, _ in added]

    repaired = repair(optimizer, replaced, added)
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(map(id, expected))
    assert {id(parameter) for parameter in optimizer.state} <= set(map(id, expected))
    for (_, like), group in product(added, range(len(groups))):
        news = {id(new) for new, other in added if other is like}
        here = {id(parameter) for parameter in optimizer.param_groups[group]["params"]}
        assert news <= here if any(like is one for one in groups[group]) else news.isdisjoint(here)
    for parameter in expected:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    repaired.undo()
    lists = [[id(parameter) for parameter in group["params"]] for group in optimizer.param_groups]
    assert lists == [[id(parameter) for parameter in group] for group in groups]
    assert all(torch.equal(optimizer.state[old]["exp_avg"], known[old]) for old in replaced)
