"""`normlab run` as a user types it: whole commands in a temporary folder, and every kind of mistake."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import normlab
import normlab.store.directory
from helpers import small_study

QUICK = ["--seeds", "2", "--epochs", "2", "--workers", "1", "--set", "measure.noise_steps=4"]


def test_run_leaves_pictures_page_and_summary(command) -> None:
    done = command("run", "article-once", *QUICK, "--out", "mine")
    assert done.status == 0
    assert {"article.png", "curves.png", "noise.png", "report.html", "summary.json", "study.toml", "runs"} <= {
        path.name for path in Path("mine").iterdir()
    }
    summary = json.loads(Path("mine/summary.json").read_text())
    assert summary["schema"] == 2
    assert summary["study"]["training"]["epochs"] == 2
    assert [result["norm"] for result in summary["results"]] == ["none", "batch", "layer", "group:groups=5"]
    assert "No norm can be recommended" in " ".join(done.out.split())
    assert "article-a not testable here" in done.out
    assert "8 runs" in done.err


@pytest.mark.slow
def test_the_cnn_study_on_the_stacked_engine(command) -> None:
    """From the command to the report, with the engine and the reason for it in the summary."""
    small = ["--set", "model.hidden=[4,8,8]", "--norm", "batch", "--norm", "group:groups=4", "--norm", "instance"]
    done = command("run", "digits-cnn", *QUICK, *small, "--engine", "stacked", "--out", "cnn")
    assert done.status == 0
    assert "Engine stacked for batch" in done.err
    summary = json.loads(Path("cnn/summary.json").read_text())
    assert [result["norm"] for result in summary["results"]] == ["batch", "group:groups=4", "instance"]
    assert "stacked" in json.dumps(summary["environment"])
    assert all(0 <= result["metrics"]["test_accuracy"]["mean"] <= 1 for result in summary["results"])
    assert {outcome.environment["engine"] for outcome in normlab.load("cnn").outcomes} == {"stacked"}

    refused = command(
        "run", "article-once", *QUICK, "--norm", "helpers:BRANCHING", "--engine", "stacked", "--out", "no"
    )
    assert refused.status == 2
    assert "data-dependent control flow" in refused.err
    assert not Path("no").exists()


def test_the_summary_has_its_stable_names(command) -> None:
    command("run", "digits", *QUICK, "--norm", "batch", "--norm", "rms", "--norm", "group:groups=100", "--out", "d")
    summary = json.loads(Path("d/summary.json").read_text())
    assert {"study", "environment", "results", "comparisons", "claims", "skipped"} <= set(summary)
    for result in summary["results"]:
        assert {"task", "model", "training", "norm", "parameters", "runs", "finished", "diverged", "failed"} <= set(
            result
        )
        for metric in (
            "final_loss",
            "final_batch_loss",
            "early_log_loss",
            "fluctuation_total",
            "fluctuation_iterate",
            "fluctuation_sampling",
            "fluctuation_batch_statistics",
            "test_loss",
            "test_accuracy",
        ):
            assert {"mean", "sd", "median", "ci"} <= set(result["metrics"][metric])
        assert [(used["engine"], used["runs"]) for used in result["engines"]] == [("fused", 2)]
        assert all(used["because"] for used in result["engines"])
    for comparison in summary["comparisons"]:
        names = [
            "metric",
            "model",
            "training",
            "a",
            "b",
            "difference",
            "ci",
            "p",
            "p_holm",
            "probability_a_better",
            "verdict",
            "seeds_needed",
        ]
        assert set(names) <= set(comparison)
    assert [set(skipped) for skipped in summary["skipped"]] == [{"what", "reason", "sentence"}]
    assert json.loads(command("show", "d", "--json").out) == summary


def test_flags_change_the_study_they_name(command) -> None:
    command(
        *("run", "article-once", *QUICK, "--norm", "rms", "--norm", "none", "--batch-size", "100", "--lr", "0.01"),
        *("--optimizer", "sgd", "--set", "training.momentum=0.9", "--set", "title=Mine", "--out", "x"),
    )
    study = normlab.load("x").study
    assert study.norms == ("rms", "none")
    assert (study.training.batch_size, study.training.learning_rate) == (100, 0.01)
    assert (study.training.optimizer, study.training.momentum, study.title) == ("sgd", 0.9, "Mine")


def test_a_study_can_be_copied_changed_run_and_run_again(command) -> None:
    copied = command("studies", "show", "article-once").out
    Path("mine.toml").write_text(copied.replace("seeds = 30", "seeds = 1").replace("epochs = 50", "epochs = 1"))
    assert command("run", "mine.toml", "--workers", "1", "--out", "first").status == 0
    again = command("run", "first/study.toml", "--workers", "1", "--out", "first")
    assert again.status == 0
    assert "4 runs (4 norms, 1 condition, 1 seed), of which 4 are there" in again.err


def test_the_default_folder_is_named_after_the_study(command) -> None:
    assert command("run", "article-once", *QUICK, "--norm", "none", "--norm", "rms").status == 0
    assert [folder.name for folder in Path("results").iterdir()] == ["article-once"]
    again = command("run", "article-once", *QUICK, "--norm", "none", "--norm", "layer")
    assert "4 runs (2 norms, 1 condition, 2 seeds), of which 2 are there" in again.err


def test_some_failed_runs_give_status_1(command) -> None:
    done = command("run", "article-once", *QUICK, "--norm", "none", "--norm", "helpers:FAILING", "--out", "f")
    assert done.status == 1
    assert "2 failed" in done.out
    assert json.loads(Path("f/summary.json").read_text())["results"][1]["failed"] == 2


def test_a_dry_run_writes_nothing(command) -> None:
    command("run", "article-once", *QUICK, "--norm", "none", "--norm", "rms", "--out", "mine")
    for folder, there in (("mine", True), ("results", False)):
        before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in Path().rglob("*")}
        flags = ["--out", "mine"] if there else []
        done = command("run", "article-once", *QUICK, "--norm", "none", "--norm", "layer", *flags, "--dry-run")
        assert done.status == 0
        said = "4 runs (2 norms, 1 condition, 2 seeds)" + (", of which 2 are there" if there else "")
        assert f"{said}; 1 at a time, into {folder}" in " ".join(done.out.split())
        assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in Path().rglob("*")} == before


def test_of_seeds_that_are_added_until_it_is_decided_the_most_are_named(command) -> None:
    """What a fixed number of seeds allows is not said, for there is none."""
    flags = ["--until-decided", "--max-seeds", "20", "--engine", "sequential", "--dry-run"]
    done = command("run", "article-once", "--norm", "none", "--norm", "rms", *flags)
    said = " ".join(done.out.split())
    assert "Seeds are added until every comparison is decided or hopeless, up to 20 seeds." in said
    assert "no p can be below" not in said


def test_what_cannot_be_trained_is_skipped_and_said(command) -> None:
    norms = ["--norm", "none", "--norm", "batch"]
    done = command("run", "article-once", *QUICK, *norms, "--sweep", "training.batch_size=1,100,2000", "--dry-run")
    said = " ".join(done.out.split())
    assert done.status == 0
    assert "6 runs (2 norms, 2 conditions, 2 seeds)" in said
    assert "batch on article at batch_size 1" in said
    assert "at most the 1000 training samples" in said


def test_where_every_run_fails_there_is_no_answer_but_the_errors(command) -> None:
    done = command("run", "article-once", *QUICK, "--norm", "helpers:FAILING", "--out", "f")
    assert done.status == 1
    assert "RuntimeError: the third call was too much" in " ".join(done.out.split())
    assert "Traceback" not in done.err
    for again in (("show", "f"), ("report", "f"), ("export", "f")):
        assert command(*again).status in (0, 1)
    assert json.loads(Path("f/summary.json").read_text())["results"][0]["failed"] == 2


def test_a_folder_in_which_nothing_is_trained_yet_can_be_looked_at(command) -> None:
    """Where the message after Ctrl-C sends people."""
    plan = normlab.resolve(small_study())
    normlab.store.directory.create(Path("empty")).keep_plan(plan)
    for arguments in (("show", "empty"), ("show", "empty", "--json"), ("report", "empty"), ("export", "empty")):
        done = command(*arguments)
        assert "Traceback" not in done.err
        assert done.status in (0, 1, 2), arguments


def test_a_full_disk_is_told_once_and_what_is_stored_stays(command, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    add = normlab.store.directory.Store.add

    def write(self, outcomes) -> None:
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        calls.append(outcomes)
        add(self, outcomes)

    monkeypatch.setattr(normlab.store.directory.Store, "add", write)
    done = command("run", "article-once", *QUICK, "--engine", "sequential", "--out", "mine")
    assert done.status == 1
    assert "mine cannot be written any more (No space left on device). What was finished is kept in it" in done.err
    assert "Traceback" not in done.err
    monkeypatch.setattr(normlab.store.directory.Store, "add", add)
    assert len(normlab.load("mine").outcomes) == 3
    assert "of which 3 are there" in command("run", "mine/study.toml", "--workers", "1", "--out", "mine").err


def test_a_model_too_large_for_the_memory_gets_a_message(mistake) -> None:
    wide = ["--set", "model.hidden=[1000000, 1000000]"]
    assert "not enough memory" in mistake("run", "article-once", *QUICK, *wide, "--norm", "none", "--norm", "rms")


def test_what_is_kept_is_told_when_interrupted(command, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    add = normlab.store.directory.Store.add

    def interrupt(self, outcomes) -> None:
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(outcomes)
        add(self, outcomes)

    monkeypatch.setattr(normlab.store.directory.Store, "add", interrupt)
    done = command("run", "article-once", *QUICK, "--engine", "sequential", "--out", "mine")
    assert done.status == 130
    assert "3 of 8 runs are finished and kept in mine" in done.err
    assert "normlab run mine/study.toml --out mine" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "artcle"], "Did you mean 'article'?"),
        (["run", "article-once", "--norm", "bacth"], "Did you mean 'batch'?"),
        (["run", "article-once", "--norm", "group:groups=7"], "7 groups do not divide 50 channels"),
        (["run", "article-once", "--set", "training.bath=1"], "training.bath: no such field"),
        (["run", "article-once", "--set", "epochs"], "--set must be field=value"),
        (["run", "article-once", "--set", "seeds.x=1"], "seeds"),
        (["run", "article-once", "--batch-size", "0"], "training.batch_size"),
        (["run", "article-once", "--norm", "batch", "--batch-size", "1"], "one element per statistic"),
        (["run", "article-once", "--batch-size", "1001"], "at most the 1000 training samples"),
        (["run", "article-once", "--lr", "-1"], "training.learning_rate: must be greater than 0"),
        (["run", "article-once", "--seeds", "0"], "seeds"),
        (["run", "article-once", "--seeds", "many"], "must be a whole number"),
        (["run", "article-once", "--seeds", "1e3"], "got '1e3'"),
        (["run", "article-once", "--lr", "fast"], "must be a number"),
        (["run", "article-once", "--epochs", "1000000"], "epochs must be at most 20000"),
        (["run", "article-once", "--workers", "-2"], "workers must be at least 1"),
        (["run", "article-once", "--set", "norms=batch"], "norms: must be a list"),
        (["run", "article-once", "--set", "training=3"], "training: must be a table"),
        (["run", "article-once", "--set", "name=../x"], "name: must be letters, digits"),
        (["run", "article-once", "--norm", "batch", "--norm", "batch"], "'batch' twice"),
        (["run", "thesis"], "STUDY must be"),
        (["run", "folder.toml"], "Is a directory"),
        (["run", "true.toml"], "schema must be 2"),
        (["run", "article-once", "--optimizer", "lion"], "training.optimizer"),
        (["run", "article-once", "--engine", "warp"], "engine must be auto or a known engine"),
        (["run", "article-once", "--workers", "0"], "workers must be at least 1"),
        (["run", "article-once", "--device", "cuda:7"], "device must be one that this machine has"),
        (["run", "article-once", "--norm", "helpers:OWN_BATCH"], "no population statistics"),
        (["run", "article-once", "--norm", "group:groups=50"], "something to train"),
        (["run", "broken.toml"], "line 1"),
        (["run", "old.toml"], "schema must be 2"),
        (["run", "claimless.toml"], "claim must be a known name"),
        (["run", "latin.toml"], "not UTF-8"),
        (
            ["run", "article-once", "--out", "first-edition"],
            "first-edition, in format 1. Use the normlab that wrote it",
        ),
        (["run", "article-once", "--set", "setting.epochs=1"], "It is training.epochs now"),
        (["run", "article-once", "--sweep", "training.bath=1,2"], "sweep: "),
        (["run", "article-once", "--sweep", "epochs=1,2"], "Did you mean 'training.epochs'?"),
        (["run", "article-once", "--sweep", "training.epochs"], "--sweep must be"),
        (["run", "article-once", "--sweep", "training.epochs="], "--sweep must be field=value,value"),
        (
            ["run", "article-once", "--sweep", "training.epochs=0,-1"],
            "epochs: must be greater than or equal to 1; got -1",
        ),
        (["run", "article-once", "--sweep", "model.depht=1"], "model"),
        (["run", "article-once", "--epochs", "3", "--sweep", "training.epochs=1,2"], "given once or swept"),
        (["run", "article-once", "--out", "thesis"], "thesis, which holds 'draft.tex'"),
        (["run", "article-once", "--out", "broken.toml"], "the output folder must be writable"),
        (["run", "article-once", "--out", "/proc/normlab"], "the output folder must be writable"),
        (["run", "article-once", "--sedes", "3"], "--sedes"),
    ],
)
def test_a_mistake_gets_one_message_status_2_and_leaves_nothing(mistake, arguments: list[str], message: str) -> None:
    assert message in mistake(*arguments)


OWN_NORM = """
from dataclasses import replace
from normlab.norms.none import NONE
MINE = replace(NONE, name="mine", title="Mine")
"""


def test_a_module_beside_the_study_is_found_from_any_folder(command, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("studies").mkdir()
    Path("studies/norms_beside_the_study.py").write_text(OWN_NORM)
    Path("studies/mine.toml").write_text(
        small_study(norms=["none"]).to_toml().replace('"none"', '"none", "norms_beside_the_study:MINE"')
    )
    done = command("run", "studies/mine.toml", "--workers", "1", "--out", "mine")
    sys.modules.pop("norms_beside_the_study", None)
    assert done.status == 0
    assert "Mine" in done.out


def test_a_module_that_fails_gets_one_message(mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # beside the module, where nothing may be written
    Path("failing_norms.py").write_text("import nothing_of_this_name\n")
    err = mistake("run", "article-once", "--norm", "failing_norms:MINE")
    assert "No module named 'nothing_of_this_name'). The module fails in line 1 of" in err
