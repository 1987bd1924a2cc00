"""The numbers of the first tasks, as they always were: to six digits on every machine and under every engine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from normlab.engine.choose import ENGINES
from normlab.engine.spec import Engine
from series import series_of

TABLE = json.loads((Path(__file__).parent / "series.json").read_text(encoding="utf-8"))
ENGINES_BY_TASK = {"article": 3, "digits": 3, "digits-cnn": 2}  # how many of them can train it


def cases() -> list[object]:
    """Every engine on every case; as traces take a while, one case of the stacked engine is quick."""
    return [
        pytest.param(engine, case, marks=pytest.mark.slow if _is_slow(engine, case) else (), id=f"{engine.name}-{case}")
        for engine in ENGINES
        for case in TABLE
    ]


def _is_slow(engine: Engine, case: str) -> bool:
    return engine.name == "stacked" and case != "article batch"


@pytest.mark.parametrize(("engine", "case"), cases())
def test_series_are_as_they_were(engine: Engine, case: str) -> None:
    task, norm = case.split()
    measured = series_of(engine.name, task, norm)
    if not measured:
        assert engine.name == "fused"
        assert ENGINES_BY_TASK[task] == 2
        return
    assert set(measured) == set(TABLE[case])
    for name, values in TABLE[case].items():
        np.testing.assert_allclose(measured[name], values, rtol=1e-6, atol=1e-9, err_msg=name)
