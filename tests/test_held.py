"""What is told apart by what objects hold, and what is not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from normlab.reading.held import held_digest


def work(rate: float = 0.0) -> float:
    return rate


def closing(value: Any) -> Callable[[], Any]:
    return lambda: value


def defaulting(value: Any) -> Callable[[], Any]:
    def inner(rate: Any = value) -> Any:
        return rate

    return inner


@dataclass
class Setting:
    rate: Any

    def work(self) -> Any:
        return self.rate


class Slotted:
    __slots__ = ("rate",)

    def __init__(self, rate: Any) -> None:
        self.rate = rate


FORMS: dict[str, Callable[[Any], Any]] = {
    "partial": lambda value: partial(work, value),
    "keyword": lambda value: partial(work, rate=value),
    "method": lambda value: Setting(value).work,
    "object": lambda value: SimpleNamespace(inner=[{"rate": value}]),
    "slots": Slotted,
    "closure": closing,
    "closure over an object": lambda value: closing(Setting(value)),
    "array": lambda value: np.array([[value]]),
    "tensor": lambda value: torch.tensor([value]),
    "module": lambda value: nn.LeakyReLU(value),
    "set": lambda value: {value, "other"},
    "default": defaulting,
}


@pytest.mark.parametrize("form", FORMS)
def test_other_settings_are_told_apart_and_equal_ones_are_not(form: str) -> None:
    one, same, other = (held_digest(FORMS[form](value)) for value in (0.1, 0.1, 0.2))
    assert one == same
    assert one != other


def test_classes_and_functions_of_libraries_are_told_apart() -> None:
    assert held_digest(partial(work, nn.ReLU)) != held_digest(partial(work, nn.Tanh))
    assert held_digest(closing(torch.relu)) != held_digest(closing(torch.tanh))
    assert len({held_digest(value) for value in ([1, [2]], [[1], 2], [[1, 2]], (1, [2]), [1, 2])}) == 5


def test_circles_long_chains_and_tensors_without_numbers_are_taken() -> None:
    circle = SimpleNamespace()
    circle.itself = circle
    assert held_digest(circle) == held_digest(copy.deepcopy(circle))
    chain: list[Any] = []
    for _ in range(5000):
        chain = [chain]
    held_digest(chain)
    held_digest([nn.LazyLinear(3), torch.ones(2, device="meta"), torch.eye(2).to_sparse(), torch.ones(1) * 1j])
