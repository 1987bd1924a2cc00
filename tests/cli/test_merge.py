"""`normlab merge`: folders of two machines become one."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import normlab
from helpers import small_study
from normlab.training import Training


def fill(folder: str, norms: list[str], seeds: int) -> None:
    normlab.run(small_study(norms=norms, seeds=seeds, training=Training(epochs=1)), folder)


def test_two_folders_become_one_that_can_be_grown_and_reported(command) -> None:
    fill("here", ["none", "batch"], 2)
    fill("there", ["batch", "rms"], 1)
    done = command("merge", "here", "there", "--out", "both")
    assert done.status == 0
    assert "both holds 5 runs now" in done.out
    assert "1 runs that several folders have count once" in done.out
    merged = normlab.load("both")
    assert (merged.study.norms, len(merged.outcomes)) == (("none", "batch", "rms"), 5)
    assert normlab.prepare("both/study.toml", "both").missing == 1
    assert command("show", "both").status == 0


def test_a_damaged_file_is_named_and_left_out(command) -> None:
    fill("here", ["none", "rms"], 1)
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
