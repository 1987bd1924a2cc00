"""`normlab judge`: verdicts on runs that somebody trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from normlab import cli
from normlab.cli.commands import flags
from normlab.cli.parameters import NUMBER, PATH, WHOLE


def judge(
    context: typer.Context,
    table: Annotated[
        Path, typer.Argument(metavar="RUNS", help="CSV, TSV, Parquet, JSON or JSON lines: a row for each run.", **PATH)
    ],
    arm: Annotated[str, typer.Option(metavar="COLUMN", help="What is compared, such as norm.")],
    metrics: Annotated[
        list[str], typer.Option("--metric", metavar="NAME:lower|higher", help="Repeat it; the first one is judged.")
    ],
    seed: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="What pairs runs; by default a column of that name.")
    ] = None,
    margin: Annotated[
        list[str] | None,
        typer.Option("--margin", metavar="2%|0.01", help="Differences too small to matter; NAME=2% for one metric."),
    ] = None,
    conditions: Annotated[
        list[str] | None,
        typer.Option("--condition", metavar="COLUMN", help="Compare within its values, such as dataset; repeat it."),
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="Only these rows; != for others; repeat it.")
    ] = None,
    control: Annotated[str | None, typer.Option(metavar="ARM", help="Compare the others with this one alone.")] = None,
    step: Annotated[str | None, typer.Option(metavar="COLUMN", help="Epoch or step, if rows are a history.")] = None,
    take: Annotated[str, typer.Option(help="Of a history: last, best or mean-of-last=5.")] = "last",
    pattern: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Columns from the names of runs: `(?P<norm>.+)-s(?P<seed>.+)`.")
    ] = None,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="Runs of one seed have nothing in common: do not pair them.")
    ] = False,
    alpha: Annotated[float | None, typer.Option(help="Level of all comparisons together (0.05).", **NUMBER)] = None,
    confidence: Annotated[float | None, typer.Option(help="Of the intervals (0.95).", **NUMBER)] = None,
    full_level_seeds: Annotated[
        int | None,
        typer.Option(help="Seeds from which the level is full (64); 1 if no more will ever be added.", **WHOLE),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the page, the pictures and summary.json.", **PATH)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs: what summary.json holds.")] = False,
) -> None:
    """Judge runs that were trained elsewhere: verdicts, intervals, seeds needed and pictures from a table."""
    options = {"alpha": alpha, "confidence": confidence, "full_level_seeds": full_level_seeds}
    given = {name: value for name, value in options.items() if value is not None}
    asked = {"arm": arm, "metrics": metrics, "seed": seed, "conditions": conditions or [], "where": where or []}
    how = {"control": control, "step": step, "take": take, "pattern": pattern, "unpaired": unpaired}
    cli.judging.judge(table, margin or [], {**asked, **how}, given, out, json, flags(context))
