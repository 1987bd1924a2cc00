"""Fields of a study that flags change."""

from __future__ import annotations

from typing import Any

from normlab.errors import InputError
from normlab.reading import toml_value


def assignment(text: str) -> tuple[str, Any]:
    """The field and the value of ``--set field=value``; the value is TOML, or else plain text.

    Raises:
        InputError: there is no field or no value, or the value is one that no study can hold.

    >>> assignment("model.hidden=[100, 100]"), assignment("training.optimizer=sgd")
    (('model.hidden', [100, 100]), ('training.optimizer', 'sgd'))
    """
    field, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not field or not value:
        raise InputError("--set must be field=value", repr(text), "Try --set training.epochs=5.")
    return field, toml_value(value, f"--set {field}")


def tuned(text: str) -> tuple[str, list[Any]]:
    """The field and the grid of ``--tune field=value,value``; without values the grid is empty.

    Raises:
        InputError: there is no field, or a value is one that no study can hold.

    >>> tuned("learning_rate"), tuned("training.weight_decay=1e-4,1e-2")
    (('learning_rate', []), ('training.weight_decay', [0.0001, 0.01]))
    """
    field, equals, values = (part.strip() for part in text.partition("="))
    if not field or bool(equals) != bool(values):
        raise InputError("--tune must be field or field=value,value", repr(text), "Try --tune learning_rate.")
    return field, swept(text)[1] if values else []


def swept(text: str) -> tuple[str, list[Any]]:
    """The field and the values of ``--sweep field=value,value``; values are TOML, or else plain text.

    Raises:
        InputError: there is no field or no value, or a value is one that no study can hold.

    >>> swept("training.batch_size=16,64"), swept("model.hidden=[50],[100,100]"), swept("training.optimizer=sgd,adam")
    (('training.batch_size', [16, 64]), ('model.hidden', [[50], [100, 100]]), ('training.optimizer', ['sgd', 'adam']))
    """
    field, equals, values = (part.strip() for part in text.partition("="))
    if not equals or not field or not values:
        advice = "Try --sweep training.batch_size=16,64,256."
        raise InputError("--sweep must be field=value,value", repr(text), advice)
    origin = f"--sweep {field}"
    whole = toml_value(f"[{values}]", origin)
    if isinstance(whole, list):
        return field, whole
    return field, [toml_value(value.strip(), origin) for value in values.split(",")]
