"""Tables of results for other programs and for papers."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping, Sequence
from math import isinf, isnan
from typing import TYPE_CHECKING, Any

from normlab.errors import InputError, nearest

if TYPE_CHECKING:
    import polars as pl

_LATEX = str.maketrans(
    {
        **{letter: f"\\{letter}" for letter in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "\n": " ",
    }
)
_MARKDOWN = str.maketrans({**{letter: f"\\{letter}" for letter in "\\`*<|"}, "\n": " "})


FOR_READERS = ("markdown", "latex")
BOUNDS = {"ci": "ci", "probability_ci": "probability", "seeds_needed_ci": "seeds_needed"}
"""Intervals of a comparison, and how the columns of their two bounds begin."""


def with_bounds(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a comparison with a column for each bound of an interval, as cells of a table hold one value.

    >>> with_bounds({"p": 0.5, "ci": (0.0, 1.0), "probability_ci": (0.2, 0.8), "seeds_needed_ci": None})
    ... # doctest: +NORMALIZE_WHITESPACE
    {'p': 0.5, 'ci_low': 0.0, 'ci_high': 1.0, 'probability_low': 0.2, 'probability_high': 0.8,
     'seeds_needed_low': None, 'seeds_needed_high': None}
    """
    row = {name: value for name, value in fields.items() if name not in BOUNDS}
    for name, column in BOUNDS.items():
        row[f"{column}_low"], row[f"{column}_high"] = fields[name] or (None, None)
    return row


def write_table(frame: pl.DataFrame, format: str, kept: Collection[str] | None = None) -> bytes:
    """A data frame as ``csv``, ``markdown``, ``latex`` (a tabular of booktabs) or ``parquet``.

    CSV and Parquet hold every digit, the two for readers four significant ones.

    Arguments:
        frame: the table.
        format: one of these.
        kept: columns that a table for readers holds even where they are the same in every row, in which case the
            others are left out; None for all columns.

    Raises:
        InputError: there is no such format.

    >>> import polars as pl
    >>> print(write_table(pl.DataFrame({"norm": ["batch"], "loss": [0.04631234]}), "markdown").decode(), end="")
    | norm | loss |
    |---|---:|
    | batch | 0.04631 |
    """
    formats: dict[str, Callable[[pl.DataFrame], bytes]] = {
        "csv": lambda frame: frame.write_csv().encode(),
        "markdown": _markdown,
        "latex": _latex,
        "parquet": _parquet,
    }
    if format not in formats:
        raise InputError("format must be known", repr(format), nearest(str(format), formats))
    if kept is not None and format in FOR_READERS:
        frame = frame.select(name for name in frame.columns if name in kept or frame[name].n_unique() > 1)
    return formats[format](frame)


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def _markdown(frame: pl.DataFrame) -> bytes:
    sides = ["---:" if kind.is_numeric() else "---" for kind in frame.dtypes]
    lines = [_row([name.translate(_MARKDOWN) for name in frame.columns]), f"|{'|'.join(sides)}|"]
    lines += [_row([_text(value).translate(_MARKDOWN) for value in row]) for row in frame.iter_rows()]
    return "".join(f"{line}\n" for line in lines).encode()


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _latex(frame: pl.DataFrame) -> bytes:
    sides = "".join("r" if kind.is_numeric() else "l" for kind in frame.dtypes)

    def line(cells: Sequence[str]) -> str:
        return " & ".join(cells) + r" \\"

    body = [line([_text(value).translate(_LATEX).replace("∞", r"$\infty$") for value in row]) for row in frame.rows()]
    names = [name.translate(_LATEX) for name in frame.columns]
    lines = [rf"\begin{{tabular}}{{{sides}}}", r"\toprule", line(names), r"\midrule", *body, r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}", ""]).encode()


def _text(value: object) -> str:
    """A cell: four significant digits, the sign for infinity, nothing for what there is not."""
    if value is None or (isinstance(value, float) and isnan(value)):
        return ""
    if isinstance(value, float) and isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
