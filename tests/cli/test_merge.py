"""`normlab merge`: folders of two machines become one."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import normlab

QUICK = ["--epochs", "1", "--workers", "1", "--set", "measure.noise_steps=4", "--set", "analysis.resamples=100"]


def test_two_folders_become_one_that_can_be_grown_and_reported(command) -> None:
    command("run", "article", *QUICK, "--seeds", "2", "--norm", "none", "--norm", "batch", "--out", "here")
    command("run", "article", *QUICK, "--seeds", "1", "--norm", "batch", "--norm", "rms", "--out", "there")
    done = command("merge", "here", "there", "--out", "both")
    assert done.status == 0
    assert "both holds 5 runs now" in done.out
    assert "1 runs that several folders have count once" in done.out
    assert normlab.load("both").study.norms == ("none", "batch", "rms")
    again = command("run", "both/study.toml", "--workers", "1", "--out", "both")
    assert "6 runs (3 norms, 1 condition, 2 seeds), of which 5 are there" in again.err
    assert command("report", "both").status == 0


def test_a_damaged_file_is_named_and_left_out(command) -> None:
    command("run", "article", *QUICK, "--seeds", "1", "--norm", "none", "--norm", "rms", "--out", "here")
    damaged = sorted(Path("here/runs").glob("*.parquet"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-4])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        done = command("merge", "here", "--out", "both")
    assert f"{damaged.name} is damaged" in done.err
    assert f"Left out, because it is damaged: {damaged}" in done.out
    assert not (Path("both/runs") / damaged.name).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["merge", "--out", "new"], "Missing argument 'DIR...'"),
        (["merge", "occupied"], "Missing option '--out'"),
        (["merge", "nowhere", "--out", "new"], "nowhere, which is not there"),
        (["merge", "thesis", "--out", "new"], "thesis, which is there, but holds no results"),
        (["merge", "first-edition", "--out", "new"], "first-edition, in format 1"),
        (["merge", "occupied", "--out", "thesis"], "DIR must be a folder that normlab run made, with study.toml"),
    ],
)
def test_a_mistake_gets_one_message_status_2_and_leaves_nothing(mistake, arguments: list[str], message: str) -> None:
    assert message in mistake(*arguments)
