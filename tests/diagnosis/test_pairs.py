"""Each planted mistake is found where it stands, and nothing is said of its healthy counterpart."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from diagnosis.cases import batches, layers, surroundings, training
from diagnosis.cases.pair import Pair
from normlab.diagnosis.catalog import RULES
from normlab.diagnosis.run import doctor
from normlab.recognition.state import same

PAIRS = (*layers.PAIRS, *batches.PAIRS, *training.PAIRS, *surroundings.PAIRS)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_each_rule_has_a_planted_and_a_healthy_case() -> None:
    assert {pair.code for pair in PAIRS} == {rule.code for rule in RULES}


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_the_planted_mistake_is_found_and_the_model_is_as_before(pair: Pair) -> None:
    arguments = pair.planted()
    model = arguments["model"]
    assert isinstance(model, nn.Module)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    before, random = as_it_is(model), torch.get_rng_state()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    diagnosis = doctor(**{"select": pair.code, **arguments})
    assert not diagnosis.crashed
    findings = [finding for finding in diagnosis.findings if finding.where == pair.where]
    assert findings, [(finding.where, finding.message) for finding in diagnosis.findings]
    assert any(all(text in finding.message for text in pair.says) for finding in findings), findings
    assert torch.equal(torch.get_rng_state(), random)
    assert as_it_is(model) == before
    assert all(value.grad is None or bool((value.grad == 1).all()) for value in model.parameters())
    assert all(same(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_nothing_is_said_of_the_healthy_one(pair: Pair) -> None:
    diagnosis = doctor(**{"select": pair.code, **pair.healthy()})
    assert not diagnosis.crashed
    assert not diagnosis.findings


def as_it_is(model: nn.Module) -> list[object]:
    """The modes and hooks of its parts, and which objects its tensors and gradients are."""
    parts = list(model.modules())
    hooks = [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in parts]
    tensors = [(id(value), id(value.grad), value.requires_grad) for value in model.parameters()]
    return [[part.training for part in parts], hooks, tensors, [id(buffer) for buffer in model.buffers()]]
