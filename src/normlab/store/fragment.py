"""Outcomes as the bytes of a Parquet file, one row per run, and back."""

from __future__ import annotations

import io
import json
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from normlab.records import Measure, Outcome, Run, Series, Setting

if TYPE_CHECKING:
    import polars as pl


def _schema() -> dict[str, pl.DataType]:
    import polars as pl

    text, whole, number = pl.String(), pl.Int64(), pl.Float64()
    series = pl.Struct({"name": text, "steps": pl.List(whole), "values": pl.List(number)})
    return {
        "study_seed": whole,
        "task": text,
        "setting": text,
        "measure": text,
        "norm": text,
        "seed": whole,
        "status": text,
        "reason": text,
        "stopped_at": whole,
        "parameters": whole,
        "batch_hash": text,
        "seconds_per_step": number,
        "environment": text,
        "series": pl.List(series),
    }


def encode(outcomes: list[Outcome]) -> bytes:
    """The Parquet file that holds ``outcomes``."""
    import polars as pl

    rows = [
        {
            "study_seed": outcome.run.study_seed,
            "task": outcome.run.task,
            "setting": outcome.run.setting.model_dump_json(),
            "measure": outcome.run.measure.model_dump_json(),
            "norm": outcome.run.norm,
            "seed": outcome.run.seed,
            "status": outcome.status,
            "reason": outcome.reason,
            "stopped_at": outcome.stopped_at,
            "parameters": outcome.parameters,
            "batch_hash": outcome.batch_hash,
            "seconds_per_step": outcome.seconds_per_step,
            "environment": json.dumps(dict(outcome.environment)),
        }
        for outcome in outcomes
    ]
    schema = _schema()
    frame = pl.DataFrame(rows, schema={name: kind for name, kind in schema.items() if name != "series"})
    frame = frame.with_columns(_all_series(outcomes, schema["series"]))
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression_level=1)
    return buffer.getvalue()


def _all_series(outcomes: list[Outcome], kind: pl.DataType) -> pl.Series:
    """The series of each run as one value, made column by column: row by row takes a hundred times as long."""
    import polars as pl

    runs = [number for number, outcome in enumerate(outcomes) for _ in outcome.series]
    found = [item for outcome in outcomes for item in outcome.series.items()]
    columns = {
        "name": pl.Series([name for name, _ in found], dtype=pl.String),
        "steps": pl.Series([pl.Series(series.steps, dtype=pl.Int64) for _, series in found], dtype=pl.List(pl.Int64)),
        "values": pl.Series(
            [pl.Series(series.values, dtype=pl.Float64) for _, series in found], dtype=pl.List(pl.Float64)
        ),
    }
    flat = pl.DataFrame({"run": pl.Series(runs, dtype=pl.Int64), **columns})
    lists = flat.group_by("run", maintain_order=True).agg(pl.struct("name", "steps", "values").alias("series"))
    every = pl.DataFrame({"run": pl.Series(range(len(outcomes)), dtype=pl.Int64)})
    joined = every.join(lists, on="run", how="left", maintain_order="left")["series"].cast(kind)
    return joined.fill_null(pl.Series([[]], dtype=kind).first()).alias("series") if joined.null_count() else joined


_setting = lru_cache(Setting.model_validate_json)  # the same few texts in thousands of rows
_measure = lru_cache(Measure.model_validate_json)


def decode(content: bytes) -> list[Outcome]:
    """The outcomes in a Parquet file that ``encode`` made."""
    import polars as pl

    frame = pl.read_parquet(io.BytesIO(content))
    series = frame["series"].explode().drop_nulls().struct.unnest()
    names, counts = series["name"].to_list(), frame["series"].list.len().to_list()
    ends = np.cumsum(series["values"].list.len().to_numpy())
    steps = series["steps"].explode().to_numpy()
    values = series["values"].explode().to_numpy()
    outcomes, first = [], 0
    for row, count in zip(frame.drop("series").iter_rows(named=True), counts, strict=True):
        found = {
            names[index]: Series(
                steps[(ends[index - 1] if index else 0) : ends[index]],
                values[(ends[index - 1] if index else 0) : ends[index]],
            )
            for index in range(first, first + count)
        }
        first += count
        run = Run(
            study_seed=row.pop("study_seed"),
            task=row.pop("task"),
            setting=_setting(row.pop("setting")),
            measure=_measure(row.pop("measure")),
            norm=row.pop("norm"),
            seed=row.pop("seed"),
        )
        environment = json.loads(row.pop("environment"))
        outcomes.append(Outcome(run=run, series=found, environment=environment, **row))
    return outcomes
