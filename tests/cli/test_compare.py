"""`normlab compare` as a user types it: a model and data of a module, a folder that grows, and mistakes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import normlab

MODULE = """
import numpy as np
from torch import nn

def build():
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))

def data():
    x = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    return x, (x[:, 0] > x[:, 1]).astype(int)

def step(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])

LOSS = nn.CrossEntropyLoss(label_smoothing=0.1)
"""
QUICK = ("--seeds", "2", "--epochs", "1", "--batch-size", "20", "--workers", "1")  # which start no processes


@pytest.fixture(autouse=True)
def module(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module, in the folder of the test."""
    Path("mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.delitem(sys.modules, "mine", raising=False)


def test_a_comparison_leaves_what_a_study_leaves_and_its_folder_grows(command) -> None:
    ask = ("compare", "mine:build", "--data", "mine:data", "--norm", "layer", "--norm", "group:groups=3", "--out", "o")
    done = command(*ask, *QUICK, "--name", "net")
    assert done.status == 0, done.err
    assert {"curves.png", "report.html", "summary.json", "study.toml"} <= {path.name for path in Path("o").iterdir()}
    said = " ".join(done.err.split())
    assert "it minimizes the cross-entropy, as targets are classes" in said
    assert "group:groups=3 has 2 groups, as 3 do not divide 16 channels (1)" in said
    assert "With 2 seeds no p can be below 0.5" in said
    assert "own (BatchNorm1d)" in done.out
    summary = json.loads(Path("o/summary.json").read_text())
    assert [result["norm"] for result in summary["results"]] == ["@own", "layer", "group:groups=3"]
    assert all(result["metrics"]["last_step_memory"]["mean"] > 0 for result in summary["results"])

    more = command(*ask, *QUICK, "--name", "net", "--seeds", "3")
    assert "9 runs (3 norms, 1 condition, 3 seeds), of which 6 are there" in more.err
    assert len(normlab.load("o").outcomes) == 9


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(command) -> None:
    done = command("compare", "mine:build", "--data", "mine:data", "--norm", "none", *QUICK, "--dry-run")
    assert done.status == 0
    assert "Sequential: 4 runs (2 norms, 1 condition, 2 seeds)" in done.out
    assert not Path("results").exists()


@pytest.mark.parametrize("flags", [("--loss", "mine:LOSS"), ("--step", "mine:step"), ("--where", "1")])
def test_loss_step_and_places_are_named(command, flags: tuple[str, str]) -> None:
    done = command("compare", "mine:build", "--data", "mine:data", "--norm", "none", *QUICK, *flags)
    assert done.status == 0, done.err


def test_budgets_and_tuning_are_flags(command) -> None:
    ask = ("compare", "mine:build", "--data", "mine:data", "--norm", "none", *QUICK, "--seeds", "1")
    done = command(*ask, "--memory", "9KB", "--out", "m")
    assert done.status == 0, done.err
    assert "in 0.009 MB of memory" in done.err
    done = command(*ask, "--tune", "learning_rate=1e-3,1e-2", "--set", "policy.tuning_seeds=1", "--dry-run")
    assert "3 values to each side" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mine:nothing", "--data", "mine:data", "--norm", "none"), "MODEL must name a function that makes a model"),
        (("mine:build", "--norm", "none"), "Give --data"),
        (("mine:build", "--data", "mine:data", "--norm", "bach"), "Did you mean 'batch'"),
        (("mine:build", "--data", "mine:data", "--norm", "none", "--memory", "8XB"), "Try 64MiB"),
        (("mine:build", "--data", "mine:data", "--norm", "none", "--where", "head"), "head"),
        (("mine:build", "--data", "mine:data", "--norm", "none", "--seeds", "3", "--until-decided"), "--max-seeds"),
    ],
)
def test_mistakes_end_in_one_message(command, arguments: tuple[str, ...], message: str) -> None:
    done = command("compare", *arguments)
    assert done.status == 2
    assert message in " ".join(done.err.split())
    assert "Traceback" not in done.err
