"""What a case of a rule is: a model with the mistake, and one without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Pair:
    """A planted mistake and its healthy counterpart, as arguments of `normlab.doctor`.

    Arguments:
        code: the rule that must find the one and say nothing of the other.
        about: what is planted, in kebab-case.
        planted: makes the arguments with the mistake.
        healthy: makes the arguments without it.
        where: the layer that must be named.
        says: texts that the message must hold.
    """

    code: str
    about: str
    planted: Callable[[], Arguments]
    healthy: Callable[[], Arguments]
    where: str = ""
    says: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.code}-{self.about}"
