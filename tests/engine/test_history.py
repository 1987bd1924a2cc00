"""What probes give is looked at before it becomes a series."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from helpers import cohort_of
from normlab.engine.history import History
from normlab.engine.sequential import Sequential
from normlab.engine.spec import Engine
from normlab.engine.stacked.engine import Stacked
from normlab.errors import InputError
from normlab.probes.spec import Probe, Snapshot, check_asked
from normlab.tasks.article import ARTICLE


def probe(value: Any, name: str = "mine") -> Probe:
    return Probe(name, "a test", "epoch", lambda now: value)


@pytest.mark.parametrize("value", [None, "text", 1.0, {"a": "text"}, {"a": np.ones(2)}, {"a": torch.ones(2)}])
def test_what_is_no_number_by_name_is_refused_with_the_name_of_the_probe(value: object) -> None:
    with pytest.raises(InputError, match="probe mine must measure numbers"):
        History().measure([probe(value)], None, 0)  # type: ignore[arg-type]  # these probes look at nothing


def test_numbers_of_any_kind_are_kept() -> None:
    history = History()
    history.measure([probe({"a": np.float32(0.5), "b": torch.tensor(2.0), "c": 3})], None, 4)  # type: ignore[arg-type]
    assert history.values == {"a": ([4], [0.5]), "b": ([4], [2.0]), "c": ([4], [3.0])}


def test_two_probes_do_not_share_a_series() -> None:
    with pytest.raises(InputError, match="other measures it too; got 'a'"):
        History().measure([probe({"a": 1.0}), probe({"a": 2.0}, "other")], None, 0)  # type: ignore[arg-type]


def test_a_message_meant_for_the_user_is_the_reason_as_it_is() -> None:
    history = History()
    history.fail(InputError("it must hold", "this", "Change it."), 3)
    assert history.reason == "it must hold; got this. Change it."
    history.fail(ValueError("no"), 3)
    assert history.reason == "ValueError: no"


@pytest.mark.parametrize(
    ("part", "statistics", "message"),
    [("nope", "running", r"'nope'\. Choose from test"), ("test", "mean", "'mean'")],
)
def test_a_probe_asks_for_what_there_is(part: str, statistics: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_asked(part, statistics, ["test"])
    check_asked("test", "population", ["test"])


ASKED: dict[str, Callable[[Snapshot], float]] = {
    "got 'nope'. Choose from training, ": lambda now: now.loss("nope", "running"),
    "statistics must be population or running; got 'mean'": lambda now: now.loss("test", "mean"),  # type: ignore[arg-type]
    "a probe must ask for a score of the task; got 'f2'. Choose from ": lambda now: now.score("f2", "test", "running"),
    "ZeroDivisionError: division by zero": lambda now: 1 / 0,
}


@pytest.mark.parametrize("engine", [Sequential(), Stacked()])
@pytest.mark.parametrize("reason", ASKED)
def test_a_probe_that_fails_is_named_with_its_fault(engine: Engine, reason: str) -> None:
    mine = Probe("mine", "a test", "epoch", lambda now: {"a": ASKED[reason](now)})
    (outcome,) = engine.train(cohort_of("layer", probes=[mine], epochs=1), "cpu")
    assert outcome.reason.startswith("the probe mine failed: ")
    assert reason in outcome.reason
    assert outcome.trace.splitlines()[-1].endswith(outcome.reason.removeprefix("the probe mine failed: "))


@pytest.mark.parametrize("engine", [Sequential(), Stacked()])
def test_a_score_that_fails_is_named(engine: Engine) -> None:
    def divide(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError("division by zero")

    task = replace(ARTICLE, name="divided", scores=(replace(ARTICLE.scores[0], compute=divide),))
    (outcome,) = engine.train(cohort_of("layer", task, epochs=1), "cpu")
    assert outcome.reason == f"the score {task.scores[0].name} failed: ZeroDivisionError: division by zero"
    assert outcome.trace.endswith("ZeroDivisionError: division by zero")
