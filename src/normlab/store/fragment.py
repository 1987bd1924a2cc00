"""Outcomes as the bytes of a Parquet file, one row per run, and back."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Set
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from normlab.study.arm import Arm
from normlab.study.outcome import Outcome, Series

if TYPE_CHECKING:
    import polars as pl


def _schema() -> dict[str, pl.DataType]:
    import polars as pl

    text, whole, number = pl.String(), pl.Int64(), pl.Float64()
    return {
        "key": text,
        "arm": text,
        "seed": whole,
        "status": text,
        "reason": text,
        "trace": text,
        "stopped_at": whole,
        "parameters": whole,
        "batch_hash": text,
        "weight_hash": text,
        "data_hash": text,
        "seconds_per_step": number,
        "environment": text,
    }


def _series_type() -> pl.DataType:
    import polars as pl

    return pl.List(pl.Struct({"name": pl.String(), "steps": pl.List(pl.Int64()), "values": pl.List(pl.Float64())}))


def encode(outcomes: list[Outcome]) -> bytes:
    """The Parquet file that holds ``outcomes``."""
    import polars as pl

    rows = [
        {
            "key": outcome.key,
            "arm": json.dumps(outcome.arm.as_dict()),
            "seed": outcome.seed,
            "status": outcome.status,
            "reason": outcome.reason,
            "trace": outcome.trace,
            "stopped_at": outcome.stopped_at,
            "parameters": outcome.parameters,
            "batch_hash": outcome.batch_hash,
            "weight_hash": outcome.weight_hash,
            "data_hash": outcome.data_hash,
            "seconds_per_step": outcome.seconds_per_step,
            "environment": json.dumps(dict(outcome.environment)),
        }
        for outcome in outcomes
    ]
    frame = pl.DataFrame(rows, schema=_schema()).with_columns(_all_series(outcomes))
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression_level=1)
    return buffer.getvalue()


def _all_series(outcomes: list[Outcome]) -> pl.Series:
    """The series of each run as one value, made column by column: row by row takes a hundred times as long."""
    import polars as pl

    kind = _series_type()
    runs = [number for number, outcome in enumerate(outcomes) for _ in outcome.series]
    items = [item for outcome in outcomes for item in outcome.series.items()]
    columns = {
        "name": pl.Series([name for name, _ in items], dtype=pl.String),
        "steps": pl.Series([pl.Series(series.steps, dtype=pl.Int64) for _, series in items], dtype=pl.List(pl.Int64)),
        "values": pl.Series(
            [pl.Series(series.values, dtype=pl.Float64) for _, series in items], dtype=pl.List(pl.Float64)
        ),
    }
    flat = pl.DataFrame({"run": pl.Series(runs, dtype=pl.Int64), **columns})
    lists = flat.group_by("run", maintain_order=True).agg(pl.struct("name", "steps", "values").alias("series"))
    every = pl.DataFrame({"run": pl.Series(range(len(outcomes)), dtype=pl.Int64)})
    joined = every.join(lists, on="run", how="left", maintain_order="left")["series"].cast(kind)
    return joined.fill_null(pl.Series([[]], dtype=kind).first()).alias("series") if joined.null_count() else joined


@lru_cache(maxsize=10_000)  # the same few texts in thousands of rows
def _arm(text: str) -> Arm:
    return Arm.from_dict(json.loads(text))


def decode_status(content: bytes) -> Iterator[tuple[Arm, int, str]]:
    """Arm, seed and status of each run in a file, without reading its series."""
    import polars as pl

    frame = pl.read_parquet(io.BytesIO(content), columns=["arm", "seed", "status"])
    for arm, seed, status in frame.iter_rows():
        yield _arm(arm), seed, status


def decode_engines(content: bytes) -> Iterator[tuple[Arm, str]]:
    """Arm and engine of each run in a file that did not fail, without reading its series."""
    import polars as pl

    frame = pl.read_parquet(io.BytesIO(content), columns=["arm", "status", "environment"])
    for arm, environment in frame.filter(frame["status"] != "failed").select("arm", "environment").unique().iter_rows():
        yield _arm(arm), json.loads(environment).get("engine", "")


def decode(content: bytes, keys: Set[str] | None = None) -> list[Outcome]:
    """The outcomes in a Parquet file that ``encode`` made; only those of ``keys`` if they are given."""
    import polars as pl

    frame = pl.read_parquet(io.BytesIO(content))
    if keys is not None and not all(wanted := [key in keys for key in frame["key"].to_list()]):
        frame = frame.filter(pl.Series(wanted))
    if frame.is_empty():
        return []
    series = frame["series"].explode().drop_nulls().struct.unnest()
    names, counts = series["name"].to_list(), frame["series"].list.len().to_list()
    lengths = series["values"].list.len().to_list()
    ends = [0, *accumulate(lengths)]
    steps = series["steps"].explode().to_numpy()
    values = series["values"].explode().to_numpy()
    outcomes, first = [], 0
    for row, count in zip(frame.drop("series", "key").iter_rows(named=True), counts, strict=True):
        of_run = range(first, first + count)
        measured_at = _split(steps[ends[first] : ends[first + count]].tobytes(), tuple(lengths[first : first + count]))
        measured = {
            names[index]: Series(measured_at[index - first], values[ends[index] : ends[index + 1]]) for index in of_run
        }
        first += count
        arm, environment = _arm(row.pop("arm")), json.loads(row.pop("environment"))
        outcomes.append(Outcome(arm=arm, series=measured, environment=environment, **row))
    return outcomes


@lru_cache(maxsize=100)  # thousands of runs were measured at the same steps: kept once, and equal at a glance
def _split(steps: bytes, lengths: tuple[int, ...]) -> tuple[NDArray[np.int64], ...]:
    """The steps of each series of a run, from all of them as bytes."""
    return tuple(np.split(np.frombuffer(steps, dtype=np.int64), np.cumsum(lengths)[:-1]))
