"""What a check is, and what checking a norm leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from normlab.checks.subject import Subject

Needs = Literal["nothing", "repetition", "no random numbers"]
Result = Literal["holds", "does not hold", "not claimed", "not applicable", "not checked"]


@dataclass(frozen=True)
class Observation:
    """What one check saw on one layout with one number of channels.

    Arguments:
        result: whether it holds.
        text: a sentence, with ``{figure}`` where the figure goes.
        figure: the figure; of several layouts with the same sentence the largest is shown.
    """

    result: Result
    text: str
    figure: float | None = None


@dataclass(frozen=True)
class Check:
    """One thing that is checked of every norm.

    Arguments:
        name: the name in tables and for programs.
        meaning: what must hold.
        run: checks a norm on one layout.
        slow: whether it takes so long that it must be asked for.
        needs: what it compares outputs of: of the same input and the same random numbers; or, where inputs of other
            types or in another order would draw others, of layers that draw none.
        exception: the exception of an entry that says why this is not claimed.
    """

    name: str
    meaning: str
    run: Callable[[Subject], Observation]
    slow: bool = False
    needs: Needs = "repetition"
    exception: str = ""


@dataclass(frozen=True)
class Row:
    """What one check came to over all layouts.

    Arguments:
        name: the name of the check.
        meaning: what must hold.
        result: whether it does. ``not claimed`` rows say what was found of something that the norm does not promise.
        found: what was found, in a sentence.
    """

    name: str
    meaning: str
    result: Result
    found: str


@dataclass(frozen=True)
class CheckReport:
    """What was checked of a norm.

    Arguments:
        norm: the text that names it.
        title: its name in tables, with the layouts that were checked.
        rows: one for each check.
    """

    norm: str
    title: str
    rows: tuple[Row, ...]

    @property
    def holds(self) -> bool:
        """Whether everything that is claimed holds."""
        return all(row.result != "does not hold" for row in self.rows)

    @property
    def sentence(self) -> str:
        """The outcome in a sentence."""
        broken = [row.name for row in self.rows if row.result == "does not hold"]
        holding = sum(row.result == "holds" for row in self.rows)
        if broken:
            does = "does" if len(broken) == 1 else "do"
            return f"{self.norm}: {holding} checks hold, {len(broken)} {does} not: {', '.join(broken)}."
        return f"{self.norm}: everything that is claimed holds ({holding} checks)."

    def row(self, name: str) -> Row:
        """The row of that name."""
        return next(row for row in self.rows if row.name == name)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, in names that stay stable."""
        return {
            "schema": 1,
            "norm": self.norm,
            "title": self.title,
            "holds": self.holds,
            "rows": [asdict(row) for row in self.rows],
        }
