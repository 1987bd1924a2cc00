"""Folders filled on several machines: united, each run once, nothing changed on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import small_study
from normlab.errors import InputError
from normlab.plan import resolve
from normlab.store.directory import create, load
from normlab.store.merge import merge
from normlab.study.outcome import Outcome
from normlab.study.study import Study
from stored import assert_same, outcome


def filled(folder: Path, study: Study) -> list[Outcome]:
    """A folder with an outcome for every run of a study."""
    store, plan = create(folder), resolve(study)
    store.keep_plan(plan)
    outcomes = [outcome(seed, arm=arm) for arm in plan.arms for seed in plan.seeds]
    for item in outcomes:
        store.add([item])
    return outcomes


def test_norms_and_seeds_of_two_folders_become_one_study(tmp_path: Path) -> None:
    first = filled(tmp_path / "a", small_study(norms=["none", "batch"], seeds=2))
    second = filled(tmp_path / "b", small_study(norms=["batch", "rms"], seeds=3))
    merged = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    plan, _ = load(tmp_path / "both").plan()
    assert plan.study.norms == ("none", "batch", "rms")
    assert plan.study.seeds == 3
    assert plan.arms == resolve(plan.study).arms
    stored = {item.key: item for item in load(tmp_path / "both").outcomes()}
    assert stored.keys() == {item.key for item in (*first, *second)}
    for item in (*first, *second):
        assert_same(stored[item.key], item)
    assert (merged.runs, merged.twice, merged.damaged) == (8, 2, ())


def test_merging_is_the_same_in_any_order_and_again(tmp_path: Path) -> None:
    for name, norm in (("a", "none"), ("b", "batch"), ("c", "layer")):
        filled(tmp_path / name, small_study(norms=[norm]))
    merge([tmp_path / name for name in "abc"], tmp_path / "one")
    for name in "cba":
        merge([tmp_path / name], tmp_path / "two")
    files = [{path.name for path in load(tmp_path / name).files()} for name in ("one", "two")]
    assert files[0] == files[1]
    assert merge([tmp_path / "a"], tmp_path / "one").copied == 0


def test_a_damaged_file_is_left_out_and_named(tmp_path: Path) -> None:
    filled(tmp_path / "a", small_study(norms=["none"]))
    path = load(tmp_path / "a").files()[0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="damaged"):
        merged = merge([tmp_path / "a"], tmp_path / "b")
    assert merged.damaged == (str(path),)
    assert merged.runs == 1


def test_runs_of_another_kind_of_study_are_kept_beside(tmp_path: Path) -> None:
    filled(tmp_path / "a", small_study(norms=["none"]))
    filled(tmp_path / "b", small_study(norms=["none"], training=replace_epochs(5)))
    assert merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c").runs == 4
    assert load(tmp_path / "c").plan()[0].study == small_study(norms=["none"])


def replace_epochs(epochs: int) -> object:
    return small_study().training.model_copy(update={"epochs": epochs})


def test_what_cannot_be_merged_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs folders"):
        merge([], tmp_path / "a")
    with pytest.raises(InputError, match="not there"):
        merge([tmp_path / "nowhere"], tmp_path / "a")
    assert not (tmp_path / "a").exists()
