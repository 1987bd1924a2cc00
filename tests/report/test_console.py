"""Tables in the terminal: names of norms are whole at any width."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from normlab.analysis import Evidence, gather
from normlab.figures.sweep import Grid
from normlab.report.console import answer, with_comparisons
from normlab.report.write import maps_of
from pages import printed
from synthetic import article_plan, made_outcomes

BATCH_SIZE = "training.batch_size"
NORMS = ("none", "batch", "layer", "group:groups=5")


def evidence_of(seeds: int = 6, **values: object) -> Evidence:
    plan = article_plan(seeds=seeds, norms=NORMS, **values)
    generator = np.random.default_rng(0)
    finals = {
        norm: 0.05 * (1 + place) * np.exp(0.05 * generator.standard_normal(seeds)) for place, norm in enumerate(NORMS)
    }
    return gather(plan, made_outcomes(plan, finals))


@pytest.mark.parametrize("width", [40, 80, 100, 140])
@pytest.mark.parametrize("sweep", [{}, {"training.batch_size": [16, 64]}], ids=["one condition", "a sweep"])
def test_no_width_loses_a_name(width: int, sweep: dict) -> None:
    evidence = evidence_of(sweep=sweep)
    text = printed(evidence, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    tables = [part for part in answer(evidence, width) if isinstance(part, Table) and part.columns[0].header == "norm"]
    assert len(tables) == max(1, 2 * len(sweep))
    for table in tables:
        names = first_column(table, width)
        assert all(item.label.replace(" ", "") in names for item in evidence.results)


def first_column(table: Table, width: int) -> str:
    """The text of the first column without blanks, names that go on in the next line drawn together."""
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table)
    lines = [line for line in console.export_text().splitlines() if "│" in line or "┃" in line]
    cells = [line.lstrip("│┃").replace("┃", "│").split("│")[0] for line in lines]
    return "".join("".join(cells).split())


def test_many_conditions_are_an_overview_alone() -> None:
    evidence = evidence_of(sweep={"training.batch_size": [8, 16, 32, 64], "training.learning_rate": [1e-3, 1e-2]})
    parts = list(answer(evidence, 100))
    assert len(parts) < 20
    assert len(list(with_comparisons(evidence, 100, every_metric=True))) == len(parts) + 8


def test_comparisons_are_in_the_metric_of_the_answer_unless_all_are_asked_for() -> None:
    evidence = evidence_of()
    before = len(list(answer(evidence, 140)))
    table, line = list(with_comparisons(evidence, 140, every_metric=False))[before:]
    assert isinstance(table, Table)
    assert list(table.columns[0].cells) == ["deployed test loss"] * 6
    assert str(line) == f"{len(evidence.comparisons) - 6} comparisons in other metrics: `normlab show --all`."
    (table,) = list(with_comparisons(evidence, 140, every_metric=True))[before:]
    assert isinstance(table, Table)
    assert table.row_count == len(evidence.comparisons) > 50


def test_the_column_of_wins_is_explained_where_there_is_one() -> None:
    line = "wins: comparisons in deployed test loss that a norm wins, of all that it is in"
    assert [" wins" in printed(evidence_of(), width).replace(line, "") for width in (140, 40)] == [True, False]
    assert [line in printed(evidence_of(), width) for width in (140, 40)] == [True, False]


def test_a_map_of_one_field_has_no_column_of_names() -> None:
    for sweep, before in (({BATCH_SIZE: [16, 64]}, 0), ({BATCH_SIZE: [16, 64], "training.epochs": [1, 2]}, 1)):
        table = list(answer(evidence_of(sweep=sweep), 140))[1]
        assert isinstance(table, Table)
        assert len(table.columns) == before + 2
        assert table.columns[0].header == ("batch size\n16" if not before else "epochs ↓ batch size →")


def test_maps_of_the_console_are_those_of_the_grid() -> None:
    evidence = evidence_of(sweep={"training.batch_size": [256, 16, 64]})
    (drawn,) = maps_of(evidence)
    assert drawn.columns == ("16", "64", "256")
    assert Grid.of(evidence.results, evidence.overview.paths).values == {"training.batch_size": (16, 64, 256)}
