"""TOML that a study can hold."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from normlab.errors import StudyError
from normlab.reading.options import WHOLE

MOST_NESTED = 20  # tables and lists within each other
_DEEP = f"must not hold tables and lists nested more than {MOST_NESTED} deep. Flatten it."
_LONG = "must fit into 64 bits. Give a smaller number."


def toml_table(text: str, origin: str) -> dict[str, Any]:
    """What a TOML text holds.

    Arguments:
        text: the TOML.
        origin: where it comes from, for messages.

    Raises:
        StudyError: it is not TOML, it is nested too deeply, or a whole number needs more than 64 bits.

    >>> toml_table("seeds = 3", "here")
    {'seeds': 3}
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StudyError(origin, [f"TOML syntax: {error}"]) from None
    except (ValueError, RecursionError) as error:  # of Python's own limits
        problem = _DEEP if isinstance(error, RecursionError) else f"a number in it: {_LONG}"
        raise StudyError(origin, [problem]) from None
    if problems := list(_limits(content)):
        raise StudyError(origin, problems)
    return content


def toml_value(text: str, origin: str) -> Any:
    """The TOML value in a text, or the text itself where it is no TOML.

    Raises:
        StudyError: it is nested too deeply, or a whole number needs more than 64 bits.

    >>> toml_value("[1, 2]", "here"), toml_value("sgd", "here")
    ([1, 2], 'sgd')
    """
    try:
        tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    except (ValueError, RecursionError):
        pass  # which the next line says more plainly
    return toml_table(f"value = {text}", origin)["value"]


def flattened(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Values by dotted path, whether written as ``"training.epochs" = [...]`` or in a table of their own.

    >>> dict(flattened({"training": {"epochs": [1]}, "model.depth": [2]}))
    {'training.epochs': [1], 'model.depth': [2]}
    """
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", values) for inner, values in value.items())
        else:
            yield name, value


def _limits(content: dict[str, Any]) -> Iterator[str]:
    """What is nested too deeply, and numbers that no array holds; without recursion."""
    pending: list[tuple[str, Any, int]] = [("", content, 0)]
    while pending:
        path, value, depth = pending.pop()
        if depth > MOST_NESTED:
            yield _DEEP
            return
        if isinstance(value, dict):
            pending += [(f"{path}.{key}" if path else key, part, depth + 1) for key, part in value.items()]
        elif isinstance(value, list):
            pending += [(path, part, depth + 1) for part in value]
        elif isinstance(value, int) and value not in WHOLE:
            yield f"{path}: {_LONG}"
