"""`normlab check`: what holds of a norm, and the status for it."""

from __future__ import annotations

import json

import pytest


def test_a_norm_of_ones_own_is_checked(command) -> None:
    done = command("check", "helpers:DITHERING")
    assert "gradient" in done.out
    sound = command("check", "rms", "--json")
    assert (sound.status, json.loads(sound.out)["holds"]) == (0, True)
    broken = command("check", "broken_norms:DETACHED")
    assert broken.status == 1
    assert "1 does not: gradient." in broken.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "layer", "--channels", "many"], "must be a whole number"),
        (["check", "bacth"], "Did you mean 'batch'?"),
        (["check", "helpers:small_study"], "takes no layout"),
    ],
)
def test_a_mistake_gets_one_message_status_2_and_leaves_nothing(mistake, arguments: list[str], message: str) -> None:
    assert message in mistake(*arguments)


@pytest.mark.parametrize("width", [40, 80, 140])
def test_the_table_fits_the_width(command, columns, width: int) -> None:
    columns(width)
    said = command("check", "layer", "--layout", "NC").out
    table = [line for line in said.splitlines() if set(line) & set("│┃┏└")]
    assert table
    assert max(map(len, table)) <= width
    assert "…" not in said
    assert "--compile" in "".join(said.split("│")).replace(" ", "").replace("\n", "") or width < 80
