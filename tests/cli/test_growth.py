"""Users' modules as a folder grows: edited code is told apart, and nothing that reads results runs any of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import normlab
from helpers import small_study
from normlab.study.study import Analysis
from normlab.training import Training

MODULE = "norms_of_a_growing_folder"
CODE = """
from dataclasses import replace

from torch import nn

from normlab.norms.none import NONE
from normlab.tasks.article import ARTICLE


class Scaled(nn.Module):
    def forward(self, x):
        return x * 2.0


MINE = replace(NONE, name="mine", title="Mine", build=lambda slot, options: Scaled())
TASK = replace(ARTICLE, name="task-of-mine", title="A task of mine")
"""
RUN = ["run", "studies/mine.toml", "--workers", "1", "--engine", "sequential", "--out", "mine"]


@pytest.fixture
def write_module() -> Iterator[Callable[[str], None]]:
    """Writes the user's module beside the study, as if Python had been started anew."""

    def write(code: str) -> None:
        sys.modules.pop(MODULE, None)
        Path("studies").mkdir(exist_ok=True)
        Path(f"studies/{MODULE}.py").write_text(code)
        cache = Path("studies/__pycache__")
        for compiled in cache.glob("*.pyc") if cache.exists() else ():
            compiled.unlink()
        study = small_study(norms=["none"], training=Training(epochs=1), analysis=Analysis(resamples=100)).to_toml()
        study = study.replace('"none"', f'"none", "{MODULE}:MINE"').replace('"article"', f'"{MODULE}:TASK"')
        Path("studies/mine.toml").write_text(study)

    yield write
    sys.modules.pop(MODULE, None)


def test_runs_of_edited_code_are_named_and_kept_apart(command, write_module: Callable[[str], None]) -> None:
    write_module(CODE)
    assert "were made with other code" not in command(*RUN).err
    first = normlab.load("mine").curves()
    write_module(CODE.replace("2.0", "3.0"))
    again = command(*RUN)
    assert again.status == 0
    source = json.loads(Path("mine/plan.json").read_text())["arms"][1]["source"]
    assert f"2 runs of none on {MODULE}:TASK were made with other code" in again.err, "the task's module changed"
    assert f"2 runs of {MODULE}:MINE on {MODULE}:TASK were made with other code of yours (" in again.err
    assert source[:7] not in again.err
    second = normlab.load("mine")
    assert len(second.outcomes) == 4
    assert {outcome.arm.source for outcome in second.outcomes} == {source}
    assert not second.curves().equals(first)
    write_module(CODE)
    back = command(*RUN)
    assert "of which 4 are there" in back.err
    assert normlab.load("mine").curves().equals(first), "the first code's runs are still there"


def test_no_code_of_a_folder_is_run_by_what_reads_it(command, write_module: Callable[[str], None]) -> None:
    write_module(CODE)
    command(*RUN)
    summary = json.loads(Path("mine/summary.json").read_text())
    write_module("raise SystemExit('this code must not run')")
    Path(f"{MODULE}.py").write_text("raise SystemExit('this code must not run')")
    shown = command("show", "mine")
    assert (shown.status, "Mine" in shown.out, "A task of mine" in shown.out or "task" in shown.out) == (0, True, True)
    assert json.loads(command("show", "mine", "--json").out) == summary
    assert command("report", "mine").status == 0
    assert command("export", "mine").out.count(f"{MODULE}:MINE") == 2
    assert command("merge", "mine", "--out", "merged").status == 0
    assert normlab.load("merged").summary() == normlab.load("mine").summary()
    assert MODULE not in sys.modules
    refused = command(*RUN)
    assert (refused.status, "must not run" in refused.err) == (2, True)
    assert json.loads(command("show", "mine", "--json").out) == summary, "a refused run changes nothing"


@pytest.mark.slow
def test_testing_a_claim_goes_on_where_it_stopped(command) -> None:
    test = ["claims", "run", "article-a", "--workers", "1", "--out", "claims", "--seeds"]
    assert command(*test, "2").status == 0
    again = command(*test, "3")
    assert again.status == 0
    assert "9 runs (3 norms, 1 condition, 3 seeds), of which 6 are there" in again.err
    assert len(normlab.load("claims/article-a").outcomes) == 9
