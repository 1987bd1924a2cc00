"""What an architecture of the zoo is: a small model built from a configuration, and what it is called with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

Build = Callable[[], tuple[nn.Module, Any]]


@dataclass(frozen=True)
class Architecture:
    """A model of the zoo.

    Arguments:
        name: its name, unique in the zoo.
        library: where its classes come from, as it is imported.
        build: gives a new model, with weights drawn from torch's random numbers, and its inputs.
        left: the norms that must be left alone: a regular expression of their class or name, and words of the reason.
        where: which norms are meant, as for `normlab.swap`.
        needs: further libraries without which it cannot be built.
    """

    name: str
    library: str
    build: Build
    left: tuple[tuple[str, str], ...] = ()
    where: Any = None
    needs: tuple[str, ...] = ()
