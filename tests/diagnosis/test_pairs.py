"""Each planted mistake is found where it stands, and nothing is said of its healthy counterpart."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from diagnosis.cases import batches, layers, surroundings, training
from diagnosis.cases.pair import Pair
from normlab.diagnosis.catalog import RULES
from normlab.diagnosis.run import doctor

PAIRS = (*layers.PAIRS, *batches.PAIRS, *training.PAIRS, *surroundings.PAIRS)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_each_rule_has_a_planted_and_a_healthy_case() -> None:
    assert {pair.code for pair in PAIRS} == {rule.code for rule in RULES}


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_the_planted_mistake_is_found(pair: Pair) -> None:
    diagnosis = doctor(**{"select": pair.code, **pair.planted()})
    assert not diagnosis.crashed
    findings = [finding for finding in diagnosis.findings if finding.where == pair.where]
    assert findings, [(finding.where, finding.message) for finding in diagnosis.findings]
    assert any(all(text in finding.message for text in pair.says) for finding in findings), findings


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_nothing_is_said_of_the_healthy_one(pair: Pair) -> None:
    diagnosis = doctor(**{"select": pair.code, **pair.healthy()})
    assert not diagnosis.crashed
    assert not diagnosis.findings


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_the_model_and_the_random_numbers_are_as_before(pair: Pair) -> None:
    arguments = pair.planted()
    model = arguments["model"]
    assert isinstance(model, nn.Module)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = [parameter.grad for parameter in model.parameters()]
    modes = [module.training for module in model.modules()]
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    random = torch.get_rng_state()
    doctor(**{"select": pair.code, **arguments})
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in model.modules()] == modes
    assert hooks == [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert parameter.grad is gradient
        assert gradient is None or bool((gradient == 1).all())
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]) or bool((value.isnan() == state[name].isnan()).all())
