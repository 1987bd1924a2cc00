"""`normlab show`: tables and JSON from the stored runs."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "thesis"], "thesis, which is there, but holds no results"),
        (["show", "thesis"], "DIR must be a folder that normlab run made"),
    ],
)
def test_a_mistake_gets_one_message_status_2_and_leaves_nothing(mistake, arguments: list[str], message: str) -> None:
    assert message in mistake(*arguments)
