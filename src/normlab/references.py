"""Finding an object by its catalogue name or by ``package.module:object``."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Protocol, TypeVar

from normlab.errors import InputError, nearest


class Named(Protocol):
    """Anything that a catalogue holds."""

    @property
    def name(self) -> str: ...


Found = TypeVar("Found", bound=Named)
Anything = TypeVar("Anything")


def find(reference: str, kind: str, catalogue: Iterable[Found], expected: type[Found]) -> Found:
    """The catalogue's entry of that name, or the user's object behind ``package.module:object``.

    Arguments:
        reference: a name in the catalogue, or ``package.module:object``.
        kind: what is looked for, as the error message calls it.
        catalogue: the built-in entries.
        expected: the type that a user's object must have.

    Raises:
        InputError: there is no such entry, module or object, or it has another type.
    """
    if ":" in reference:
        return imported(reference, kind, expected)
    entries = {entry.name: entry for entry in catalogue}
    if reference not in entries:
        raise InputError(
            f"{kind} must be a known name or package.module:object",
            repr(reference),
            nearest(reference, entries),
        )
    return entries[reference]


def imported(reference: str, kind: str, expected: type[Anything]) -> Anything:
    """The object behind ``package.module:object``.

    Raises:
        InputError: there is no such module or object, or it has another type than ``expected``.
    """
    module_name, _, attribute = reference.partition(":")
    rule = f"{kind} must name an importable {expected.__name__} as package.module:object"
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        advice = "Check the spelling, and that the module is in the current folder or installed."
        raise InputError(rule, f"{reference!r} ({type(error).__name__}: {error})", advice) from error
    found = getattr(module, attribute, None)
    if found is None:
        names = [
            name for name, value in vars(module).items() if isinstance(value, expected) and not name.startswith("_")
        ]
        advice = nearest(attribute, names) if names else f"{module_name} holds no {expected.__name__}."
        raise InputError(rule, repr(reference), advice)
    if not isinstance(found, expected):
        raise InputError(rule, f"{reference!r}, a {type(found).__name__}", f"Make it a normlab {expected.__name__}.")
    return found
