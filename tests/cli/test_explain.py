"""`normlab explain`: text, comparison and drawing at any width."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import normlab
import normlab.norms.catalog


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explain", "bach"], "Did you mean 'batch'?"),
        (["explain", "batch", "--shape", "32,64,x", "--out", "a.png"], "whole numbers with commas"),
        (["explain", "batch", "--shape", "32,0", "--out", "a.png"], "every size of --shape must be at least 1"),
        (["explain", "batch", "--shape", "32,-4", "--out", "a.png"], "every size of --shape must be at least 1"),
        (["explain", "batch", "--shape", "32", "--out", "a.png"], "shape must have 2 to 5 sizes"),
        (
            ["explain", "batch", "--shape", "1,2,3", "--layout", "NCHW", "--out", "a.svg"],
            "must have 4 sizes for layout",
        ),
        (["explain", "batch", "--layout", "NWHC"], "layout must be a known order of axes"),
        (["explain", "group:groups=7", "--shape", "32,64", "--out", "a.png"], "7 groups do not divide 64 channels"),
        (["explain", "batch", "--shape", "2,3,4", "--layout", "NLC", "--out", "a.html"], "form for NLC input"),
        (["explain", "batch", "--out", "a.gif"], "must end in .png, .svg, .html"),
        (["explain", "batch", "--out", "nowhere/a.png"], "nowhere"),
        (["explain", "BatchNorm2d"], "Did you mean 'batch'?"),
    ],
)
def test_a_mistake_gets_one_message_status_2_and_leaves_nothing(mistake, arguments: list[str], message: str) -> None:
    assert message in mistake(*arguments)
