"""The benchmark of the engines works, and its contenders do the same job; nothing is asserted about time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from time import sleep

import numpy as np
import pytest
import torch
from torch import nn

import engines
import layers
import probe_costs
import swap
import watch
from costs.report import targets
from costs.traffic import Traffic, count_traffic
from normlab.engine.sequential import Sequential
from normlab.probes.catalog import PROBES
from normlab.recipe import Cohort
from speed import ours
from speed.floor import Peaks, count_operations, floor_of
from speed.jaxed import scanned
from speed.job import Timed, Unavailable, make_job
from speed.loops import bare, threads
from speed.ours import oracle
from speed.processes import PROCESSES
from speed.rounds import compare, deviation
from speed.vmapped import eager

QUICK = ["--quick", "--rounds", "2", "--replicas", "2", "--skip", "compiled", "--skip", "jax"]


@pytest.mark.slow
def test_article_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    norms = ["--norm", "layer"]
    with threads(1):  # two threads crawl where other tests run on the other core
        assert engines.main(["--part", "article", *QUICK, *norms, "--out", f"{tmp_path}/b"]) == 0
    assert "all 5 agree" in capsys.readouterr().out

    result = json.loads((tmp_path / "b.json").read_text())
    found = result["parts"]["article"]["norms"]
    assert list(found) == ["layer"]
    rows = {row["key"]: row for row in found["layer"]["rows"]}
    assert {"published", "loop1", "vmap", "compiled", "jax", "sequential"} <= set(rows)
    assert rows["jax"]["skipped"] == "left out by --skip"
    timed = [row for row in rows.values() if not row["skipped"]]
    assert {len(row["rounds"]) for row in timed} == {2}
    assert {set(row["ratios"]) == {other["key"] for other in timed} for row in timed} == {True}
    assert rows["vmap"]["deviation"] < 1e-3
    assert rows["published"]["deviation"] is None
    assert (tmp_path / "b.png").stat().st_size > 10_000
    page = (tmp_path / "b.md").read_text()
    assert "torch.func vmap, eager" in page
    assert str(tmp_path) not in page


def test_other_parts_of_the_same_day_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(_: object) -> None:
        raise Unavailable("not in this test")

    monkeypatch.setitem(PROCESSES, "growth", nothing)
    monkeypatch.setitem(PROCESSES, "cold", nothing)
    for part in ("cold", "growth"):
        assert engines.main(["--part", part, "--out", f"{tmp_path}/b.json"]) == 0
    assert list(json.loads((tmp_path / "b.json").read_text())["parts"]) == ["growth", "cold"]
    assert "not in this test" in (tmp_path / "b.md").read_text()


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "group:groups=10"])
def test_contenders_find_the_losses_of_the_oracle(norm: str) -> None:
    job = make_job("article", norm, 3, 2)
    expected = oracle(job)
    np.testing.assert_allclose(bare(job).train().losses, expected[:1], rtol=1e-4)
    np.testing.assert_allclose(eager(job).train().losses, expected, rtol=1e-4)


def test_every_engine_has_a_row_without_probes_and_one_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare(Sequential):
        name = "bare"

        def bare_training(self, cohort: Cohort) -> Callable[[], None]:
            return lambda: sleep(1e-3 * len(cohort.seeds))

    monkeypatch.setattr(ours, "ENGINES", (Bare(), Sequential()))
    found = compare(
        make_job("article", "layer", 2, 1), ours.contenders(make_job("article", "layer", 2, 1)), 1, [], print
    )
    assert [row.key for row in found.rows] == ["bare-alone", "bare", "sequential-alone", "sequential"]
    assert found.bases == ["bare-alone", "bare"]
    assert found.rows[0].rounds[0] >= 1e3 / 16
    assert found.rows[0].ratios["bare-alone"].median == 1


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "group:groups=10"])
def test_jax_finds_the_losses_of_the_oracle(norm: str) -> None:
    pytest.importorskip("jax", reason="the extra `bench` is not installed")
    job = make_job("article", norm, 3, 2)
    np.testing.assert_allclose(scanned(job).train().losses, oracle(job), rtol=1e-3)


def test_a_norm_that_does_not_fit_is_left_out_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert engines.main(["--part", "article", *QUICK, "--norm", "group:groups=11"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Left out: a study must leave something to train" in said
    assert "the number of groups must divide the channels" in said


def test_a_wrong_contender_is_noticed() -> None:
    truth = np.ones((2, 5))
    assert deviation(Timed(1.0, truth), truth) == 0
    assert deviation(Timed(1.0, np.array([[1, 1, 1, 1, 1.5]])), truth) == 0.5


def test_operations_are_counted_by_hand() -> None:
    job = make_job("article", "none", 1, 1)
    matrices = 2 * (2 * 10 * 50 + 3 * 50 * 2)  # no gradient of the inputs
    elements = 2 * (50 + 2) + 2 * 50 + 10 * 2  # biases, activation, loss
    assert count_operations(job) == pytest.approx(62.5 * (matrices + elements) + 13 * 652)
    assert floor_of(job, Peaks(flops=1e9, bandwidth=1e12)).microseconds == pytest.approx(count_operations(job) / 1e3)


def test_layers_do_the_same_and_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    norms = ["--norm", "rms", "--norm", "group", "--norm", "dyt"]
    with threads(1):
        assert layers.main(["--quick", "--skip", "compiled", *norms, "--out", f"{tmp_path}/l"]) == 0
    assert "over LayerNorm" in capsys.readouterr().out
    (size,) = json.loads((tmp_path / "l.json").read_text())["sizes"]
    rows = {(row["norm"], row["layout"], row["who"]): row for row in size["rows"]}
    assert {who for norm, _, who in rows if norm == "rms"} == {"normlab", "torch's own", "composition", "timm"}
    assert rows["layer", "NLC", "torch's own"]["over_layer"]["median"] == 1
    timed = [row for row in rows.values() if not row["skipped"]]
    assert all(row["deviation"] < 1e-5 and len(row["rounds"]) == 2 for row in timed)
    assert all(sum(row["made_of"].values()) == pytest.approx(row["milliseconds"]["median"]) for row in timed)
    page = (tmp_path / "l.md").read_text()
    assert "slower than composition" in page
    assert str(tmp_path) not in page
    assert (tmp_path / "l.png").stat().st_size > 10_000


def test_passes_and_fresh_tensors_are_counted_by_hand() -> None:
    x, dy = torch.randn(64, 64, requires_grad=True), torch.randn(64, 64)

    class Double(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x * 2).mul_(3)

    # forward: read x, write a fresh tensor, read and write it in place; backward: two fresh products
    assert count_traffic(Double(), x, dy) == Traffic(reads=4, writes=4, fresh=3)
    assert count_traffic(torch.nn.Identity(), x, dy) == Traffic(0, 0, 0)


def test_targets_are_judged_on_large_tensors_only() -> None:
    def row(norm: str, mode: str, milliseconds: float, over: float) -> dict[str, object]:
        named = {"norm": norm, "layout": "NLC", "who": "normlab", "mode": mode, "skipped": ""}
        ratios = {"over_layer": {"median": milliseconds / 10}, "over_composition": {"median": over}}
        return named | ratios | {"milliseconds": {"median": milliseconds}}

    rows = [row("rms", "eager", 30.0, 1.2), row("rms", "compiled", 11.0, 0.9), row("dyt", "eager", 13.0, 1.0)]
    size = {"mebibytes": 64.0, "rows": rows, "fresh_floor_ms": 5.0}
    rms, dyt = targets(size)
    assert (rms["mode"], rms["met"], rms["slower_than_composition"]) == ("compiled", True, ["eager"])
    assert (dyt["mode"], dyt["met"], dyt["over_floor"]) == ("eager", False, 2.6)
    assert {found["met"] for found in targets(size | {"mebibytes": 2.0})} == {None}


def test_wrong_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        engines.main(["--part", "nothing"])
    assert end.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


def test_the_costs_of_probes_have_a_row_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert probe_costs.main(["--task", "article", "--rounds", "1"]) == 0
    shown = capsys.readouterr().out
    assert [probe.name for probe in PROBES if probe.name not in shown] == []


@pytest.mark.parametrize("way", swap.WAYS)
def test_a_swap_of_a_large_model_shares_what_stays(way: str) -> None:
    row = swap.measure(way, "meta", layers=1, norm="layer")
    assert row["norms"] == 3
    assert row["parameters"] > 10**8
    assert row["same_tensors"] == (way != "copy")


def test_a_watched_step_is_set_against_a_plain_one() -> None:
    def small() -> tuple[nn.Module, torch.Tensor]:
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)), torch.randn(16, 4)

    costs = watch._costs(small, rounds=2, device="cpu")
    assert set(costs) == {"seconds", "again", "between", "sampled", "watched"}
    assert all(spread.low <= spread.median <= spread.high for spread in costs.values())
    assert costs["seconds"].low > 0
    ends = sorted((costs["between"].median, costs["sampled"].median))
    assert ends[0] * 0.5 < costs["watched"].median < ends[1] * 2  # 49 steps of one and 1 of the other
    assert watch._table({"small": costs}).row_count == 1
