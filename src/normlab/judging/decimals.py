"""Numbers as people and spreadsheets write them: with a decimal comma, or with a percent sign."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from normlab.errors import InputError

NO_NUMBER = {"na", "n/a", "null", "none", "-", "<na>"}  # in a column of numbers; elsewhere they are names, as of norms
_COMMA = re.compile(r"[+-]?(\d+|[1-9]\d{0,2}(\.\d{3})+),\d+(e[+-]?\d+)?\s*%?", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?(\d+|inf|infinity|nan)\s*%?", re.IGNORECASE)
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+\s*%?")


def with_points(columns: Mapping[str, Sequence[str]], origin: str) -> dict[str, Sequence[str]]:
    """The columns of a file whose cells no comma separates, those of numbers with decimal commas with points.

    A column is one of these if all its numbers are whole or have a comma. Where there is one, 1.211 in another column
    may be 1211 as well as 1.211.

    Raises:
        InputError: there is such a number.

    >>> with_points({"norm": ["a,b", "1"], "loss": ["0,98", "1.211,5"]}, "runs.csv")
    {'norm': ['a,b', '1'], 'loss': ['0.98', '1211.5']}
    """
    found = {name for name, cells in columns.items() if any(map(has_comma, cells)) and _only(cells, _COMMA)}
    for name, cells in columns.items():
        grouped = next((cell for cell in cells if _GROUPED.fullmatch(cell.strip())), None)
        if found and name not in found and grouped is not None and _only(cells, _GROUPED):
            rule = f"numbers of {origin} must be written in one way"
            given = f"{grouped!r} in {name!r}, and decimal commas in {min(found)!r}"
            raise InputError(
                rule, given, "Write all of them with a decimal point, and none with signs between thousands."
            )
    return {
        name: [cell.replace(".", "").replace(",", ".") for cell in cells] if name in found else cells
        for name, cells in columns.items()
    }


def has_comma(cell: object) -> bool:
    """Whether a cell is a number with a decimal comma.

    >>> has_comma("0,98"), has_comma("a,98"), has_comma("1.211,5 %")
    (True, False, True)
    """
    return isinstance(cell, str) and _COMMA.fullmatch(cell.strip()) is not None


def is_percent(cell: object) -> bool:
    """Whether a cell ends in a percent sign."""
    return isinstance(cell, str) and cell.rstrip().endswith("%")


def _only(cells: Sequence[str], form: re.Pattern[str]) -> bool:
    """Whether all cells are whole, of that form, or no number."""
    filled = [cell.strip() for cell in cells if cell.strip() and cell.strip().lower() not in NO_NUMBER]
    return all(form.fullmatch(cell) or _WHOLE.fullmatch(cell) for cell in filled)
