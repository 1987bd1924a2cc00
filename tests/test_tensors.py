"""Tensors are found wherever a model may put them."""

from __future__ import annotations

from collections import OrderedDict, UserDict, deque, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normlab.tensors import tensors_of


@dataclass
class Plain:
    first: Any
    second: Any


@dataclass(frozen=True, slots=True)
class Slotted:
    first: Any
    second: Any


class Base:
    __slots__ = ("first",)


class Mixed(Base):
    def __init__(self, first: Any, second: Any) -> None:
        self.first, self.second = first, second


Named = namedtuple("Named", ["first", "second"])
FORMS: dict[str, Callable[[Any, Any], Any]] = {
    "tuple": lambda one, other: (one, other),
    "list": lambda one, other: [one, [other]],
    "dict": lambda one, other: {"a": one, "b": (other,)},
    "ordered dict": lambda one, other: OrderedDict(a=one, b=other),
    "user dict": lambda one, other: UserDict(a=one, b=other),
    "deque": lambda one, other: deque([one, other]),
    "named tuple": Named,
    "dataclass": Plain,
    "dataclass with slots": Slotted,
    "slots of a base class": Mixed,
    "object": lambda one, other: SimpleNamespace(a=one, b=other),
    "object in a list in a dataclass": lambda one, other: Plain([SimpleNamespace(a=one)], {"b": Slotted(None, other)}),
    "distribution": torch.distributions.Normal,
}


@pytest.mark.parametrize("form", FORMS)
def test_tensors_are_found_in_order(form: str) -> None:
    one, other = torch.zeros(3), torch.ones(3)
    found = list(tensors_of(FORMS[form](one, other)))
    assert [tensor.mean() for tensor in found] == [0, 1]
    if form != "distribution":
        assert found[0] is one
        assert found[1] is other


def test_circles_and_long_chains_end() -> None:
    one = torch.zeros(1)
    circle = SimpleNamespace(one=one)
    circle.itself = [circle]
    assert list(tensors_of(circle)) == [one]
    chain = SimpleNamespace(one=one, next=None)
    for _ in range(5000):
        chain = SimpleNamespace(next=chain)
    assert list(tensors_of(chain)) == [one]


def test_what_is_no_output_is_left_alone() -> None:
    generator = (torch.zeros(1) for _ in range(2))
    kept: list[Tensor] = []
    others = [nn.Linear(2, 2), nn.Linear, torch, generator, len, "text", 3, None, torch.float32, kept.append]
    assert list(tensors_of(others)) == []
    assert len(list(generator)) == 2
