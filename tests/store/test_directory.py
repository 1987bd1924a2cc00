"""The store: what goes in comes out, damage is noticed, folders are not mixed up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import small_study
from normlab.errors import InputError
from normlab.plan import resolve
from normlab.store.directory import DamagedFile, create, load
from normlab.store.fragment import decode, decode_status, encode
from normlab.study.outcome import Series
from stored import assert_same, outcome


def test_outcomes_of_every_kind_come_back_bit_by_bit() -> None:
    outcomes = [
        outcome(0),
        outcome(1, status="diverged", reason="training_loss became nan", stopped_at=2),
        outcome(2, status="failed", reason="ValueError: é \N{SNOWMAN}", series={}, parameters=0, stopped_at=0),
        outcome(3, series={"one": Series(np.asarray([5]), np.asarray([-0.0]))}),
    ]
    back = decode(encode(outcomes))
    assert len(back) == 4
    for first, second in zip(outcomes, back, strict=True):
        assert_same(first, second)


@given(st.lists(st.lists(st.floats(), min_size=1, max_size=20), max_size=6))
def test_any_numbers_come_back(columns: list[list[float]]) -> None:
    series = {str(i): Series(np.arange(len(values)), np.asarray(values)) for i, values in enumerate(columns)}
    assert_same(decode(encode([outcome(series=series)]))[0], outcome(series=series))


def test_a_folder_keeps_its_study_and_each_run_once(tmp_path: Path) -> None:
    store = create(tmp_path / "a")
    store.add([outcome(0), outcome(1)])
    store.add([outcome(1, seconds_per_step=2e-4)])
    again = create(tmp_path / "a")
    assert again == store
    assert load(tmp_path / "a").path == store.path
    assert sorted(found.seed for found in again.outcomes()) == [0, 1]


def test_a_failed_run_gives_way_to_a_finished_one(tmp_path: Path) -> None:
    store = create(tmp_path)
    store.add([outcome(0, status="failed", reason="no memory")])
    store.add([outcome(0)])
    assert [found.status for found in store.outcomes()] == ["finished"]


def test_the_name_of_a_file_is_the_hash_of_what_it_holds(tmp_path: Path) -> None:
    store = create(tmp_path)
    store.add([outcome(0)])
    store.add([outcome(0)])
    assert len(list((tmp_path / "runs").iterdir())) == 1


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "extended"])
def test_a_damaged_file_is_set_aside_with_a_warning(tmp_path: Path, damage: str) -> None:
    store = create(tmp_path)
    store.add([outcome(0)])
    (path,) = (tmp_path / "runs").glob("*.parquet")
    store.add([outcome(1)])
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
    elif damage == "empty":
        content.clear()
    else:
        content += b"x"
    path.write_bytes(content)
    with pytest.warns(DamagedFile, match=r"set aside as .*damaged.*trains them again"):
        assert [found.seed for found in store.outcomes()] == [1]
    assert (tmp_path / "runs" / "damaged" / path.name).read_bytes() == content
    assert [found.seed for found in store.outcomes()] == [1]


def test_every_single_flipped_bit_is_noticed(tmp_path: Path) -> None:
    store = create(tmp_path)
    store.add([outcome(0)])
    (path,) = (tmp_path / "runs").glob("*.parquet")
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        path.write_bytes(flipped)
        with pytest.warns(DamagedFile):
            assert store.outcomes() == []


def test_leftovers_of_an_interrupted_write_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / ".unfinished-1").write_bytes(b"half")
    store = create(tmp_path)
    (tmp_path / "runs" / ".unfinished-2").write_bytes(b"half")
    assert store.outcomes() == []


def test_a_folder_holds_runs_of_any_study_and_is_shown_for_the_last(tmp_path: Path) -> None:
    store = create(tmp_path)
    first, second = resolve(small_study()), resolve(small_study(seeds=5, norms=["rms"]))
    store.keep_plan(first)
    store.add([outcome(0, arm=arm) for arm in first.arms])
    store.keep_plan(second)
    store.add([outcome(0, arm=arm) for arm in second.arms])
    plan, claims = load(tmp_path).plan()
    assert plan == second
    assert claims == []
    assert len(store.outcomes()) == 4
    wanted = second.arms[0].run_key(0)
    assert [kept.key for kept in store.outcomes([wanted])] == [wanted]
    assert set(store.statuses()) == {(arm, 0) for arm in (*first.arms, *second.arms)}


def test_a_claim_keeps_the_moment_at_which_it_was_fixed(tmp_path: Path) -> None:
    store, plan = create(tmp_path), resolve(small_study())
    store.keep_plan(plan, [{"id": "one"}])
    store.add([outcome(0), outcome(1)])
    store.keep_plan(plan, [{"id": "one"}, {"id": "two"}])
    store.keep_plan(plan, [{"id": "two"}, {"id": "one", "margin": 3}])
    runs_before = {(claim["id"], claim.get("margin")): claim["runs_before"] for claim in store.plan()[1]}
    assert runs_before == {("two", None): 2, ("one", 3): 2}
    store.keep_plan(plan, [{"id": "one", "margin": 3}])
    assert store.plan()[1][0]["since"]


def test_a_new_option_of_a_task_makes_no_other_claim(tmp_path: Path) -> None:
    store, plan = create(tmp_path), resolve(small_study())
    store.keep_plan(plan, [{"id": "one", "models": {"article": {"hidden": [50]}}}])
    store.add([outcome(0), outcome(1)])
    first = store.plan()[1][0]
    store.keep_plan(plan, [{"id": "one", "models": {"article": {"hidden": [50], "fresh": 1}}}])
    again = store.plan()[1][0]
    assert again["models"]["article"]["fresh"] == 1, "what is judged has every option"
    assert [again[name] for name in ("hash", "since", "runs_before")] == [first["hash"], first["since"], 0]


def test_a_command_that_reads_leaves_a_damaged_file_where_it_is(tmp_path: Path) -> None:
    create(tmp_path).add([outcome(0)])
    (path,) = (tmp_path / "runs").glob("*.parquet")
    path.write_bytes(b"x")
    with pytest.warns(DamagedFile, match="left where it is"):
        assert load(tmp_path).outcomes() == []
    assert path.read_bytes() == b"x"


def test_statuses_are_those_of_the_outcomes(tmp_path: Path) -> None:
    outcomes = [outcome(0), outcome(1, status="diverged"), outcome(2, status="failed", trace="line 1")]
    assert list(decode_status(encode(outcomes))) == [(item.arm, item.seed, item.status) for item in outcomes]


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"thesis\.tex"):
        create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("damage", ["", "{}", '{"arms": 3}', "nonsense"])
def test_a_folder_whose_plan_is_not_whole_is_told(tmp_path: Path, damage: str) -> None:
    store = create(tmp_path)
    store.keep_plan(resolve(small_study()))
    (tmp_path / "plan.json").write_text(damage)
    with pytest.raises(InputError, match=r"DIR must be a folder.*Run its study again"):
        store.plan()


@pytest.mark.parametrize("manifest", ["", "[]", '{"schema": 1}', "nonsense"])
def test_another_format_is_refused(tmp_path: Path, manifest: str) -> None:
    create(tmp_path)
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(InputError, match="DIR must be a folder that normlab run made"):
        load(tmp_path)


def test_a_place_where_no_folder_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="writable"):
        create(tmp_path / "file")
    with pytest.raises(InputError, match="writable"):
        create(tmp_path / "file" / "below")
    with pytest.raises(InputError, match="which is not there"):
        load(tmp_path / "nowhere")
    with pytest.raises(InputError, match="which is there, but holds no results"):
        load(tmp_path)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that nobody may write to")
def test_an_unwritable_folder() -> None:
    with pytest.raises(InputError, match=r"the output folder must be writable; got /proc/normlab"):
        create(Path("/proc/normlab"))
