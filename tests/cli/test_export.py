"""`normlab export`: every table in every format, read back by other readers."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import normlab
from normlab.claims.catalog import find_claim
from normlab.report.tables import write_table
from normlab.results import COMPARED
from synthetic import article_plan, made_outcomes

TABLES = ("metrics", "comparisons", "curves", "claims")
FORMATS = ("csv", "markdown", "latex", "parquet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two tasks' worth of everything: names with signs that formats take for their own, gaps, claims."""
    path = tmp_path_factory.mktemp("results") / "mine"
    study = normlab.Study(
        name="mine",
        norms=["none", "batch", "group:groups=5"],
        tasks=["article"],
        seeds=3,
        training=normlab.Training(epochs=1),
        claims=["article-a"],
    )
    normlab.run(study, path)
    return path


def test_a_cell_holds_one_value_where_seeds_are_said_to_be_needed() -> None:
    """Six seeds or more say how many would decide, in an interval whose bounds have a column each, as CSV needs it."""
    plan = article_plan(seeds=8, norms=("batch", "layer", "none"))
    spread = 0.05 * np.random.default_rng(0).standard_normal((3, 8))
    finals = {norm: 0.05 * np.exp(row) for norm, row in zip(("batch", "layer", "none"), spread, strict=True)}
    results = normlab.Results(plan, made_outcomes(plan, finals), [find_claim("article-a")])
    for what in TABLES:
        assert results.export(what, "csv").count(b"\n") > 1
    needed = ("seeds_needed_low", "seeds_needed", "seeds_needed_high")
    frame = pl.read_csv(results.export("comparisons", "csv"), infer_schema_length=None)
    pairs = {(item.metric, item.a, item.b): item for item in results.evidence.comparisons if item.seeds_needed}
    told = {row[:3]: row[3:] for row in frame.select("metric", "a", "b", *needed).drop_nulls().rows()}
    assert told == {
        pair: (item.seeds_needed_ci[0], item.seeds_needed, item.seeds_needed_ci[1]) for pair, item in pairs.items()
    }
    assert told


def frame_of(folder: Path, what: str) -> pl.DataFrame:
    results = normlab.load(folder)
    return {
        "metrics": results.metrics,
        "comparisons": results.comparisons,
        "curves": results.curves,
        "claims": results.claims,
    }[what]()


@pytest.mark.parametrize("what", TABLES)
def test_parquet_and_csv_come_back_whole(command, folder: Path, what: str) -> None:
    wanted = frame_of(folder, what)
    assert len(wanted)
    assert command("export", str(folder), "--what", what, "--format", "parquet", "--out", "a.parquet").status == 0
    assert_frame_equal(pl.read_parquet("a.parquet"), wanted)
    printed = command("export", str(folder), "--what", what).out
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert list(rows[0]) == wanted.columns
    for row, values in zip(rows, wanted.iter_rows(named=True), strict=True):
        for name, value in values.items():
            assert same(row[name], value), (name, row[name], value)


def same(text: str, value: object) -> bool:
    """Whether a cell of CSV holds a value, every digit of it."""
    if value is None:
        return text == ""
    if isinstance(value, bool):
        return text == str(value).lower()
    if isinstance(value, float):
        return float(text) == value or (math.isnan(value) and math.isnan(float(text)))
    return text == str(value)


@pytest.mark.parametrize("what", ["metrics", "comparisons", "claims"])
def test_markdown_and_latex_have_every_row_and_what_differs(command, folder: Path, what: str) -> None:
    wanted = frame_of(folder, what)
    if what == "comparisons":
        values = {name: set(map(repr, wanted[name])) for name in wanted.columns}  # by which NaN is NaN
        same_everywhere = [name for name, told in values.items() if len(told) == 1 and name not in COMPARED]
        assert {"task", "batch_size", "confidence"} <= set(same_everywhere)
        wanted = wanted.drop(same_everywhere)
        assert set(COMPARED) - {"norm"} <= set(wanted.columns)
    lines = command("export", str(folder), "--what", what, "--format", "markdown").out.splitlines()
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    assert {len(row) for row in cells} == {wanted.width}
    assert len(lines) == len(wanted) + 2
    assert [cell.strip() for cell in cells[0]] == wanted.columns
    body = command("export", str(folder), "--what", what, "--format", "latex").out.split("\\midrule\n")[1]
    rows = body.split("\\bottomrule")[0].splitlines()
    assert len(rows) == len(wanted)
    assert all(len(re.split(r"(?<!\\)&", row)) == wanted.width for row in rows)


HOSTILE = pl.DataFrame(
    {
        "a_b|c": ["50% of $x_1$ & {more} #1", "a|b", "~tilde ^hat \\slash", "line\nbreak"],
        "n": [1.5, float("inf"), float("nan"), None],
    }
)
LATEX = {
    "\\textbackslash{}": "\\",
    "\\textasciitilde{}": "~",
    "\\textasciicircum{}": "^",
    **{f"\\{sign}": sign for sign in "&%$#_{}"},
}


def test_special_signs_are_escaped() -> None:
    """Read back by undoing what each format says of its own signs."""
    latex = write_table(HOSTILE, "latex").decode()
    body = latex.split("\\midrule\n")[1].split("\\bottomrule")[0]
    pattern = "|".join(re.escape(escaped) for escaped in LATEX)
    texts = [
        re.sub(pattern, lambda match: LATEX[match[0]], re.split(r"(?<!\\) & ", row)[0]) for row in body.splitlines()
    ]
    assert texts == [text.replace("\n", " ") for text in HOSTILE["a_b|c"]]
    assert not re.search(r"(?<!\\)[%$#_~^]", body.replace(r"$\infty$", ""))
    markdown = write_table(HOSTILE, "markdown").decode().splitlines()
    assert len(markdown) == 2 + len(HOSTILE)
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in markdown), "one bar more than columns"


def test_cells_of_readers_say_infinity_and_leave_gaps() -> None:
    frame = pl.DataFrame({"n": [1.5, math.inf, -math.inf, math.nan, None], "x": [1, 1, 1, 1, 1]})
    markdown = write_table(frame, "markdown", kept=()).decode().splitlines()
    assert [line.strip("| ") for line in markdown] == ["n", "---:", "1.5", "∞", "-∞", "", ""]
    assert "\n$\\infty$ \\\\\n-$\\infty$ \\\\\n" in write_table(frame, "latex", kept=()).decode()
    assert write_table(frame, "csv", kept=()).decode().splitlines()[0] == "n,x"


def test_a_table_of_several_conditions_has_a_row_for_each(command) -> None:
    sweep = ["--sweep", "training.batch_size=100,250"]
    norms = ["--norm", "none", "--norm", "rms", "--seeds", "1", "--epochs", "1", "--workers", "1"]
    command("run", "article-once", *norms, *sweep, "--out", "mine")
    rows = list(csv.DictReader(io.StringIO(command("export", "mine").out)))
    assert [(row["batch_size"], row["norm"]) for row in rows] == [
        ("100", "none"),
        ("100", "rms"),
        ("250", "none"),
        ("250", "rms"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "nowhere"], "nowhere, which is not there"),
        (["export", "thesis"], "holds no results"),
        (["export", "first-edition"], "in format 1"),
        (["export", "occupied"], "Run its study again into it"),
    ],
)
def test_a_mistake_gets_one_message_status_2_and_leaves_nothing(mistake, arguments: list[str], message: str) -> None:
    assert message in mistake(*arguments)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--what", "metric"], "Did you mean 'metrics'?"),
        (["--format", "tex"], "Did you mean 'latex'?"),
        (["--out", "nowhere/a.csv"], "must be writable"),
    ],
)
def test_an_unknown_table_or_place_is_told(command, folder: Path, flags: list[str], message: str) -> None:
    done = command("export", str(folder), *flags)
    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert list(Path().iterdir()) == []
