"""Fields of a study that flags change."""

from __future__ import annotations

from typing import Any

from normlab.errors import InputError
from normlab.reading import toml_value


def assignment(text: str) -> tuple[str, Any]:
    """The field and the value of ``--set field=value``; the value is TOML, or else plain text.

    Raises:
        InputError: there is no field or no value, or the value is one that no study can hold.

    >>> assignment("setting.hidden=[100, 100]"), assignment("setting.optimizer=sgd")
    (('setting.hidden', [100, 100]), ('setting.optimizer', 'sgd'))
    """
    field, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not field or not value:
        raise InputError("--set must be field=value", repr(text), "Try --set setting.epochs=5.")
    return field, toml_value(value, f"--set {field}")
