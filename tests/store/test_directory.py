"""The store: what goes in comes out, damage is noticed, folders are not mixed up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import small_study
from normlab.errors import InputError
from normlab.records import Measure, Outcome, Run, Series, Setting
from normlab.store.directory import DamagedFile, create, load
from normlab.store.fragment import decode, encode


def outcome(seed: int = 0, **changes: object) -> Outcome:
    series = {
        "training_loss": Series(np.arange(3), np.asarray([0.5, np.inf, np.nan])),
        "canonical_loss": Series(np.asarray([0, 3]), np.asarray([0.7, 1e-300])),
    }
    run = Run(0, "article", Setting(hidden=(50,)), Measure(), "batch", seed)
    found = Outcome(run, "finished", series, 752, "abc", 1e-4, {"engine": "sequential", "device": "cpu"})
    return replace(found, **changes)


def assert_same(first: Outcome, second: Outcome) -> None:
    assert replace(first, series={}) == replace(second, series={})
    assert list(first.series) == list(second.series)
    for name, series in first.series.items():
        assert np.array_equal(series.steps, second.series[name].steps)
        assert series.values.tobytes() == second.series[name].values.tobytes()


def test_outcomes_of_every_kind_come_back_bit_by_bit() -> None:
    given_ones = [
        outcome(0),
        outcome(1, status="diverged", reason="training_loss became nan", stopped_at=2),
        outcome(2, status="failed", reason="ValueError: é \N{SNOWMAN}", series={}, parameters=0, stopped_at=0),
        outcome(3, series={"one": Series(np.asarray([5]), np.asarray([-0.0]))}),
    ]
    back = decode(encode(given_ones))
    assert len(back) == 4
    for first, second in zip(given_ones, back, strict=True):
        assert_same(first, second)


@given(st.lists(st.lists(st.floats(), min_size=1, max_size=20), max_size=6))
def test_any_numbers_come_back(columns: list[list[float]]) -> None:
    series = {str(i): Series(np.arange(len(values)), np.asarray(values)) for i, values in enumerate(columns)}
    assert_same(decode(encode([outcome(series=series)]))[0], outcome(series=series))


def test_a_folder_keeps_its_study_and_each_run_once(tmp_path: Path) -> None:
    store = create(tmp_path / "a", small_study(), "claims")
    store.add([outcome(0), outcome(1)])
    store.add([outcome(1, seconds_per_step=2e-4)])
    again = create(tmp_path / "a", small_study(), "claims")
    assert again == load(tmp_path / "a") == store
    assert sorted(found.run.seed for found in again.outcomes()) == [0, 1]


def test_a_failed_run_gives_way_to_a_finished_one(tmp_path: Path) -> None:
    store = create(tmp_path, small_study(), "claims")
    store.add([outcome(0, status="failed", reason="no memory")])
    store.add([outcome(0)])
    assert [found.status for found in store.outcomes()] == ["finished"]


def test_the_name_of_a_file_is_the_hash_of_what_it_holds(tmp_path: Path) -> None:
    store = create(tmp_path, small_study(), "claims")
    store.add([outcome(0)])
    store.add([outcome(0)])
    assert len(list((tmp_path / "runs").iterdir())) == 1


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "extended"])
def test_a_damaged_file_is_set_aside_with_a_warning(tmp_path: Path, damage: str) -> None:
    store = create(tmp_path, small_study(), "claims")
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
        assert [found.run.seed for found in store.outcomes()] == [1]
    assert (tmp_path / "runs" / "damaged" / path.name).read_bytes() == content
    assert [found.run.seed for found in store.outcomes()] == [1]


def test_every_single_flipped_bit_is_noticed(tmp_path: Path) -> None:
    store = create(tmp_path, small_study(), "claims")
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
    store = create(tmp_path, small_study(), "claims")
    (tmp_path / "runs" / ".unfinished-2").write_bytes(b"half")
    assert store.outcomes() == []


def test_a_folder_with_another_study_is_refused(tmp_path: Path) -> None:
    create(tmp_path, small_study(), "claims")
    with pytest.raises(InputError, match=r"seeds is 2 there and 5 here"):
        create(tmp_path, small_study(seeds=5), "claims")
    with pytest.raises(InputError, match="claims must stay as they were"):
        create(tmp_path, small_study(), "other claims")


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"thesis\.tex"):
        create(tmp_path, small_study(), "claims")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_study_that_was_changed_afterwards_is_refused(tmp_path: Path) -> None:
    create(tmp_path, small_study(), "claims")
    text = (tmp_path / "study.toml").read_text()
    (tmp_path / "study.toml").write_text(text.replace("seeds = 2", "seeds = 3"))
    with pytest.raises(InputError, match="changed after the first run"):
        load(tmp_path)


@pytest.mark.parametrize("manifest", ["", "[]", '{"schema": 2}', "nonsense"])
def test_another_format_is_refused(tmp_path: Path, manifest: str) -> None:
    create(tmp_path, small_study(), "claims")
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(InputError, match="DIR must be a folder that normlab run made"):
        load(tmp_path)


def test_a_place_where_no_folder_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="writable"):
        create(tmp_path / "file", small_study(), "claims")
    with pytest.raises(InputError, match="writable"):
        create(tmp_path / "file" / "below", small_study(), "claims")
    with pytest.raises(InputError, match="DIR must be"):
        load(tmp_path / "nowhere")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that nobody may write to")
def test_an_unwritable_folder() -> None:
    with pytest.raises(InputError, match=r"the output folder must be writable; got /proc/normlab"):
        create(Path("/proc/normlab"), small_study(), "claims")
