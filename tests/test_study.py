"""Studies: TOML in and out, validation, what a mistake is told."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from helpers import small_study
from normlab.claims.catalog import claims_digest
from normlab.errors import InputError, NormlabError, StudyError
from normlab.plan import make_plan
from normlab.records import Setting
from normlab.studies.library import NAMES, load_study, text_of
from normlab.study import Study
from normlab.tasks.catalog import find_task


@pytest.mark.parametrize("name", NAMES)
def test_a_built_in_study_survives_the_way_through_toml(name: str) -> None:
    study = load_study(name)
    again = Study.from_toml(study.to_toml())
    assert again == study
    assert again.key == study.key
    assert claims_digest(study.claims)


def test_the_article_is_the_published_study() -> None:
    study = load_study("article")
    task = find_task("article")
    (setting,) = study.settings(task)
    assert setting == Setting(hidden=(50,), batch_size=64, epochs=50, optimizer="adam", learning_rate=1e-3)
    assert setting.epochs * setting.steps_per_epoch(task.training_samples) == 800
    assert {"batch", "layer", "group:groups=5"} <= set(study.norms)
    assert study.seeds == 30


def test_every_field_is_part_of_the_key() -> None:
    changes = {
        "seed": 1,
        "seeds": 5,
        "norms": ["batch"],
        "setting.epochs": 3,
        "sweep.batch_size": [8, 16],
        "measure.noise_steps": 5,
        "analysis.margins.final_loss": 0.2,
        "claims": [],
    }
    keys = {load_study("article", {path: value}).key for path, value in changes.items()}
    assert len(keys | {load_study("article").key}) == len(changes) + 1


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({"norms": ["bacth"]}, ["norms", "Did you mean 'batch'?"]),
        ({"tasks": ["artcle"]}, ["tasks", "Did you mean 'article'?"]),
        ({"setting.bath_size": 3}, ["setting.bath_size", "Did you mean 'batch_size'?"]),
        ({"sweeps": 3}, ["sweeps", "Did you mean 'sweep'?"]),
        ({"norms": ["group:groups=7"]}, ["7 groups do not divide 50 channels", "1, 2, 5, 10, 25, 50"]),
        ({"setting.batch_size": 0}, ["setting.batch_size", "greater than or equal to 1", "0"]),
        ({"setting.batch_size": 1}, ["batch", "one element per statistic"]),
        ({"setting.batch_size": 1001}, ["at most the 1000 training samples", "1001"]),
        ({"setting.learning_rate": -0.1}, ["setting.learning_rate", "greater than 0"]),
        ({"setting.learning_rate": float("nan")}, ["setting.learning_rate", "finite"]),
        ({"setting.optimizer": "adma"}, ["setting.optimizer", "'adam'"]),
        ({"setting.momentum": 0.9}, ["setting.momentum", "sgd"]),
        ({"seeds": 0}, ["seeds", "greater than or equal to 1"]),
        ({"seeds": 2.5}, ["seeds", "2.5"]),
        ({"norms": ["batch", "batch:eps=1e-5"]}, ["differ", "'batch' twice"]),
        ({"norms": []}, ["norms", "at least 1"]),
        ({"sweep.batch_siz": [1]}, ["sweep", "Did you mean 'batch_size'?"]),
        ({"sweep.batch_size": []}, ["at least one value"]),
        ({"sweep.batch_size": [16, "many"]}, ["batch_size", "many"]),
        ({"sweep.batch_size": [16, 2000]}, ["at most the 1000 training samples", "2000"]),
        ({"analysis.alpha": 2}, ["analysis.alpha", "less than 0.5"]),
        ({"name": "../evil"}, ["name"]),
    ],
)
def test_a_mistake_is_told_with_its_path(changes: dict, messages: list[str]) -> None:
    with pytest.raises(NormlabError) as caught:
        load_study("article", changes)
    for message in messages:
        assert message in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(StudyError) as caught:
        load_study("article", {"seeds": 0, "setting.epochs": 0, "nme": "x"})
    assert len(caught.value.problems) == 3


def test_a_syntax_error_is_told_with_its_line() -> None:
    with pytest.raises(StudyError, match="line 3"):
        Study.from_toml('name = "x"\nseeds = 2\nnorms = [batch]\n', "mine.toml")


def test_another_schema_is_refused() -> None:
    with pytest.raises(InputError, match="schema must be 1"):
        Study.from_toml(text_of("article").replace("schema = 1", "schema = 2"))


def test_a_flag_does_not_silently_lose_against_a_sweep() -> None:
    text = text_of("article") + "\n[sweep]\nbatch_size = [16, 64]\n"
    with pytest.raises(InputError, match="sweep"):
        Study.from_toml(text, changes={"setting.batch_size": 32})


@pytest.mark.parametrize("source", ["artcle", "nothing.toml", "."])
def test_a_study_that_is_not_there(source: str) -> None:
    with pytest.raises(InputError, match="STUDY must be"):
        load_study(source)


def mutated(text: str, dice: random.Random) -> str:
    """``text`` with one to four random changes."""
    values = [
        "9" * 40,
        *["0", "-1", "1e999", "nan", "true", '""', "[]", "[[]]", "{}", "1979-05-27", '"batch"', "0.5", "inf"],
    ]
    keys = ["seeds", "setting.epochs", "sweep.hidden", "x"]
    for _ in range(dice.randint(1, 4)):
        lines = text.split("\n")
        row = dice.randrange(len(lines))
        kind = dice.randrange(6)
        if kind == 0:
            del lines[row]
        elif kind == 1:
            lines.insert(dice.randrange(len(lines)), lines[row])
        elif kind == 2 and "=" in lines[row]:
            lines[row] = lines[row].split("=")[0] + "= " + dice.choice(values)
        elif kind == 3 and lines[row]:
            place = dice.randrange(len(lines[row]))
            lines[row] = lines[row][:place] + dice.choice('"[]=.#\n\t\0é0z,:') + lines[row][place + 1 :]
        elif kind == 4:
            lines.insert(row, f"{dice.choice(keys)} = {dice.choice(values)}")
        elif kind == 5 and lines[row]:
            lines[row] = lines[row].replace("=", dice.choice(["", "==", "= -", "= 10"]), 1)
        text = "\n".join(lines) or "#"
    return text


def test_500_mutations_give_a_study_or_a_message(tmp_path: Path) -> None:
    dice = random.Random(0)
    accepted = refused = 0
    for number in range(500):
        path = tmp_path / f"{number}.toml"
        path.write_text(mutated(text_of(NAMES[number % len(NAMES)]), dice), encoding="utf-8")
        try:
            plan = make_plan(load_study(path))
        except NormlabError:
            refused += 1
        else:
            assert Study.from_toml(plan.study.to_toml()) == plan.study
            accepted += 1
    assert accepted > 25
    assert refused > 150


def test_what_means_nothing_is_skipped_with_its_reason() -> None:
    plan = make_plan(small_study(norms=["batch", "group:groups=50", "group:groups=25"]))
    assert [cohort.norm for cohort in plan.cohorts] == ["batch", "group:groups=25"]
    assert [remark.what for remark in plan.skipped] == ["group:groups=50 on article"]
    assert "the output is beta whatever the input" in plan.skipped[0].reason
    assert "+1 and -1" in plan.notes[0].reason


def test_a_study_of_nothing_but_skipped_norms_is_refused() -> None:
    with pytest.raises(InputError, match="something to train"):
        make_plan(small_study(norms=["group:groups=50"]))


def test_a_sweep_gives_every_combination_with_the_same_seeds() -> None:
    study = small_study(sweep={"batch_size": [8, 333], "learning_rate": [0.1, 0.01, 0.001]})
    plan = make_plan(study)
    settings = {cohort.setting for cohort in plan.cohorts}
    assert len(settings) == 6
    assert len(plan.cohorts) == 6 * len(study.norms)
    assert {cohort.seeds for cohort in plan.cohorts} == {(0, 1)}
    assert "one sample" in plan.notes[0].reason  # 1000 = 3 * 333 + 1
