"""The command line as a user types it: whole commands in a temporary folder, and every kind of mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import normlab
import normlab.norms.catalog
import normlab.store.directory
from helpers import small_study

QUICK = ["--seeds", "2", "--epochs", "2", "--workers", "1", "--set", "measure.noise_steps=4"]


@pytest.fixture
def command(commands):
    return commands


def test_run_leaves_pictures_page_and_summary(command) -> None:
    done = command("run", "article", *QUICK, "--out", "mine")
    assert done.status == 0
    assert {"article.png", "curves.png", "noise.png", "report.html", "summary.json", "study.toml", "runs"} <= {
        path.name for path in Path("mine").iterdir()
    }
    summary = json.loads(Path("mine/summary.json").read_text())
    assert summary["schema"] == 1
    assert summary["study"]["setting"]["epochs"] == 2
    assert [result["norm"] for result in summary["results"]] == ["none", "batch", "layer", "group:groups=5"]
    assert "No norm can be recommended" in " ".join(done.out.split())
    assert "article-a not testable here" in done.out
    assert "8 runs" in done.err


def test_the_cnn_study_on_the_stacked_engine(command) -> None:
    """From the command to the report, with the engine and the reason for it in the summary."""
    small = ["--set", "setting.hidden=[4,8,8]", "--norm", "batch", "--norm", "group:groups=4", "--norm", "instance"]
    done = command("run", "digits-cnn", *QUICK, *small, "--engine", "stacked", "--out", "cnn")
    assert done.status == 0
    assert "Engine stacked for batch" in done.err
    summary = json.loads(Path("cnn/summary.json").read_text())
    assert [result["norm"] for result in summary["results"]] == ["batch", "group:groups=4", "instance"]
    assert "stacked" in json.dumps(summary["environment"])
    assert all(0 <= result["metrics"]["test_accuracy"]["mean"] <= 1 for result in summary["results"])
    assert {outcome.environment["engine"] for outcome in normlab.load("cnn").outcomes} == {"stacked"}

    refused = command("run", "article", *QUICK, "--norm", "helpers:BRANCHING", "--engine", "stacked", "--out", "no")
    assert refused.status == 2
    assert "data-dependent control flow" in refused.err
    assert not Path("no").exists()


def test_the_summary_has_its_stable_names(command) -> None:
    command("run", "digits", *QUICK, "--norm", "batch", "--norm", "rms", "--norm", "group:groups=100", "--out", "d")
    summary = json.loads(Path("d/summary.json").read_text())
    assert {"study", "environment", "results", "comparisons", "claims", "skipped"} <= set(summary)
    for result in summary["results"]:
        assert {"task", "setting", "norm", "parameters", "runs", "finished", "diverged", "failed"} <= set(result)
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
            "setting",
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
    assert [set(skipped) for skipped in summary["skipped"]] == [{"what", "reason"}]
    assert json.loads(command("show", "d", "--json").out) == summary


def test_flags_change_the_study_they_name(command) -> None:
    command(
        *("run", "article", *QUICK, "--norm", "rms", "--norm", "none", "--batch-size", "100", "--lr", "0.01"),
        *("--optimizer", "sgd", "--set", "setting.momentum=0.9", "--set", "title=Mine", "--out", "x"),
    )
    study = normlab.load("x").study
    assert study.norms == ("rms", "none")
    assert (study.setting.batch_size, study.setting.learning_rate) == (100, 0.01)
    assert (study.setting.optimizer, study.setting.momentum, study.title) == ("sgd", 0.9, "Mine")


def test_a_study_can_be_copied_changed_run_and_run_again(command) -> None:
    copied = command("studies", "show", "article").out
    Path("mine.toml").write_text(copied.replace("seeds = 30", "seeds = 1").replace("epochs = 50", "epochs = 1"))
    assert command("run", "mine.toml", "--workers", "1", "--out", "first").status == 0
    again = command("run", "first/study.toml", "--workers", "1", "--out", "first")
    assert again.status == 0
    assert "4 of 4 runs are there already" in again.err


def test_the_default_folder_is_named_after_the_study(command) -> None:
    assert command("run", "article", *QUICK, "--norm", "none", "--norm", "rms").status == 0
    (folder,) = Path("results").iterdir()
    assert folder.name == f"article-{normlab.load(folder).study.key[:7]}"


def test_report_and_show_work_from_the_stored_runs(command) -> None:
    command("run", "article", *QUICK, "--out", "mine")
    before = Path("mine/report.html").read_bytes()
    Path("mine/report.html").unlink()
    assert command("report", "mine").status == 0
    assert Path("mine/report.html").read_bytes() == before
    shown = command("show", "mine")
    assert "all comparisons" in shown.out
    assert "BatchNorm" in shown.out


def test_some_failed_runs_give_status_1(command) -> None:
    done = command("run", "article", *QUICK, "--norm", "none", "--norm", "helpers:FAILING", "--out", "f")
    assert done.status == 1
    assert "2 failed" in done.out
    assert json.loads(Path("f/summary.json").read_text())["results"][1]["failed"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "artcle"], "Did you mean 'article'?"),
        (["run", "article", "--norm", "bacth"], "Did you mean 'batch'?"),
        (["run", "article", "--norm", "group:groups=7"], "7 groups do not divide 50 channels"),
        (["run", "article", "--set", "setting.bath=1"], "setting.bath: no such field"),
        (["run", "article", "--set", "epochs"], "--set must be field=value"),
        (["run", "article", "--set", "seeds.x=1"], "seeds"),
        (["run", "article", "--batch-size", "0"], "setting.batch_size"),
        (["run", "article", "--batch-size", "1"], "one element per statistic"),
        (["run", "article", "--batch-size", "1001"], "at most the 1000 training samples"),
        (["run", "article", "--lr", "-1"], "setting.learning_rate: must be greater than 0"),
        (["run", "article", "--seeds", "0"], "seeds"),
        (["run", "article", "--seeds", "many"], "must be a whole number"),
        (["check", "layer", "--channels", "many"], "must be a whole number"),
        (["run", "article", "--seeds", "1e3"], "got '1e3'"),
        (["run", "article", "--lr", "fast"], "must be a number"),
        (["run", "article", "--epochs", "1000000"], "setting.epochs: must be at most 20000"),
        (["run", "article", "--workers", "-2"], "workers must be at least 1"),
        (["run", "article", "--set", "norms=batch"], "norms: must be a list"),
        (["run", "article", "--set", "setting=3"], "setting: must be a table"),
        (["run", "article", "--set", "name=../x"], "name: must be letters, digits"),
        (["run", "article", "--norm", "batch", "--norm", "batch"], "'batch' twice"),
        (["run", "thesis"], "STUDY must be"),
        (["run", "folder.toml"], "Is a directory"),
        (["run", "true.toml"], "schema must be 1"),
        (["run", "article", "--optimizer", "lion"], "setting.optimizer"),
        (["run", "article", "--engine", "warp"], "engine must be auto or a known engine"),
        (["run", "article", "--workers", "0"], "workers must be at least 1"),
        (["run", "article", "--device", "cuda:7"], "device must be one that this machine has"),
        (["run", "article", "--norm", "helpers:OWN_BATCH"], "no population statistics"),
        (["run", "article", "--norm", "group:groups=50"], "something to train"),
        (["run", "broken.toml"], "line 1"),
        (["run", "old.toml"], "schema must be 1"),
        (["run", "claimless.toml"], "claim must be a known name"),
        (["run", "latin.toml"], "not UTF-8"),
        (["run", "article", "--out", "occupied"], "occupied, which holds another one"),
        (["run", "article", "--out", "thesis"], "thesis, which holds 'draft.tex'"),
        (["run", "article", "--out", "broken.toml"], "the output folder must be writable"),
        (["run", "article", "--out", "/proc/normlab"], "the output folder must be writable"),
        (["report", "nowhere"], "DIR must be a folder that normlab run made"),
        (["show", "thesis"], "DIR must be a folder that normlab run made"),
        (["explain", "bach"], "Did you mean 'batch'?"),
        (["explain", "batch", "--shape", "32,64,x", "--out", "a.png"], "whole numbers with commas"),
        (["explain", "batch", "--shape", "32,0", "--out", "a.png"], "must be at least 1; got"),
        (["explain", "batch", "--shape", "32,-4", "--out", "a.png"], "must be at least 1; got"),
        (["explain", "batch", "--shape", "32", "--out", "a.png"], "shape must have 2 to 5 sizes"),
        (
            ["explain", "batch", "--shape", "1,2,3", "--layout", "NCHW", "--out", "a.svg"],
            "must have 4 sizes for layout",
        ),
        (["explain", "batch", "--layout", "NWHC"], "must be a known order of axes"),
        (["explain", "group:groups=7", "--shape", "32,64", "--out", "a.png"], "7 groups do not divide 64 channels"),
        (["explain", "batch", "--shape", "2,3,4", "--layout", "NLC", "--out", "a.html"], "form for NLC input"),
        (["explain", "batch", "--out", "a.gif"], "must end in .png, .svg, .html"),
        (["explain", "batch", "--out", "nowhere/a.png"], "nowhere"),
        (["norms", "--layout", "NHWC"], "layout must be a known one"),
        (["norms", "--invariance", "colour"], "invariance must be a known one"),
        (["norms", "--invariance", "scale,colour"], "invariance must be a known one; got 'colour'"),
        (["norms", "--batch-free", "--couples-batch"], "a norm is free of the batch or couples it"),
        (["explain", "BatchNorm2d"], "Did you mean 'batch'?"),
        (["check", "bacth"], "Did you mean 'batch'?"),
        (["check", "helpers:small_study"], "takes no layout"),
        (["studies", "show", "digit"], "Did you mean 'digits'?"),
        (["rum"], "rum"),
        (["run", "article", "--sedes", "3"], "--sedes"),
    ],
)
def test_a_mistake_gets_one_message_status_2_and_leaves_nothing(command, arguments: list[str], message: str) -> None:
    Path("broken.toml").write_text("name = x\n")
    Path("old.toml").write_text("schema = 0\n")
    Path("true.toml").write_text("schema = true\n")
    Path("folder.toml").mkdir()
    Path("latin.toml").write_bytes(b'name = "\xe9"\n')
    Path("claimless.toml").write_text(small_study(claims=["article-z"]).to_toml())
    Path("thesis").mkdir()
    Path("thesis/draft.tex").touch()
    normlab.store.directory.create(Path("occupied"), small_study(), "x")
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    done = command(*arguments)
    assert done.status == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert " runs (" not in done.err, "the mistake is all that is said"
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before


def test_a_model_too_large_for_the_memory_gets_a_message(command) -> None:
    wide = ["--set", "setting.hidden=[1000000, 1000000]"]
    done = command("run", "article", *QUICK, *wide, "--norm", "none", "--norm", "rms", "--out", "wide")
    assert done.status == 1
    assert "not enough memory" in done.err
    assert "Traceback" not in done.err


def test_norms_and_studies_are_listed(command) -> None:
    listed = command("norms").out
    assert all(spec.name in listed for spec in normlab.norms.catalog.NORMS)
    studies = command("studies").out
    assert "article" in studies
    assert "digits" in studies


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch):
    """Lets a command print as in a terminal of so many columns."""

    def set_columns(width: int) -> None:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(normlab.terminal._OUT, "_width", width)

    return set_columns


@pytest.mark.parametrize("width", [80, 100, 140, 200])
def test_the_table_of_norms_is_whole_at_any_width(command, columns, width: int) -> None:
    columns(width)
    listed = command("norms").out
    assert max(map(len, listed.splitlines())) <= width
    assert "…" not in listed
    rows = {line.strip(" │┃").split()[0]: line for line in listed.splitlines() if line.strip(" │┃")}
    assert "2C + 2K" in rows["switchable"]
    assert "SyncBatchNorm" in rows["sync-batch"]
    assert ("momentum" in listed) == (width >= 140), "options are told where there is room"
    assert "Learned numbers, by default: C channels" in listed


def test_the_table_of_norms_speaks_of_the_layout_that_was_asked_for(command, columns) -> None:
    columns(140)
    rows = {line.split()[1]: line for line in command("norms", "--layout", "nlc").out.splitlines() if "│" in line}
    assert "C of NLC" in rows["layer"]
    assert "C of NLC" in rows["rms"]


def test_the_width_of_a_pipe_can_be_asked_for() -> None:
    code = "from normlab.cli import main; import sys; sys.argv = ['normlab', 'explain', 'batch', 'frn']; main()"
    widths = {}
    for columns in ("80", ""):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "COLUMNS": columns},
        )
        widths[columns] = max(map(len, done.stdout.splitlines()))
    assert widths["80"] <= 80
    assert widths[""] > 200, "a line of its own for each statement, for other programs"


@pytest.mark.parametrize("width", [80, 120])
def test_explanations_and_comparisons_fit_the_width(command, columns, width: int) -> None:
    columns(width)
    said = command("explain", *(spec.name for spec in normlab.norms.catalog.NORMS)).out
    assert max(map(len, said.splitlines())) <= width
    assert "\n  Uses the mean and biased variance of the current batch, so every output" in said
    assert "\n    " in said, "what goes on stands further in"
    small = command("explain", "group:groups=2", "--shape", "2,8,2,3").out
    assert max(map(len, small.splitlines())) <= width
    assert small.count("sample 1") == 2, "positions that do not fit stand below the others"
    compared = command("explain", "batch", "group", "layer2d", "instance", "frn", "--compare").out
    assert max(map(len, compared.splitlines())) <= width
    assert "…" not in compared
    assert all(source in compared for source in ("1502.03167", "1803.08494", "1911.09737"))
    read = command("explain", "rms", "layer", "--shape", "8,16,32", "--compare").out
    assert read.startswith("3 sizes are read as N,L,C; layout NCL for N,C,L\n")


@pytest.mark.parametrize("norm", [spec.name for spec in normlab.norms.catalog.NORMS])
def test_every_norm_is_explained(command, norm: str) -> None:
    said = command("explain", norm).out
    for heading in ("Formula", "Source", "Normalizes over", "In training", "In evaluation", "Suits", "Breaks on"):
        assert heading in said
    assert "sample 1" in said or "weights are changed" in said


def test_norms_are_chosen_by_filters(command) -> None:
    def listed(*flags: str) -> set[str]:
        return {entry["name"] for entry in json.loads(command("norms", *flags, "--json").out)["norms"]}

    assert {"layer", "group"} <= listed("--batch-free", "--stateless")
    assert not {"batch", "ghost"} & listed("--batch-free")
    assert {"batch", "ghost"} <= listed("--couples-batch", "--layout", "NCHW", "--no-weights")
    assert listed("--batch-free") | listed("--couples-batch") == listed()
    assert listed("--layout", "nlc", "--invariance", "scale,shift") == listed(
        "--layout", "NLC", "--invariance", "scale", "--invariance", "shift"
    )
    nothing = command("norms", "--weights", "--couples-batch")
    assert (nothing.status, nothing.out.startswith("No norm fulfils all of this.")) == (0, True)
    assert json.loads(command("norms", "--weights", "--couples-batch", "--json").out) == {"schema": 1, "norms": []}


def test_norms_are_compared_on_a_shape(command) -> None:
    done = command("explain", "batch", "group:groups=8", "--shape", "32,64,56,56", "--compare", "--out", "both.svg")
    assert done.status == 0
    assert "GroupNorm (groups=8)" in done.out
    assert "100,352" in done.out
    assert "Written to both.svg" in done.out
    assert Path("both.svg").read_text(encoding="utf-8").count("100,352 elements") == 1
    said = json.loads(command("explain", "batch", "group:groups=8", "--shape", "32,64,56,56", "--json").out)
    assert said["shape"] == {"layout": "NCHW", "N": 32, "C": 64, "H": 56, "W": 56}
    assert [norm["on_shape"]["statistics"][0]["elements"] for norm in said["norms"]] == [100352, 25088]


def test_a_norm_of_ones_own_is_checked(command) -> None:
    done = command("check", "helpers:DITHERING")
    assert "gradient" in done.out
    sound = command("check", "rms", "--json")
    assert (sound.status, json.loads(sound.out)["holds"]) == (0, True)
    broken = command("check", "broken_norms:DETACHED")
    assert broken.status == 1
    assert "1 does not: gradient." in broken.out


def test_what_is_kept_is_told_when_interrupted(command, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    add = normlab.store.directory.Store.add

    def interrupt(self, outcomes) -> None:
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(outcomes)
        add(self, outcomes)

    monkeypatch.setattr(normlab.store.directory.Store, "add", interrupt)
    done = command("run", "article", *QUICK, "--engine", "sequential", "--out", "mine")
    assert done.status == 130
    assert "3 of 8 runs are finished and kept in mine" in done.err
    assert "normlab run mine/study.toml --out mine" in done.err


def test_help_is_quick_because_it_loads_nothing_heavy() -> None:
    heavy = ["torch", "matplotlib", "plotly", "scipy", "sklearn", "numba", "polars", "pydantic"]
    code = (
        "import sys; sys.argv = ['normlab', '--help']\n"
        "from normlab.cli import main\n"
        "try: main()\n"
        f"except SystemExit: print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "Commands" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["norms"], ["studies"], ["explain", "batch", "group", "--compare", "--out", "a.png"]]
)
def test_looking_things_up_does_not_load_torch(arguments: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['normlab', *{arguments}]\n"
        "from normlab.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "False"
