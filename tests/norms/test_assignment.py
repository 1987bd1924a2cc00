"""One norm for each role, read from text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from normlab.errors import InputError
from normlab.norms.assignment import parse_assignment
from normlab.norms.catalog import NORMS
from normlab.norms.slot import Slot


def norm_of(text: str, role: str, optional: bool = False) -> str:
    return str(parse_assignment(text).norm_at(Slot(8, role=role, optional=optional)))


def test_a_plain_norm_goes_everywhere_but_into_optional_slots() -> None:
    assert norm_of("group:groups=4,eps=1e-3", "block") == "group:groups=4,eps=0.001"
    assert norm_of("rms", "output") == "rms"
    assert norm_of("rms", "query-key", optional=True) == "none"
    assert norm_of("rms,query-key=layer", "query-key", optional=True) == "layer"


def test_roles_that_are_not_named_stay_empty_without_a_norm_for_all() -> None:
    assert norm_of("block=rms,query-key=layer", "output") == "none"
    assert norm_of("rms,query-key=layer", "output") == "rms"


def test_options_belong_to_the_norm_before_them() -> None:
    text = "block=group:groups=4,eps=1e-3,output=batch:momentum=0.2,eps=1e-4"
    assert norm_of(text, "block") == "group:groups=4,eps=0.001"
    assert parse_assignment(text).norms[1].options["momentum"] == 0.2
    assert parse_assignment(text).norms[1].options["eps"] == 1e-4


@given(
    st.lists(st.sampled_from([spec.name for spec in NORMS]), min_size=1, max_size=4),
    st.booleans(),
)
def test_what_is_written_is_read_back(names: list[str], plain: bool) -> None:
    pairs = [f"role-{number}={name}" for number, name in enumerate(names)]
    text = ",".join((["layer"] if plain else []) + pairs)
    assert str(parse_assignment(text)) == text
    assert parse_assignment(str(parse_assignment(text))) == parse_assignment(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("block=rms,block=layer", "one norm"),
        ("rms,layer", "must be key=value"),
        ("", "must be given as text"),
        ("block=", "norm"),
        ("block=bacth", "Did you mean 'batch'"),
        ("rms:epsilon=3", "no option"),
        ("rms,epsilon=3", "no option"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_assignment(text)


def test_only_the_slots_of_a_role_are_fitted() -> None:
    """A norm of weights changes the layers before its own slots."""
    model = nn.Sequential(nn.Linear(2, 3), nn.Identity(), nn.Linear(3, 3), nn.Identity())
    slots = [Slot(3, layer="0", role="block"), Slot(3, layer="2", role="output")]
    parse_assignment("output=weight").fit(model, slots)
    assert [name for name, _ in model.named_parameters()] == [
        "0.weight",
        "0.bias",
        "2.bias",
        "2.parametrizations.weight.original0",
        "2.parametrizations.weight.original1",
    ]


def test_a_layer_before_several_slots_is_normalized_once() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Identity(), nn.Identity())
    slots = [Slot(3, layer="0", name="1"), Slot(3, layer="0", name="2")]
    parse_assignment("weight").fit(model, slots)
    assert len(model[0].parametrizations["weight"]) == 1
