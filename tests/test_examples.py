"""The examples run as they stand, beside a study or a command, as a reader would run them."""

from __future__ import annotations

import math
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from normlab import Plan, cli, load, resolve
from normlab.analysis import gather
from normlab.study.library import load_study

EXAMPLES = Path(__file__).parents[1] / "examples"
Run = Callable[..., None]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command beside copies of all examples; the modules that it imports are forgotten afterwards."""
    for file in EXAMPLES.iterdir():
        if file.is_file():
            shutil.copy(file, file.name)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("own_norm", "own_task", "own_probe", "own_metric", "own_claim", "profile_model"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def call(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["normlab", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code in (0, None)

    return call


def test_compare(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "compare.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert "final_loss" in said
    assert Path("curves.png").stat().st_size > 10_000


def test_judge(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "judge.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert said.startswith("Against batch, in val loss: group better, layer better, perhaps by less than matters.")
    assert Path("judged/report.html").stat().st_size > 50_000


@pytest.mark.slow
def test_segmentation_with_a_batch_of_two_gets_an_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = EXAMPLES / "segmentation.py"
    assert len(script.read_text().splitlines()) < 30
    monkeypatch.syspath_prepend(str(EXAMPLES))
    runpy.run_path(str(script), run_name="__main__")
    said = capsys.readouterr().out
    assert said.startswith("GroupNorm (groups=4) leads on “SmallUNet (30 samples)”")
    assert "own (BatchNorm2d)" not in said.partition(";")[0]
    assert Path("segmentation.png").stat().st_size > 10_000


def test_own_norm_in_a_study(run: Run) -> None:
    norms = ["--norm", "batch", "--norm", "own_norm:CENTRED"]
    run("run", "article-once", *norms, "--seeds", "2", "--epochs", "1", "--workers", "1", "--out", "o")
    results = load("o")
    assert [item.norm for item in results.evidence.results] == ["batch", "own_norm:CENTRED"]
    assert {outcome.status for outcome in results.outcomes} == {"finished"}


def test_own_norm_does_what_its_entry_says(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("check", "own_norm:CENTRED")
    assert "everything that is claimed holds" in capsys.readouterr().out


def test_an_edited_norm_is_trained_anew_and_its_old_runs_are_named(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("run", "article-once", "--norm", "own_norm:CENTRED", "--seeds", "1", "--epochs", "1", "--workers", "1")
    run(*command, "--out", "o")
    before = load("o").outcomes
    module = Path("own_norm.py")
    module.write_text(module.read_text().replace("+ self.shift", "- self.shift"))
    del sys.modules["own_norm"]
    capsys.readouterr()
    run(*command, "--out", "o")
    assert "made with other code of yours" in " ".join(capsys.readouterr().err.split())
    assert {outcome.key for outcome in before}.isdisjoint(outcome.key for outcome in load("o").outcomes)


def test_own_task_learns_and_is_short(run: Run) -> None:
    assert len(Path("own_task.py").read_text().splitlines()) < 40
    run("run", "own_task.toml", "--norm", "batch", "--seeds", "2", "--epochs", "5", "--workers", "1")
    metrics = load("results/tones").metrics()
    assert metrics["status"].to_list() == ["finished"] * 2
    assert metrics["test_r2"].min() > 0.3, "its baseline is 0"


def test_every_norm_of_own_tasks_study_fits(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(".")
    plan: Plan = resolve(load_study("own_task.toml"))
    assert [arm.norm for arm in plan.arms] == list(plan.study.norms)


def test_own_probe_measures_the_length_of_the_weights(run: Run) -> None:
    run("run", "own_probe.toml", "--norm", "none", "--seeds", "1", "--epochs", "1", "--workers", "1")
    (outcome,) = load("results/lengths").outcomes
    series = outcome.series["weight_length"]
    assert series.steps.tolist() == [0, 17], "before the first step and after the epoch of 17"
    variance = (64 * 100 / 64 + 100 * 100 / 100 + 100 * 10 / 100) / 3  # weights are uniform in +-1/sqrt(fan-in)
    assert math.isclose(series.values[0], variance**0.5, rel_tol=0.02)
    run("export", "results/lengths", "--out", "metrics.csv")
    assert pl.read_csv("metrics.csv")["last_weight_length"][0] == pytest.approx(series.values[-1])


def test_own_metric_is_compared_from_what_is_stored(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    norms = ["--norm", "none", "--norm", "batch"]
    run("run", "article-once", *norms, "--seeds", "2", "--epochs", "3", "--workers", "1", "--out", "o")
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["own_metric.py", "o"])
    metric = runpy.run_path("own_metric.py", run_name="__main__")["BEST_LOSS"]
    assert capsys.readouterr().out.startswith("best test loss: ")
    results = load("o")
    for item in gather(results.plan, results.outcomes, extra=[metric]).results:
        lowest = [item.outcomes[seed].series["test_loss"].values.min() for seed in item.seeds]
        assert item.metrics["best_test_loss"].tolist() == lowest


@pytest.mark.slow
def test_own_claim_is_judged(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("claims", "run", "own_claim:SMALL_BATCHES", "--seeds", "2", "--engine", "fused", "--workers", "1")
    (finding,) = load("results/claims/small-batches").evidence.findings
    assert [part.verdict for part in finding.parts] == ["inconclusive", "inconclusive"], "two seeds decide nothing"
    assert "small-batches inconclusive" in capsys.readouterr().out


def test_profile_model(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "profile_model.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert "ResNet: 9 norms" in said
    assert "Transformer: 5 norms" in said
    assert Path("resnet/profile.png").stat().st_size > 10_000


def test_models_of_the_example_from_the_command(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("profile", "--model", "profile_model:transformer", "--input", "2,8,64", "--repeats", "1")
    assert "layers.1.norm2" in capsys.readouterr().out


def test_watch(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "watch.py"), run_name="__main__")
    wrong, right = capsys.readouterr().out.split("\n\nSequential, 2 norms, 120 steps: 3 warnings.\n\n")
    assert [line[:5] for line in wrong.splitlines() if line.startswith("NL")] == ["NL304", "NL503", "NL301"]
    assert right == "Sequential, 2 norms, 120 steps: nothing found.\n"
    assert Path("watch.png").stat().st_size > 10_000


def test_every_example_is_tested_here() -> None:
    models = {"compare", "judge", "profile_model", "segmentation", "small_unet", "watch"}
    own = {"own_claim", "own_metric", "own_norm", "own_probe", "own_task"}
    assert {path.stem for path in EXAMPLES.iterdir() if path.is_file()} == models | own
