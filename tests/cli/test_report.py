"""`normlab report`: the report is made anew from the stored runs."""

from __future__ import annotations

from pathlib import Path

import pytest

QUICK = ["--seeds", "2", "--epochs", "2", "--workers", "1", "--set", "measure.noise_steps=4"]


def test_report_and_show_work_from_the_stored_runs(command) -> None:
    command("run", "article-once", *QUICK, "--out", "mine")
    before = Path("mine/report.html").read_bytes()
    Path("mine/report.html").unlink()
    assert command("report", "mine").status == 0
    assert Path("mine/report.html").read_bytes() == before
    shown = command("show", "mine")
    assert "comparisons in other metrics: `normlab show --all`" in shown.out
    assert "BatchNorm" in shown.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "thesis"], "thesis, which is there, but holds no results"),
        (["report", "broken.toml"], "broken.toml, which is no folder"),
        (["report", "nowhere"], "DIR must be a folder that normlab run made"),
    ],
)
def test_a_mistake_gets_one_message_status_2_and_leaves_nothing(mistake, arguments: list[str], message: str) -> None:
    assert message in mistake(*arguments)
