"""The ledger: what became of each claim, and how norms stood in every condition that was tried for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from normlab.errors import InputError
from normlab.guidance.precedent import Precedent, finite

SCHEMA = 1
SHIPPED = "ledger.json"
NOT_RUN = "not run"


@dataclass(frozen=True)
class Mark:
    """An effect on the scale on which it matters, to be drawn.

    Arguments:
        text: what it is of.
        verdict: of the part of the claim that it belongs to.
        size, low, high: the effect with its interval in units of the margin: within -1 and 1 it is too small to
            matter. None where it is infinite.
    """

    text: str
    verdict: str
    size: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class LedgerRow:
    """What became of a claim.

    Arguments:
        id, theme, statement, source, original, scale: those of the claim.
        verdict: ``supported``, ``contradicted``, ``inconclusive``, ``not testable here`` or ``not run``; of several
            settings the words of each.
        sentences: the evidence, a sentence for each part.
        marks: the effects that can be drawn.
        setting: what it was tested on.
        seeds: the largest number of seeds behind a part.
        minutes: that the training of its study took, shared with the other claims of that study; None if unknown.
        command: what repeats it.
        date: of the last run.
        version: of normlab.
        quick: whether it is repeated within seconds.
    """

    id: str
    theme: str
    statement: str
    source: str
    original: str
    scale: str
    verdict: str
    sentences: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    setting: str = ""
    seeds: int = 0
    minutes: float | None = None
    command: str = ""
    date: str = ""
    version: str = ""
    quick: bool = False


@dataclass(frozen=True)
class Ledger:
    """All rows, and the precedents of every condition behind them.

    Arguments:
        rows: one for each claim, by theme in the order of the catalogue.
        precedents: how norms stood.
    """

    rows: tuple[LedgerRow, ...]
    precedents: tuple[Precedent, ...] = ()

    @property
    def themes(self) -> tuple[str, ...]:
        """The themes that there are rows of, in their order."""
        return tuple(dict.fromkeys(row.theme for row in self.rows))

    def of_theme(self, theme: str) -> tuple[LedgerRow, ...]:
        """The rows of a theme."""
        return tuple(row for row in self.rows if row.theme == theme)

    def to_json(self) -> str:
        """It as the text of ``ledger.json``."""
        content = {
            "schema": SCHEMA,
            "rows": [finite(asdict(row)) for row in self.rows],
            "standings": [item.as_dict() for item in self.precedents],
        }
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, origin: str = "the ledger") -> Ledger:
        """The ledger that ``to_json`` gave.

        Raises:
            InputError: it is none of this version.
        """
        try:
            content = json.loads(text)
            if content["schema"] != SCHEMA:
                raise ValueError(f"schema {content['schema']}")
            rows = tuple(_row_from(row) for row in content["rows"])
            return cls(rows, tuple(map(Precedent.from_dict, content["standings"])))
        except (ValueError, KeyError, TypeError) as error:
            rule = f"a ledger must be what normlab claims ledger wrote, of schema {SCHEMA}"
            raise InputError(rule, f"{origin} ({error})", "Write it anew.") from None


def _row_from(content: Mapping[str, Any]) -> LedgerRow:
    marks = tuple(Mark(**mark) for mark in content["marks"])
    return LedgerRow(**{**content, "marks": marks, "sentences": tuple(content["sentences"])})


def shipped_ledger() -> Ledger:
    """The ledger that comes with normlab.

    >>> len(shipped_ledger().rows) > 0
    True
    """
    return Ledger.from_json(files("normlab.guidance").joinpath(SHIPPED).read_text(encoding="utf-8"), SHIPPED)


def read_ledger(path: Path) -> Ledger:
    """The ledger in a file that ``normlab claims ledger`` wrote.

    Raises:
        InputError: there is no such file, or it is none of this version.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        rule = "a ledger must be a file that can be read"
        raise InputError(rule, str(path), "Write one by normlab claims ledger.") from None
    return Ledger.from_json(text, str(path))
