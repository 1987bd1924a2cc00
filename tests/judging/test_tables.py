"""Tables as people have them: files, frames, exports of trackers, histories; and every mistake gets one message."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import normlab
from normlab.errors import InputError
from normlab.judging.judgement import Judgement

Row = dict[str, Any]


def rows(seeds: int = 8) -> list[Row]:
    generator = np.random.default_rng(0)
    return [
        {"norm": norm, "seed": seed, "val_loss": float(np.exp(effect + 0.1 * generator.standard_normal()))}
        for norm, effect in {"batch": 0.0, "group": -0.3}.items()
        for seed in range(seeds)
    ]


def judged(table: object, **how: Any) -> Judgement:
    return normlab.judge(table, **{"arm": "norm", "metrics": "val_loss:lower", **how})


def same(one: Judgement, other: Judgement) -> bool:
    return one.summary()["comparisons"] == other.summary()["comparisons"]


def _csv(separator: str = ",") -> Callable[[], object]:
    def make() -> Path:
        pl.DataFrame(rows()).write_csv("runs.csv", separator=separator)
        return Path("runs.csv")

    return make


def _gzip() -> str:
    Path("runs.csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + pl.DataFrame(rows()).write_csv().encode()))
    return "runs.csv.gz"


def _text(name: str, text: str) -> str:
    Path(name).write_text(text)
    return name


def _parquet() -> str:
    pl.DataFrame(rows()).write_parquet("runs.parquet")
    return "runs.parquet"


@pytest.mark.parametrize(
    "make",
    [
        _csv(),
        _csv(";"),
        _gzip,
        _parquet,
        lambda: _text("runs.tsv", pl.DataFrame(rows()).write_csv(separator="\t")),
        lambda: _text("runs.jsonl", "\n".join(map(json.dumps, rows()))),
        lambda: _text("runs.json", json.dumps(rows())),
        lambda: _text("columns.json", json.dumps(pl.DataFrame(rows()).to_dict(as_series=False))),
        lambda: pl.DataFrame(rows()),
        lambda: pl.LazyFrame(rows()),
        lambda: pd.DataFrame(rows()),
        lambda: pd.DataFrame(rows()).set_index(["norm", "seed"]),
        lambda: pd.DataFrame(rows()).convert_dtypes(),
        lambda: pl.DataFrame(rows()).to_dict(as_series=False),
        lambda: iter(rows()),
    ],
)
def test_every_form_of_a_table_is_read_alike(make: Callable[[], object]) -> None:
    assert same(judged(make()), judged(rows()))


def test_an_export_of_weights_and_biases() -> None:
    frame = pd.DataFrame(rows())
    frame.insert(0, "Name", [f"glad-sun-{place}" for place in range(len(frame))])
    frame["State"], frame["Runtime"] = "finished", range(len(frame))
    frame.to_csv("wandb.csv", index=False)
    assert same(judged("wandb.csv"), judged(rows()))


def test_a_frame_of_mlflow() -> None:
    frame = pd.DataFrame(rows()).rename(
        columns={"norm": "params.norm", "seed": "params.seed", "val_loss": "metrics.val_loss"}
    )
    frame["params.seed"] = frame["params.seed"].astype(str)
    frame["start_time"] = pd.Timestamp("2026-01-01")
    frame["run_id"] = [f"{place:032x}" for place in range(len(frame))]
    found, plain = judged(frame).comparisons[0], judged(rows()).comparisons[0]
    assert (found.metric, found.p, found.ci, found.verdict) == ("val_loss", plain.p, plain.ci, plain.verdict)


@pytest.mark.parametrize(
    "form", ["params_{}", "params.{}", "config.{}", "tags.{}", "config.model.{}", "hparams/{}", "Config/{}"]
)
def test_the_end_of_a_name_finds_a_column_of_a_tracker_and_it_is_said(form: str) -> None:
    table = [
        {form.format("norm"): row["norm"], "user_attrs_seed": row["seed"], "val_loss": row["val_loss"]}
        for row in rows()
    ]
    found = judged(table)
    assert same(found, judged(rows()))
    assert f"Read from columns of longer names: norm from {form.format('norm')}." in found.remarks
    assert "Runs are paired by the column user_attrs_seed." in found.remarks
    assert not any("longer names" in remark for remark in judged(table, arm=form.format("norm")).remarks)
    with pytest.raises(InputError, match=rf"Choose from {form.format('norm')}, user_attrs_seed, val_loss\."):
        judged(table, arm="zebra")
    with pytest.raises(InputError, match=r"may be any of several. Choose from "):
        judged([row | {"tags.net.norm": "a", "params_norm": "b", "params.norm": "c"} for row in table])


def test_the_index_that_a_frame_writes_has_no_name_and_is_left_out() -> None:
    pd.DataFrame(rows()).assign(**{" ": 1}).to_csv("runs.csv")
    for table in ("runs.csv", pd.read_csv("runs.csv")):
        assert same(judged(table), judged(rows()))
        with pytest.raises(InputError, match=r"got 'zebra'. Choose from norm, seed, val_loss\."):
            judged(table, arm="zebra")


def test_nested_configurations_of_json_lines() -> None:
    nested = [
        {"config": {"norm": row["norm"], "seed": row["seed"]}, "summary": {"val_loss": row["val_loss"]}}
        for row in rows()
    ]
    assert same(judged(nested), judged(rows()))


def test_a_long_table_of_tensorboard_with_the_arm_in_the_name_of_the_run() -> None:
    long = [
        {
            "run": f"logs/{row['norm']}_s{row['seed']}",
            "tag": tag,
            "step": step,
            "value": row["val_loss"] * factor / step,
        }
        for row in rows()
        for tag, factor in {"loss/train": 0.5, "loss/val": 1.0}.items()
        for step in (1, 2, 3)
    ]
    found = judged(
        pd.DataFrame(long), metrics="loss/val:lower", step="step", pattern=r"(?P<norm>[a-z]+)_s(?P<seed>\d+)$"
    )
    scaled = judged([row | {"val_loss": row["val_loss"] / 3} for row in rows()])
    assert found.comparisons[0].ci == pytest.approx(scaled.comparisons[0].ci)
    with pytest.raises(InputError, match=r"Did you mean 'loss/val'"):
        judged(long, metrics="loss/vall:lower", step="step", pattern=r"run=(?P<norm>[a-z]+)_s(?P<seed>\d+)$")


def test_a_chart_of_weights_and_biases_with_a_column_for_each_run() -> None:
    chart: dict[str, list[float]] = {"Step": [0, 1]}
    for row in rows():
        name = f"{row['norm']}-s{row['seed']} - val_loss"
        chart |= {name: [9.0, row["val_loss"]], f"{name}__MIN": [0.0, 0.0], f"{name}__MAX": [9.0, 9.0]}
    pd.DataFrame(chart).to_csv("chart.csv", index=False)
    assert same(judged("chart.csv", step="Step", pattern=r"(?P<norm>.+)-s(?P<seed>\d+)"), judged(rows()))


@pytest.mark.parametrize(
    ("take", "of"),
    [("last", lambda values: values[-1]), ("best", min), ("mean-of-last=2", lambda values: np.mean(values[-2:]))],
)
def test_a_history_ends_in_its_last_best_or_late_values(take: str, of: Callable[[list[float]], float]) -> None:
    generator = np.random.default_rng(1)
    history = {(row["norm"], row["seed"]): list(row["val_loss"] * generator.uniform(0.5, 2, 4)) for row in rows()}
    long = [
        {"norm": norm, "seed": seed, "epoch": epoch, "val_loss": value, "train_loss": None}
        for (norm, seed), values in history.items()
        for epoch, value in enumerate(values, 1)
    ]
    long += [{"norm": norm, "seed": seed, "epoch": 9, "train_loss": 1.0} for norm, seed in history]  # logs no val_loss
    generator.shuffle(long)  # type: ignore[arg-type]
    short = [{"norm": norm, "seed": seed, "val_loss": float(of(values))} for (norm, seed), values in history.items()]
    assert same(judged(long, step="epoch", take=take), judged(short))


def test_a_history_that_ends_in_nan_diverged_however_good_its_best_was() -> None:
    long = [row | {"epoch": epoch, "val_loss": row["val_loss"] / epoch} for row in rows() for epoch in (1, 2)]
    long[1]["val_loss"] = "NaN"
    for take in ("last", "best", "mean-of-last=2"):
        item = judged(long, step="epoch", take=take).comparisons[0]
        assert (item.diverged_a, item.pairs) == (1, 8)
    long[0]["val_loss"], long[1]["val_loss"] = "inf", 1.0  # and is well again
    assert judged(long, step="epoch", take="last").comparisons[0].diverged_a == 0
    assert judged(long, step="epoch", take="mean-of-last=2").comparisons[0].diverged_a == 1


def logged(every: int, steps: int, behind: int = 0, diverges: tuple[Any, Any, int] | None = None) -> pd.DataFrame:
    """A history as pandas has it: the validation loss at each so-maniest step, and steps of training behind the last.

    One run diverges behind so many of its validations: its loss is NaN from there on.
    """
    table = []
    for row in rows():
        run = row["norm"], row["seed"]
        for step in range(1, every * steps + behind + 1):
            validated, rest = divmod(step, every)
            last = diverges is not None and diverges[:2] == run and validated > diverges[2]
            value = math.nan if rest or last else row["val_loss"] * (1 + steps - validated)
            table.append({"norm": run[0], "seed": run[1], "step": step, "train_loss": 1.0, "val_loss": value})
    return pd.DataFrame(table)


@pytest.mark.parametrize("behind", [0, 2])
@pytest.mark.parametrize("form", ["frame", "rows", "empty cells", "nan as text", "polars"])
def test_a_metric_that_is_logged_every_few_rows_has_not_diverged(form: str, behind: int) -> None:
    frame = logged(3, 4, behind)
    frame.to_csv("empty.csv", index=False)
    frame.to_csv("text.csv", index=False, na_rep="NaN")
    table: object = {
        "frame": frame,
        "rows": frame.to_dict("records"),
        "empty cells": "empty.csv",
        "nan as text": "text.csv",
        "polars": pl.DataFrame(frame.to_dict("list")).fill_nan(None),
    }[form]
    for take in ("last", "best"):
        assert same(judged(table, step="step", take=take), judged(rows()))
    dense = [row | {"step": step, "val_loss": row["val_loss"] * (5 - step)} for row in rows() for step in (1, 2, 3, 4)]
    assert same(judged(table, step="step", take="mean-of-last=2"), judged(dense, step="step", take="mean-of-last=2"))


@pytest.mark.parametrize(("every", "behind"), [(1, 0), (3, 0), (3, 2)])
@pytest.mark.parametrize("validations", [0, 1, 3])
def test_nan_that_goes_on_for_longer_than_between_values_is_divergence(
    every: int, behind: int, validations: int
) -> None:
    frame = logged(every, 4, behind, diverges=("batch", 3, validations))
    frame.to_csv("text.csv", index=False, na_rep="nan")
    for table in (frame, "text.csv"):
        item = judged(table, step="step").comparisons[0]
        assert (item.diverged_a, item.diverged_b, item.pairs) == (1, 0, 8)


def test_where_empty_cells_tell_them_apart_nan_is_a_value() -> None:
    frame = logged(3, 4, 2).astype({"val_loss": object})
    frame["val_loss"] = frame["val_loss"].where(frame["val_loss"].notna(), None)
    frame.loc[(frame.seed == 3) & (frame.norm == "batch") & (frame.step == 12), "val_loss"] = math.nan
    assert judged(frame, step="step").comparisons[0].diverged_a == 1
    frame.loc[(frame.seed == 3) & (frame.norm == "batch"), "val_loss"] = None
    assert "seed 3 of batch" in "\n".join(judged(frame, step="step").remarks)
    assert judged(frame, step="step").comparisons[0].diverged_a == 0


def test_in_a_chart_nan_of_pandas_stands_where_a_run_had_ended() -> None:
    chart: dict[str, list[float]] = {"Step": [0, 1, 2]}
    for row in rows():
        ended = row["seed"] == 2
        values = [9.0, row["val_loss"], math.nan] if ended else [9.0, 9.0, row["val_loss"]]
        chart[f"{row['norm']}-s{row['seed']} - val_loss"] = values
    pattern = r"(?P<norm>.+)-s(?P<seed>\d+)"
    assert same(judged(pd.DataFrame(chart), step="Step", pattern=pattern), judged(rows()))


@pytest.mark.parametrize("separator", [";", "\t"])
def test_decimal_commas_are_read_where_no_comma_separates_cells(separator: str) -> None:
    frame = pd.DataFrame(rows())
    frame["val_loss"] = [f"{5000 * value:,.3f}".translate(str.maketrans(",.", ".,")) for value in frame["val_loss"]]
    assert frame["val_loss"].str.contains(r"\d\.\d{3},").all()
    frame["lr"] = "0,1"
    frame.loc[2, "val_loss"] = "5.000"
    frame.to_csv("runs.csv", sep=separator, index=False)
    with pytest.raises(InputError, match=r"must hold numbers.*Decimal commas are read where"):
        judged("runs.csv")  # 5 or 5000
    frame.loc[2, "val_loss"] = "5000"
    frame.to_csv("runs.csv", sep=separator, index=False)
    plain = [
        row | {"val_loss": 5000.0 if place == 2 else round(5000 * row["val_loss"], 3)}
        for place, row in enumerate(rows())
    ]
    assert same(judged("runs.csv", where=["lr=0.1"]), judged(plain))
    frame.assign(count="1.211").to_csv("runs.csv", sep=separator, index=False)
    with pytest.raises(InputError, match=r"written in one way; got '1.211' in 'count', and decimal commas in 'lr'"):
        judged("runs.csv")
    frame.to_csv("runs.csv", index=False)
    with pytest.raises(InputError, match=r"must hold numbers.*Decimal commas are read where semicolons"):
        judged("runs.csv")


def test_percent_signs_are_taken_off_and_it_is_said() -> None:
    percent = [row | {"val_loss": f"{100 * row['val_loss']:.2f} %"} for row in rows()]
    percent[3]["val_loss"] = "nan"
    plain = [row | {"val_loss": float(row["val_loss"].rstrip(" %"))} for row in percent]
    assert same(judged(percent, margin=1.0), judged(plain, margin=1.0))
    assert "The percent signs of val loss are taken off: a margin of 1 is one percentage point" in "\n".join(
        judged(percent).remarks
    )
    assert "percent sign" not in "\n".join(judged(plain).remarks)
    with pytest.raises(InputError, match=r"must hold numbers.*in percent, or none"):
        judged([*percent, rows()[0] | {"seed": 99}])


def test_histories_of_different_lengths_are_named() -> None:
    long = [row | {"epoch": epoch} for row in rows() for epoch in range((row["seed"] == 3 and 2) or 5)]
    assert "end at different steps: 1 of seed 3 of batch, 4 of others" in "\n".join(judged(long, step="epoch").remarks)


def test_numbers_are_the_same_as_text_and_as_numbers() -> None:
    arms = [row | {"norm": 2 if row["norm"] == "batch" else 16, "seed": float(row["seed"])} for row in rows()]
    as_text = [{name: str(value).removesuffix(".0") for name, value in row.items()} for row in arms]
    one, other = judged(arms), judged(as_text)
    assert one.arms == other.arms == ("2", "16")
    assert same(one, other)


def test_rows_are_chosen() -> None:
    more = [row | {"data": "digits", "lr": 0.1} for row in rows()]
    more += [row | {"data": "other", "lr": 1.0, "val_loss": 7.0} for row in rows()]
    for where in (["data=digits"], ["lr=0.10"], ["data!=other"], ["data=digits,none", "norm=batch,group"]):
        assert same(judged(more, where=where), judged(rows()))


def test_directions_are_guessed_only_where_a_name_says_them() -> None:
    named = [row | {"valAccuracy": 1.0, "score": 1.0, "loss_accuracy": 1.0} for row in rows()]
    assert "val_loss is taken to say that lower is better" in "\n".join(judged(named, metrics="val_loss").remarks)
    assert "valAccuracy is taken to say that higher" in "\n".join(judged(named, metrics="valAccuracy").remarks)
    for unclear in ("score", "loss_accuracy"):
        with pytest.raises(InputError, match=f"Write {unclear}:lower or"):
            judged(named, metrics=unclear)


WIDE = [{"seed": seed, "batch": 0.5 + seed / 97, "group": 0.4 + seed / 91} for seed in range(8)]
TWICE = [*rows(), rows()[3] | {"lr": 1}]
MISTAKES: dict[str, tuple[object, dict[str, Any], str]] = {
    "no such column": (rows(), {"arm": "nrom"}, "`arm` must name a column.*Did you mean 'norm'"),
    "columns that are arms": (
        WIDE,
        {},
        r"must be one run.*no column 'norm', but batch, group. If batch and group.*"
        r"frame.melt\('seed', var_name='norm', value_name='val_loss'\)",
    ),
    "numbers for arms": (
        WIDE,
        {"arm": "batch", "metrics": "group:lower"},
        "several runs; got one of each of 8 arms in 'batch'. If batch and group are arms.*frame.melt",
    ),
    "one run of each arm": (rows(1), {}, "must have several runs; got one of each of 2 arms.*Give several seeds"),
    "one run of each arm and condition": (
        [row | {"data": data} for row in rows(1) for data in "abc"],
        {"conditions": "data"},
        "must have several runs; got one of each of 2 arms",
    ),
    "no such metric": (rows(), {"metrics": "valloss:lower"}, "`metrics` must name.*Did you mean 'val_loss'"),
    "no such seed": (rows(), {"seed": "sed"}, "`seed` must name a column.*Did you mean 'seed'"),
    "no metric": (rows(), {"metrics": []}, "a metric must be given"),
    "metric twice": (rows(), {"metrics": ["val_loss:lower", "val_loss:higher"]}, "each metric must be given once"),
    "direction": (rows(), {"metrics": "val_loss:loewr"}, "Did you mean 'lower'"),
    "text": ([*rows(), {"norm": "group", "seed": 9, "val_loss": "x"}], {}, "must hold numbers; got 'x' in row 17"),
    "one arm": (rows()[:8], {}, "two arms in 'norm'; got 'batch' alone"),
    "no rows": (rows(), {"where": ["norm=zebra"]}, "must leave rows.*norm is batch or group"),
    "no condition": (rows(), {"where": ["norm"]}, "must be column=value"),
    "control": (rows(), {"control": "bacth"}, "`control` must be one of.*Did you mean 'batch'"),
    "twice": (TWICE, {}, "one run for each arm and seed.*seed 3 of batch: rows 4, 17"),
    "history": ([row | {"epoch": n} for row in rows() for n in (1, 2)], {}, "say `step=epoch`"),
    "twice, with ids": (
        [row | {"id": place} for place, row in enumerate([*rows(), rows()[3]])],
        {},
        "Leave all but one of each out, or name the columns",
    ),
    "data": ([row | {"data": n} for row in rows() for n in "ab"], {}, "say `conditions=data`"),
    "take": (rows(), {"take": "best"}, "without a column of steps"),
    "take form": (rows(), {"take": "first", "step": "seed"}, "last, best or mean-of-last"),
    "empty arm": (
        [*rows(), {"norm": "", "seed": 9, "val_loss": 1}],
        {},
        "every run needs a value in 'norm'; got none in row 17",
    ),
    "an arm that is NaN": (
        pd.DataFrame([*rows(), {"norm": float("nan"), "seed": 9, "val_loss": 1.0}]),
        {},
        "every run needs a value in 'norm'; got none in row 17",
    ),
    "short history": (
        [row | {"epoch": epoch} for row in rows() for epoch in range(2 if row["seed"] else 4)],
        {"step": "epoch", "take": "mean-of-last=3"},
        "3 values.*fewer for seeds 1, 2, 3, 4, 5, 6 and 7 of batch.*take=mean-of-last=2",
    ),
    "history without runs": (
        [{"run": "a", "norm": row["norm"], "val_loss": row["val_loss"], "epoch": 1} for row in rows()],
        {"step": "epoch"},
        "which run they are of.*seed=run",
    ),
    "margin": (rows(), {"margin": "-2%"}, "`margin` must be a size above 0"),
    "other margin": (rows(), {"margin": {"acc": 0.1}}, "a margin must be of a metric that is judged"),
    "ratio of negatives": ([row | {"val_loss": -1.0} for row in rows()], {"margin": "2%"}, "needs positive values"),
    "pattern": (rows(), {"pattern": "(?P<x>"}, "regular expression"),
    "pattern without names": (rows(), {"pattern": "norm=b"}, "named groups"),
    "pattern that fits none": (rows(), {"pattern": "norm=(?P<x>q)"}, "16 that do not, such as 'batch'"),
    "columns": (rows(), {"conditions": ["norm"]}, "different columns; got 'norm' twice"),
    "ending": ("runs.xls", {}, "a file that ends in .csv"),
    "no file": ("none.csv", {}, "No such file"),
    "no table": (3, {}, "`table` must hold runs; got a int"),
    "nothing": ([], {}, "got no rows"),
    "no rows at all": ([1, 2], {}, "each row must be a mapping"),
    "uneven": ({"norm": ["a"], "val_loss": [1, 2]}, {}, "one length"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_a_message_that_says_what_to_do(name: str) -> None:
    table, how, message = MISTAKES[name]
    with pytest.raises(InputError, match=f"(?s){message}"):
        judged(table, **how)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("norm,seed\n", "no rows"),
        ("", "no rows"),
        ("norm,seed,seed\na,1,2\n", "each column once"),
        ("norm,seed,val_loss\na,1\n", "3 cells; got 2 in row 1"),
    ],
)
def test_a_broken_file_gets_a_message(content: str, message: str) -> None:
    Path("runs.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        judged("runs.csv")


def test_bytes_that_are_no_table() -> None:
    for name in ("runs.csv", "runs.parquet", "runs.json", "runs.csv.gz"):
        Path(name).write_bytes(bytes(range(128, 256)))
        with pytest.raises(InputError, match=r"must hold a table|can be read"):
            judged(name)


def test_the_command_says_the_same_as_the_call(commands: Any) -> None:
    pl.DataFrame(rows()).write_csv("runs.csv")
    asked = ("judge", "runs.csv", "--arm", "norm", "--metric", "val_loss:lower", "--margin", "2%")
    done = commands(*asked, "--json")
    assert done.status == 0
    assert json.loads(done.out) == json.loads(json.dumps(judged("runs.csv", margin="2%").summary()))
    shown = commands(*asked, "--out", "o", "--full-level-seeds", "1", "--seed", "seed", "--control", "batch")
    assert shown.out.startswith("Against batch, in val loss: group better")
    assert Path("o/report.html").exists()
    refused = commands("judge", "runs.csv", "--arm", "norm", "--metric", "val_loss:lower", "--margin", "x")
    assert refused.status == 2
    assert "--margin must be a size above 0; got 'x'" in refused.err
    named = commands(*asked[:-2], "--margin", "val_loss=2%", "--json")
    assert json.loads(named.out) == json.loads(done.out)
    assert math.isclose(json.loads(named.out)["metrics"][0]["margin"], math.log(1.02))


def varied(**columns: Callable[[int], object]) -> list[Row]:
    """The rows with further columns, by the place of the run."""
    return [row | {name: make(place) for name, make in columns.items()} for place, row in enumerate(rows())]


def warned(table: list[Row], **how: Any) -> str:
    return "\n".join(one for one in judged(table, **how).remarks if "differ in" in one)


@pytest.mark.parametrize(
    ("name", "make", "pairs"),
    [
        ("lr", lambda place: 10.0 ** -(place % 3), 8),
        ("lr", lambda place: math.exp(-place), 8),
        ("params.lr", lambda place: str(0.1 / (1 + place % 9)), 8),
        ("params_wide", lambda place: 64 + place % 9, 8),
        ("config.opt.name", lambda place: "sgd" if place < 13 else "adam", 3),
        ("optimizer", lambda place: "sgd" if place < 13 else "adam", 3),
        ("flavour", lambda place: "ab"[place == 9], 1),
        ("hiddenDim", lambda place: 64 if place == 9 else 128, 1),
        ("batch_size", lambda place: 64 + place % 9, 8),
    ],
)
def test_a_setting_that_differs_within_pairs_is_named(name: str, make: Callable[[int], object], pairs: int) -> None:
    table = varied(**{name: make})
    assert f"differ in {name} ({pairs} of 8 pairs) too: a verdict is of norm and of these" in warned(table)
    shuffled = [table[place] for place in np.random.default_rng(0).permutation(16)]
    assert warned(shuffled) == warned(table)
    assert f"Runs differ in {name} too, and not alike in each norm" in warned(table, unpaired=True)
    few = len({row[name] for row in table}) <= 4
    assert (f"`conditions={name}`" in warned(table)) == few
    assert warned([row | {name: make(row["seed"])} for row in table]) == ""  # the same in both runs of a pair


@pytest.mark.parametrize("prefixed", [False, True])
def test_results_times_ids_hosts_and_names_are_no_settings(prefixed: bool) -> None:
    table = varied(
        Name=lambda place: f"glad-sun-{place}",
        State=lambda place: ["finished", "crashed"][place % 3 == 0],
        Created=lambda place: f"2026-11-0{1 + place % 3}T10:00:00.000Z",
        start_time=lambda place: pd.Timestamp("2026-01-01") + pd.Timedelta(days=place % 3),
        Runtime=lambda place: 600 + place % 3,
        Hostname=lambda place: f"node{place % 3}",
        Agent=lambda place: "pqr"[place % 3],
        OS=lambda place: ["Linux-5", "Linux-6"][place % 2],
        Group=lambda place: "pqr"[place % 3],
        number=lambda place: place,
        job_id=lambda place: 70 - place % 3,
        train_loss=lambda place: 1 / (3 + place),
        best_epoch=lambda place: 7 + place % 3,
        top1=lambda place: 0.5 + place % 3,
        converged=lambda place: place % 3 == 0,
        data_seed=lambda place: place % 3,
        _step=lambda place: 100 * (place % 3),
        learned=lambda place: place % 2,
        mean_batch_statistics=lambda place: 1 / (3 + place),
    )
    others: dict[str, Callable[[int], object]] = {
        "val/hits": lambda place: place % 3,
        "metrics.hits": lambda place: place % 3,
        "config.run_name": lambda place: f"run{place}",
        "user_attrs_hits": lambda place: place % 3,
        "hits": lambda place: place % 3,  # where others are marked as settings, this is none
    }
    if prefixed:
        table = [row | {name: make(place) for name, make in others.items()} for place, row in enumerate(table)]
    assert warned(table) == ""
    assert warned(table, unpaired=True) == ""


def test_what_only_one_arm_has_and_a_schedule_within_runs_are_no_settings_that_differ() -> None:
    groups = varied(params_groups=lambda place: 2 ** (place % 3) if place >= 8 else "None")
    assert warned(groups) == ""
    assert warned(varied(params_groups=lambda place: "8" if place >= 8 else "nan")) == ""
    schedule = [
        row | {"epoch": epoch, "lr": 0.1 * (5 - epoch)} for row in rows() for epoch in range(4 + row["seed"] % 2)
    ]
    assert warned(schedule, step="epoch") == ""
    constant = [row | {"epoch": epoch, "lr": 0.1 + row["val_loss"]} for row in rows() for epoch in range(2)]
    assert "differ in lr (8 of 8 pairs)" in warned(constant, step="epoch")


def test_arms_that_differ_in_a_named_setting_are_told_even_where_each_has_its_own() -> None:
    assert "The arms differ in optimizer too" in warned(varied(optimizer=lambda place: "sgd" if place < 8 else "adam"))
    assert warned(varied(layer=lambda place: "BatchNorm2d" if place < 8 else "GroupNorm")) == ""
    assert warned(varied(parameters=lambda place: 652 + 100 * (place < 8))) == ""
