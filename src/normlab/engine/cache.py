"""Things that are made once for a recipe, such as traced programs, and kept for its next parts."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

from normlab.plan import Recipe

Made = TypeVar("Made")


class RecipeCache(Generic[Made]):
    """The newest things made for recipes.

    Recipes are alike if their arms are and their objects too: a user may give two tasks of one name.

    Arguments:
        size: how many are kept.
    """

    def __init__(self, size: int) -> None:
        self._size, self._lock = size, Lock()
        self._kept: dict[Hashable, tuple[Recipe, Made]] = {}

    def get(self, recipe: Recipe, further: Hashable, make: Callable[[], Made]) -> Made:
        """What was made for a recipe and ``further``, or what ``make`` gives now."""
        key = recipe.arm.key, further
        kept = self._kept.get(key)
        if kept is not None and _alike(kept[0], recipe):
            return kept[1]
        made = make()
        with self._lock:
            self._kept.pop(key, None)
            while len(self._kept) >= self._size:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = recipe, made
        return made


def _alike(one: Recipe, other: Recipe) -> bool:
    return one is other or (
        one.task == other.task
        and one.options == other.options
        and one.norms == other.norms
        and one.probes == other.probes
    )
