"""Tables of results for other programs and for papers."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

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


def write_table(frame: pl.DataFrame, format: str) -> bytes:
    """A data frame as ``csv``, ``markdown``, ``latex`` (a tabular of booktabs) or ``parquet``.

    CSV and Parquet hold every digit, the two for people four significant ones.

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
    return formats[format](frame)


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def _markdown(frame: pl.DataFrame) -> bytes:
    sides = ["---:" if kind.is_numeric() else "---" for kind in frame.dtypes]
    lines = [_row(frame.columns), f"|{'|'.join(sides)}|"]
    lines += [_row([_text(value) for value in row]) for row in frame.iter_rows()]
    return "".join(f"{line}\n" for line in lines).encode()


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.translate(_MARKDOWN) for cell in cells)} |"


def _latex(frame: pl.DataFrame) -> bytes:
    sides = "".join("r" if kind.is_numeric() else "l" for kind in frame.dtypes)

    def line(cells: Sequence[str]) -> str:
        return " & ".join(cell.translate(_LATEX) for cell in cells) + r" \\"

    body = [line([_text(value) for value in row]) for row in frame.iter_rows()]
    lines = [rf"\begin{{tabular}}{{{sides}}}", r"\toprule", line(frame.columns), r"\midrule", *body, r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}", ""]).encode()


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
