"""`normlab studies`: the list, and a study to copy."""

from __future__ import annotations

import pytest

import normlab
import normlab.norms.catalog


def test_norms_and_studies_are_listed(command) -> None:
    listed = command("norms").out
    assert all(spec.name in listed for spec in normlab.norms.catalog.NORMS)
    studies = command("studies").out
    assert "article" in studies
    assert "digits" in studies


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["studies", "show", "digit"], "Did you mean 'digits'?"),
    ],
)
def test_a_mistake_gets_one_message_status_2_and_leaves_nothing(mistake, arguments: list[str], message: str) -> None:
    assert message in mistake(*arguments)


@pytest.mark.parametrize("width", [40, 80, 140])
def test_the_table_fits_the_width_and_keeps_the_norms(command, columns, width: int) -> None:
    columns(width)
    said = command("studies").out
    table = [line for line in said.splitlines() if set(line) & set("│┃")]
    assert max(map(len, table)) <= width
    assert "…" not in said
    assert all(norm in said for norm in ("layer", "rms", "instance"))
