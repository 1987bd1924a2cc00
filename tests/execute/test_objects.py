"""Norms, tasks, probes and claims that exist in Python only, such as those of a notebook's cell."""

from __future__ import annotations

import linecache
from pathlib import Path
from typing import Any

import pytest

import normlab
from helpers import small_study
from normlab.errors import InputError
from normlab.execute.run import Progress
from normlab.job import prepare
from normlab.plan import resolve
from normlab.probes.measure import Measure
from normlab.store.directory import load
from normlab.training import Training
from stored import contents

CELL = """
from dataclasses import replace

from torch import nn

from normlab.claims.catalog import find_claim
from normlab.norms.none import NONE
from normlab.probes.spec import Probe
from normlab.tasks.article import ARTICLE
from normlab.tasks.mlp import PerceptronOptions

GAIN = 2.0


class Doubling(nn.Module):
    def forward(self, x):
        return x * GAIN


SPEC = replace(NONE, name="doubling", title="Doubling", build=lambda slot, options: Doubling())
TASK = replace(ARTICLE, name="mine", title="A task of mine")
PROBE = Probe("echo", "the loss of the batch again", "step", lambda now: {"echo": now.batch_loss()})
CLAIM = replace(find_claim("article-a"), id="doubling-helps")
"""


def cell(code: str = CELL) -> dict[str, Any]:
    """What a cell of a notebook leaves: its names, and no file."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(code, names)
    return names


def study_of(names: dict[str, Any]) -> Any:
    return small_study(
        norms=["none", names["SPEC"]],
        tasks=[names["TASK"]],
        claims=[names["CLAIM"]],
        training=Training(epochs=1),
        measure=Measure(probes=["training_loss", names["PROBE"]]),
    )


def test_objects_are_trained_in_this_process_and_stored(tmp_path: Path) -> None:
    study = study_of(cell())
    assert (study.norms, study.tasks, study.claims) == (("none", "@doubling"), ("@mine",), ("@doubling-helps",))
    assert study.measure.probes == ("training_loss", "@echo")
    assert not any(recipe.portable for recipe in resolve(study).recipes)
    results = normlab.run(study, tmp_path, engine="sequential", workers=2)
    assert results.metrics()["status"].to_list() == ["finished"] * 4
    read = normlab.load(tmp_path)
    assert read.study.to_toml() == study.to_toml()
    assert [arm.label for arm in read.plan.arms] == ["No norm", "Doubling"] or read.plan.arms[1].label == "Doubling"
    assert [claim.id for claim in read.tested] == ["doubling-helps"]
    for outcome in read.outcomes:
        assert outcome.series["echo"].values.tobytes() == outcome.series["training_loss"].values.tobytes()


def test_a_folder_with_objects_grows_when_they_are_given_again(tmp_path: Path) -> None:
    normlab.run(study_of(cell()), tmp_path)
    told: list[Progress] = []
    normlab.run(study_of(cell()), tmp_path, changes={"seeds": 3}, on_progress=told.append)
    assert (told[0].done, told[-1].done) == (4, 6)
    with pytest.raises(InputError, match="must be given again"):
        normlab.run(tmp_path / "study.toml", tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "stale"),
    [
        ("return x * GAIN", "return x * GAIN + 1", {"@doubling"}),
        ("GAIN = 2.0", "GAIN = 3.0", {"@doubling"}),
        ("now.batch_loss()", "2 * now.batch_loss()", {"none", "@doubling"}),
        ("GAIN = 2.0", "OTHER = 1\nGAIN = 2.0", set()),
    ],
)
def test_what_was_made_with_other_code_is_named_and_not_mixed_in(
    tmp_path: Path, before: str, after: str, stale: set[str]
) -> None:
    normlab.run(study_of(cell()), tmp_path, engine="sequential")
    kept = contents(load(tmp_path))
    edited = study_of(cell(CELL.replace(before, after)))
    job = prepare(edited, tmp_path, engine="sequential")
    assert {arm.norm for arm in job.outdated} == stale
    assert job.missing == 2 * len(stale)
    results = normlab.run(edited, tmp_path, engine="sequential")
    assert len(results.outcomes) == 4
    assert {arm.key for arm in job.outdated}.isdisjoint(outcome.arm.key for outcome in results.outcomes)
    everything = contents(load(tmp_path))
    assert len(everything) == 4 + 2 * len(stale)
    assert {key: everything[key] for key in kept} == kept


def test_other_defaults_of_an_object_make_other_runs(tmp_path: Path) -> None:
    """Also where no function of the user's has changed."""
    normlab.run(study_of(cell()), tmp_path, engine="sequential")
    wider = CELL.replace('title="A task of mine"', 'title="A task of mine", options=PerceptronOptions(hidden=(20,))')
    assert prepare(study_of(cell(wider)), tmp_path, engine="sequential").missing == 4
    assert prepare(study_of(cell()), tmp_path, engine="sequential").missing == 0


def test_two_objects_of_one_name_are_refused() -> None:
    first, second = cell()["SPEC"], cell(CELL.replace("2.0", "3.0"))["SPEC"]
    with pytest.raises(InputError, match="'doubling' twice"):
        small_study(norms=[first, second])


def test_an_object_of_another_kind_is_told() -> None:
    with pytest.raises(InputError, match="a norm that was given as an object"):
        resolve(small_study(norms=[cell()["TASK"]]))


def test_text_that_others_keep_under_the_same_name_is_not_taken_for_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries that run text of their own leave it behind for tracebacks, all of it as a file called <string>."""
    monkeypatch.setitem(linecache.cache, "<string>", (9, None, ["lambda now: 1\n"] * 99, "<string>"))
    first, second = (resolve(study_of(cell(code))) for code in (CELL, CELL.replace("now.batch", "2 * now.batch")))
    assert {arm.key for arm in first.arms}.isdisjoint(arm.key for arm in second.arms)


def test_every_function_counts_however_many_share_a_name() -> None:
    """Each edit of one of two lambdas makes other runs, wherever objects happen to lie in memory."""
    plans = [resolve(study_of(cell())).arms]
    for before, after in (("Doubling())", "Doubling().eval())"), ("now.batch", "2 * now.batch")):
        plans += [resolve(study_of(cell(CELL.replace(before, after)))).arms for _ in range(20)]
    keys = [tuple(arm.key for arm in arms) for arms in plans]
    assert len(set(keys)) == 3
