"""Tables that keep to the width of a terminal: columns are left out, what is in them is never cut off."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich.cells import cell_len

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

EDGE = 4  # columns that the two edges of a table take with their padding
BETWEEN = 3  # columns that a line between two columns takes with its padding


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Arguments:
        header: what stands above it.
        cells: the texts in it, with rich's markup.
        rank: 0 for what a table is useless without, such as names; of the others those with the highest rank are
            left out first where the width is small.
        fold: from how many characters on a text may go on in the next line; 0 if it never may.
        right: whether it is a column of numbers, which are set to the right.
    """

    header: str
    cells: Sequence[RenderableType]
    rank: int = 0
    fold: int = 0
    right: bool = False

    @property
    def most(self) -> int:
        """The columns of a terminal that it fills if there is space."""
        return max((_width(cell) for cell in (self.header, *self.cells)), default=0)

    @property
    def least(self) -> int:
        """The columns of a terminal that it takes at least."""
        return min(self.most, self.fold) if self.fold else self.most


def _width(cell: RenderableType) -> int:
    from rich.text import Text

    plain = Text.from_markup(cell).plain if isinstance(cell, str) else str(cell)
    return max((cell_len(line) for line in plain.split("\n")), default=0)


def fitting_columns(columns: Sequence[Column], width: int, edges: bool = True) -> tuple[Column, ...]:
    """The columns that fit next to each other, in their order.

    Arguments:
        columns: all columns.
        width: the columns of the terminal.
        edges: whether the table has a left and a right edge.

    >>> names, notes = Column("name", ["batch"]), Column("note", ["a long remark"], rank=1)
    >>> [column.header for column in fitting_columns([names, notes], 30)]
    ['name', 'note']
    >>> [column.header for column in fitting_columns([names, notes], 20)]
    ['name']
    """
    kept = list(columns)
    while _needed(kept, edges) > width and (optional := [column for column in kept if column.rank]):
        last = max(optional, key=lambda column: (column.rank, kept.index(column)))
        kept.remove(last)
    return tuple(kept)


def _needed(columns: Sequence[Column], edges: bool) -> int:
    lines = BETWEEN * (len(columns) - 1) + (EDGE if edges else 0)
    return sum(column.least for column in columns) + lines


def fitting_table(title: str, columns: Sequence[Column], width: int) -> Table:
    """A table of the columns that fit; without edges where that saves a column.

    What is needed and still too wide goes on in the next line, so that nothing is lost at any width.

    Arguments:
        title: what stands above the table.
        columns: all columns, each with as many cells.
        width: the columns of the terminal.
    """
    from rich.table import Table

    whole, bare = (fitting_columns(columns, width, edges) for edges in (True, False))
    edges = len(whole) == len(bare) and _needed(whole, edges=True) <= width
    kept = whole if edges else bare
    table = Table(title=title, title_justify="left", show_edge=edges, pad_edge=edges)
    for column, columns_of_it in zip(kept, _widths(kept, width, edges), strict=True):
        justify: Literal["right", "left"] = "right" if column.right else "left"
        table.add_column(column.header, justify=justify, overflow="fold", width=columns_of_it)
    for row in zip(*(column.cells for column in kept), strict=True):
        table.add_row(*row)
    return table


def _widths(columns: Sequence[Column], width: int, edges: bool) -> list[int]:
    """What each column gets: the widest of those that may fold give way first, and any where that is not enough."""
    widths = [column.most for column in columns]
    for floors in ([column.least for column in columns], [1] * len(columns)):
        excess = sum(widths) - sum(column.least for column in columns) + _needed(columns, edges) - width
        while excess > 0 and (wide := [n for n, floor in enumerate(floors) if widths[n] > floor]):
            widths[max(wide, key=widths.__getitem__)] -= 1
            excess -= 1
    return widths


def as_html(lines: Iterable[str], header: Sequence[str] = (), rows: Iterable[Sequence[str]] = ()) -> str:
    """A table and the lines below it as a notebook shows them; nothing in them is taken for markup.

    Arguments:
        lines: what stands below the table, or alone where there is none, each with its own spaces at its start.
        header: what stands above the columns; empty without a table.
        rows: the cells of each row.

    >>> as_html(["2 > 1"], ["layer", "now"], [["0", "group"]])
    '<table><tr><th>layer</th><th>now</th></tr><tr><td>0</td><td>group</td></tr></table><pre>2 &gt; 1</pre>'
    """

    def row(cells: Iterable[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"

    table = f"<table>{row(header, 'th')}{''.join(row(cells, 'td') for cells in rows)}</table>" if header else ""
    return f"{table}<pre>{html.escape(chr(10).join(lines))}</pre>"


def in_digits(value: float) -> str:
    """Three significant digits, without an exponent.

    >>> in_digits(1234.5), in_digits(12.345), in_digits(0.00012345)
    ('1234', '12.3', '0.000123')
    """
    if value >= 100 or value == 0:
        return f"{value:.0f}"
    return f"{value:#.3g}" if value >= 1e-4 else f"{value:.6f}"


def in_bytes(count: int) -> str:
    """A number of bytes in the largest unit that it fills.

    >>> in_bytes(64 * 2**20), in_bytes(1088)
    ('64.0 MiB', '1.06 KiB')
    """
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{in_digits(count / size)} {unit}"
    return f"{count} B"


def plural(count: int, noun: str) -> str:
    """A number with its noun.

    >>> plural(1, "round"), plural(2, "torch thread"), plural(2, "forward pass")
    ('1 round', '2 torch threads', '2 forward passes')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{'es' if noun.endswith('s') else 's'}"
