"""A folder grows: only what is missing is trained, and how it came together cannot be seen from what it holds."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import normlab
from helpers import small_study
from normlab.errors import InputError
from normlab.execute.run import Progress
from normlab.store.directory import load
from normlab.study.study import Study
from normlab.training import Training
from stored import contents

BASE: dict[str, Any] = {"norms": ["none", "batch"], "seeds": 2, "training": Training(epochs=1)}
PROBES = ("training_loss", "gradient_norm", "canonical_loss")


def grow(folder: Path, study: Study, engine: str = "fused", workers: int = 1) -> int:
    """Runs a study into a folder; gives how many runs were trained."""
    told: list[Progress] = []
    normlab.run(study, folder, engine=engine, workers=workers, on_progress=told.append)
    assert told[-1].done == told[-1].total
    assert told[-1].steps == told[-1].total_steps
    return told[-1].total - told[0].done


def runs_of(folder: Path) -> set[str]:
    """The names of the files that hold runs."""
    return {path.name for path in load(folder).files()}


def tables_of(folder: Path) -> list[pl.DataFrame]:
    """What `load` gives of a folder, without how long it took."""
    results = normlab.load(folder)
    return [results.metrics().drop("seconds_per_step"), results.curves()]


@pytest.mark.parametrize(
    ("changes", "trained"),
    [
        ({"seeds": 4}, 4),
        ({"norms": ["layer", "none", "batch"]}, 2),
        ({"norms": ["layer"]}, 2),
        ({"sweep": {"training.batch_size": [64, 100]}}, 4),
        ({"sweep": {"model.hidden": [[50], [20]]}, "seeds": 3}, 8),
        ({"seeds": 1}, 0),
        ({"name": "other", "title": "Another name"}, 0),
        ({"analysis.alpha": 0.01, "analysis.margins": {"final_loss": 0.3}, "analysis.resamples": 100}, 0),
        ({"claims": ["article-a"]}, 0),
    ],
    ids=str,
)
def test_only_what_is_missing_is_trained(tmp_path: Path, changes: Mapping[str, Any], trained: int) -> None:
    assert grow(tmp_path, small_study(**BASE)) == 4
    before = runs_of(tmp_path)
    kept = contents(load(tmp_path))
    study = small_study(**BASE).with_changes(changes)
    assert grow(tmp_path, study) == trained
    after = contents(load(tmp_path))
    assert len(after) == 4 + trained
    assert {key: after[key] for key in kept} == kept
    assert before <= runs_of(tmp_path)
    assert (before == runs_of(tmp_path)) == (trained == 0)
    assert normlab.load(tmp_path).study == study


def test_another_probe_measures_the_same_runs_further(tmp_path: Path) -> None:
    """Runs that measure more are other runs, with the same bits in what both measure; the first stay."""
    few = small_study(**BASE).with_changes({"measure.probes": PROBES})
    more = small_study(**BASE).with_changes({"measure.probes": (*PROBES, "held_out")})
    assert grow(tmp_path, few) == 4
    first = normlab.load(tmp_path).curves()
    assert grow(tmp_path, more) == 4
    second = normlab.load(tmp_path).curves()
    assert set(second["series"]) > set(first["series"])
    assert second.filter(pl.col("series").is_in(first["series"].unique().to_list())).equals(first)
    assert grow(tmp_path, few) == 0
    assert normlab.load(tmp_path).curves().equals(first)


def test_fixed_and_new_data_stand_side_by_side(tmp_path: Path) -> None:
    fixed, fresh = (small_study(**BASE, fixed_data=fixed) for fixed in (True, False))
    assert grow(tmp_path, fixed) == 4
    first = contents(load(tmp_path))
    assert len({run.data_hash for run in normlab.load(tmp_path).outcomes}) == 1
    assert grow(tmp_path, fresh) == 4, "no run of one is taken for one of the other"
    assert len({run.data_hash for run in normlab.load(tmp_path).outcomes}) == 2, "one for each seed"
    both = contents(load(tmp_path))
    assert len(both) == 8
    assert {key: both[key] for key in first} == first
    assert grow(tmp_path, fixed) == grow(tmp_path, fresh) == 0


FULL: dict[str, Any] = {
    "norms": ["none", "batch", "layer", "group:groups=5"],
    "seeds": 3,
    "training": Training(epochs=1),
    "sweep": {"training.batch_size": [64, 100]},
}


def parts_of_a_study(dice: random.Random) -> list[Study]:
    """Nine studies of some norms, seeds and conditions, in any order, and the whole at the end."""
    studies = []
    for number in range(9):
        norms = dice.sample(FULL["norms"], dice.randint(1, 4))
        sizes = dice.sample([64, 100], dice.randint(1, 2))
        few = {"norms": norms, "seeds": dice.randint(1, 3), "sweep": {"training.batch_size": sizes}}
        studies.append(small_study(**{**FULL, **few, "name": f"part-{number}"}))
    return [*studies, small_study(**FULL)]


def test_a_folder_grown_in_ten_steps_equals_one_made_at_once(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    grow(whole, small_study(**FULL))
    for seed in range(2):
        folder = tmp_path / f"grown-{seed}"
        assert sum(grow(folder, study) for study in parts_of_a_study(random.Random(seed))) == 24
        assert contents(load(folder)) == contents(load(whole))
        assert all(one.equals(other) for one, other in zip(tables_of(folder), tables_of(whole), strict=True))


def test_merged_folders_equal_one_made_at_once(tmp_path: Path) -> None:
    """As two machines fill them: other norms here, other seeds there, some runs on both."""
    one, two, both, whole = (tmp_path / name for name in ("one", "two", "both", "whole"))
    grow(one, small_study(**{**FULL, "norms": ["none", "batch", "layer"], "seeds": 3}))
    grow(two, small_study(**{**FULL, "norms": ["layer", "group:groups=5"], "seeds": 2}))
    merged = normlab.merge([one, two], both)
    assert (merged.runs, merged.twice) == (22, 4)
    grow(whole, small_study(**FULL))
    assert grow(both, small_study(**FULL)) == 2, "the third seed of a norm, which neither had"
    assert contents(load(both)) == contents(load(whole))
    assert all(one.equals(other) for one, other in zip(tables_of(both), tables_of(whole), strict=True))


def start(folder: Path, study: Study, *flags: str) -> subprocess.Popen[str]:
    path = folder.with_name(f"{folder.name}-{study.name}.toml")
    path.write_text(study.to_toml())
    command = [sys.executable, "-m", "normlab", "run", str(path), "--out", str(folder), *flags]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_several_processes_fill_one_folder(tmp_path: Path) -> None:
    """Each with a study of its own; some runs are asked for by two of them."""
    choices = (["none", "batch"], ["batch", "layer"], ["group:groups=5", "none"])
    studies = [small_study(**{**FULL, "norms": norms, "name": f"part-{n}"}) for n, norms in enumerate(choices)]
    processes = [start(tmp_path / "shared", study, "--engine", "sequential") for study in studies]
    for process in processes:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    assert grow(tmp_path / "shared", small_study(**FULL), "sequential") == 0
    grow(tmp_path / "whole", small_study(**FULL), "sequential")
    assert contents(load(tmp_path / "shared")) == contents(load(tmp_path / "whole"))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["sequential", "fused"])
def test_killed_at_any_moment_while_it_grows_a_folder_loses_nothing(tmp_path: Path, engine: str) -> None:
    """What was there stays to the bit, whatever was being added, and growth goes on to the same end."""
    longer = {**FULL, "seeds": 20 if engine == "sequential" else 240, "training": Training(epochs=2)}
    first = small_study(**{**longer, "seeds": 4, "norms": ["layer"], "name": "first"})
    grow(tmp_path / "grown", first, engine)
    kept = contents(load(tmp_path / "grown"))
    dice = random.Random(1)
    for number in range(3):
        norms = dice.sample(longer["norms"], dice.randint(1, 4))
        study = small_study(**{**longer, "norms": norms, "name": f"part-{number}"})
        process = start(tmp_path / "grown", study, "--engine", engine, "--workers", str(1 + number % 2))
        time.sleep(1 + dice.random() * 4)
        process.kill()
        process.communicate()
        now = contents(load(tmp_path / "grown"))
        assert {key: now[key] for key in kept} == kept
        kept = now
    grow(tmp_path / "grown", small_study(**longer), engine)
    grow(tmp_path / "whole", small_study(**longer), engine)
    assert contents(load(tmp_path / "grown")) == contents(load(tmp_path / "whole"))
    assert normlab.load(tmp_path / "grown").metrics().drop("seconds_per_step").equals(tables_of(tmp_path / "whole")[0])


@pytest.mark.parametrize("path", ["n" * 300, "n\0n"])
def test_a_path_that_no_system_allows_is_told(path: str) -> None:
    rule = "a path must be one that this system allows"
    with pytest.raises(InputError, match=rule):
        normlab.run(small_study(), path)
    with pytest.raises(InputError, match=rule):
        normlab.prepare(small_study(), path)
    with pytest.raises(InputError, match=rule):
        normlab.run(f"{path}.toml")
    with pytest.raises(InputError, match=rule):
        normlab.load(path)
    with pytest.raises(InputError, match=rule):
        normlab.merge([path], "both")


def test_a_study_beside_its_module_is_run_from_python_as_from_the_command_line(tmp_path: Path) -> None:
    code = "from dataclasses import replace\nfrom normlab.norms.none import NONE\nMINE = replace(NONE, name='mine')\n"
    (tmp_path / "norms_beside_a_file.py").write_text(code)
    study = small_study(**BASE).to_toml().replace('"none"', '"norms_beside_a_file:MINE"')
    (tmp_path / "mine.toml").write_text(study)
    before = list(sys.path)
    results = normlab.run(tmp_path / "mine.toml", engine="sequential")
    sys.modules.pop("norms_beside_a_file")
    assert set(results.metrics()["status"]) == {"finished"}
    assert sys.path == before


def test_a_growing_arm_goes_on_with_its_engine(tmp_path: Path) -> None:
    """Which engine is the fastest may change with what is left to do; the runs of an arm shall not."""
    first = normlab.run(small_study(), tmp_path, engine="sequential")
    second = normlab.run(small_study(seeds=3, norms=["none", "batch", "layer", "rms"]), tmp_path)
    engines = {(item.arm.norm, item.seed): item.environment["engine"] for item in second.outcomes}
    assert {item.environment["engine"] for item in first.outcomes} == {"sequential"}
    assert {engine for (norm, _), engine in engines.items() if norm != "rms"} == {"sequential"}
    assert {engine for (norm, _), engine in engines.items() if norm == "rms"} == {"fused"}


def test_what_no_engine_can_train_is_a_gap_with_its_reason() -> None:
    sweep = {"training.trainable": ["all", "norms"]}
    results = normlab.run(small_study(norms=["none", "layer"], sweep=sweep, seeds=1))
    trained = [(item.arm.norm, item.arm.condition.training.trainable) for item in results.outcomes]
    assert sorted(trained) == [("layer", "all"), ("layer", "norms"), ("none", "all")]
    (gap,) = results.plan.skipped
    assert gap.what == "none on article at trainable norms"
    assert "learns nothing" in gap.reason
    with pytest.raises(InputError, match="an engine must be able to train every norm"):
        normlab.run(small_study(norms=["none"], sweep=sweep), engine="sequential")
