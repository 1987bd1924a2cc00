"""Tables keep to the width, whatever is in them, and never lose a name."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from normlab.tables import Column, fitting_columns, fitting_table

NAMES = ["standardized-group:groups=32", "batch", "group:groups=8"]
FIGURES = [Column(f"figure {number}", ["0.1234 ± 0.0123"] * 3, rank=number, right=True) for number in range(1, 8)]


def drawn(columns: list[Column], width: int) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    with console.capture() as capture:
        console.print(fitting_table("Title", columns, width))
    return capture.get()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 140, 250])
def test_names_are_whole_at_every_width(width: int) -> None:
    said = drawn([Column("norm", NAMES), *FIGURES], width)
    assert max(map(len, said.splitlines())) <= width
    assert "…" not in said
    letters = "".join(said.split())
    assert all(name in letters or width < 40 for name in NAMES)
    if width == 250:
        assert all(column.header in said for column in FIGURES)
    if width == 80:
        assert ["figure 1" in said, "figure 7" in said] == [True, False]


def test_the_highest_rank_goes_first_and_rank_0_stays() -> None:
    columns = [Column("a", ["x" * 30]), Column("b", ["y" * 30], rank=2), Column("c", ["z" * 30], rank=1)]
    assert [[column.header for column in fitting_columns(columns, width)] for width in (200, 70, 40, 5)] == [
        ["a", "b", "c"],
        ["a", "c"],
        ["a"],
        ["a"],
    ]


def test_markup_takes_no_width_and_wide_letters_take_two() -> None:
    assert Column("a", ["[bold red]six no[/]"]).least == 6
    assert Column("a", ["层归一化"]).least == 8


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 12), st.integers(1, 40)),
        min_size=1,
        max_size=8,
    ),
    st.integers(30, 200),
)
def test_no_line_is_wider_than_the_terminal(shapes: list[tuple[int, int, int]], width: int) -> None:
    columns = [Column(f"h{i}", ["x" * length], rank=rank, fold=fold) for i, (rank, fold, length) in enumerate(shapes)]
    said = drawn(columns, width)
    assert max(map(len, said.splitlines())) <= width
    kept = fitting_columns(columns, width)
    assert "…" not in said
    assert said.count("x") >= sum(len(str(column.cells[0])) for column in kept)
