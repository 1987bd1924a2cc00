"""Things that are made once for a recipe, such as traced programs, and kept for its next parts."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

from normlab.recipe import Recipe

Cached = TypeVar("Cached")


class RecipeCache(Generic[Cached]):
    """The newest things made for recipes.

    Recipes are alike if their arms are and their objects too: a user may give two tasks of one name.

    Arguments:
        size: how many are kept.
    """

    def __init__(self, size: int) -> None:
        self._size, self._lock = size, Lock()
        self._entries: dict[Hashable, tuple[Recipe, Cached]] = {}

    def get(self, recipe: Recipe, further: Hashable, make: Callable[[], Cached]) -> Cached:
        """What was made for a recipe and ``further``, or what ``make`` gives now."""
        key = recipe.arm.key, further
        entry = self._entries.get(key)
        if entry is not None and _alike(entry[0], recipe):
            return entry[1]
        value = make()
        with self._lock:
            self._entries.pop(key, None)
            while len(self._entries) >= self._size:
                self._entries.pop(next(iter(self._entries)))
            self._entries[key] = recipe, value
        return value


def _alike(first: Recipe, other: Recipe) -> bool:
    return first is other or (
        first.task == other.task
        and first.options == other.options
        and first.norms == other.norms
        and first.probes == other.probes
    )
