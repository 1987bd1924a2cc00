"""`normlab norms`: the table at any width, and its filters."""

from __future__ import annotations

import json

import pytest


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["norms", "--layout", "NHWC"], "layout must be a known order of axes"),
        (["norms", "--invariance", "colour"], "invariance must be a known one"),
        (["norms", "--invariance", "scale,colour"], "invariance must be a known one; got 'colour'"),
        (["norms", "--batch-free", "--couples-batch"], "a norm is free of the batch or couples it"),
    ],
)
def test_a_mistake_gets_one_message_status_2_and_leaves_nothing(mistake, arguments: list[str], message: str) -> None:
    assert message in mistake(*arguments)


def test_filters_that_exclude_each_other_are_named_as_they_were_typed(command) -> None:
    done = command("norms", "--batch-free", "--couples-batch")
    assert done.status == 2
    assert "--batch-free and --couples-batch exclude each other; got both." in done.err
