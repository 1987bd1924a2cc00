"""Studies: TOML in and out, validation, what a mistake is told."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from normlab.errors import InputError, NormlabError, StudyError
from normlab.plan import resolve
from normlab.study.library import NAMES, load_study, text_of
from normlab.study.study import Study
from normlab.training import Training


@pytest.mark.parametrize("name", NAMES)
def test_a_built_in_study_survives_the_way_through_toml(name: str) -> None:
    study = load_study(name)
    again = Study.from_toml(study.to_toml())
    assert again == study
    assert again.key == study.key


def test_the_article_is_the_published_study() -> None:
    study = load_study("article-once")
    (condition,) = {arm.condition for arm in resolve(study).arms}
    assert condition.training == Training(batch_size=64, epochs=50, optimizer="adam", learning_rate=1e-3)
    assert condition.value("model.hidden") == (50,)
    assert condition.steps == 800
    assert {"batch", "layer", "group:groups=5"} <= set(study.norms)
    assert study.seeds == 30


def test_every_field_is_part_of_the_key() -> None:
    changes = {
        "seed": 1,
        "seeds": 5,
        "norms": ["batch"],
        "training.epochs": 3,
        "sweep.training.batch_size": [8, 16],
        "measure.noise_steps": 5,
        "analysis.margins.final_loss": 0.2,
        "claims": [],
    }
    keys = {load_study("article-once", {path: value}).key for path, value in changes.items()}
    assert len(keys | {load_study("article-once").key}) == len(changes) + 1


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({"norms": ["bacth"]}, ["norm", "Did you mean 'batch'?"]),
        ({"tasks": ["artcle"]}, ["task", "Did you mean 'article'?"]),
        ({"training.bath_size": 3}, ["training.bath_size", "Did you mean 'batch_size'?"]),
        ({"setting.batch_size": 3}, ["setting.batch_size", "It is training.batch_size now."]),
        ({"setting.hidden": [3]}, ["setting.hidden", "It is model.hidden now."]),
        ({"model.hiden": [3]}, ["'hiden' for article", "Did you mean 'hidden'?"]),
        ({"model.hidden": [0]}, ["model.hidden.0", "greater than or equal to 1"]),
        ({"model.hidden": "wide"}, ["model.hidden", "wide"]),
        ({"sweeps": 3}, ["sweeps", "Did you mean 'sweep'?"]),
        ({"norms": ["group:groups=7"]}, ["7 groups do not divide 50 channels", "1, 2, 5, 10, 25, 50"]),
        ({"training.batch_size": 0}, ["training.batch_size", "greater than or equal to 1", "0"]),
        ({"norms": ["batch"], "training.batch_size": 1}, ["batch", "one element per statistic"]),
        ({"training.batch_size": 1001}, ["at most the 1000 training samples", "1001"]),
        ({"training.learning_rate": -0.1}, ["training.learning_rate", "greater than 0"]),
        ({"training.learning_rate": float("nan")}, ["training.learning_rate", "finite"]),
        ({"training.optimizer": "adma"}, ["training.optimizer", "'adam'"]),
        ({"training.momentum": 0.9}, ["training", "momentum", "sgd"]),
        ({"seeds": 0}, ["seeds", "greater than or equal to 1"]),
        ({"seeds": 2.5}, ["seeds", "2.5"]),
        ({"norms": ["batch", "batch:eps=1e-5"]}, ["differ", "'batch' twice"]),
        ({"norms": ["query-key=layer"]}, ["no slot of the role query-key", "its roles are block"]),
        ({"norms": []}, ["norms", "must be a list of at least 1 value"]),
        ({"model.hidden": []}, ["model.hidden: must be a list of at least 1 value; got []"]),
        ({"model.hidden": "x"}, ["model.hidden: must be a list, such as [50, 100]"]),
        ({"training.epochs": 2.5}, ["training.epochs: must be a whole number; got 2.5"]),
        ({"sweep.training.batch_siz": [1]}, ["sweep", "Did you mean 'batch_size'?"]),
        ({"sweep.batch_size": [1]}, ["sweep", "Did you mean 'training.batch_size'?"]),
        ({"sweep.training.batch_size": []}, ["at least one value"]),
        ({"sweep.training.batch_size": ["many"]}, ["batch_size", "many"]),
        ({"sweep.training.batch_size": [2000]}, ["at most the 1000 training samples", "2000"]),
        ({"analysis.alpha": 2}, ["analysis.alpha", "less than 0.5"]),
        ({"analysis.margins.final_loss": 0}, ["analysis.margins", "final_loss", "above 0"]),
        ({"name": "../evil"}, ["name"]),
    ],
)
def test_a_mistake_is_told_with_its_path(changes: dict, messages: list[str]) -> None:
    with pytest.raises(NormlabError) as caught:
        resolve(load_study("article-once", {"norms": ["group:groups=7"]} | changes))
    for message in messages:
        assert message in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(StudyError) as caught:
        load_study("article-once", {"seeds": 0, "training.epochs": 0, "nme": "x"})
    assert len(caught.value.problems) == 3


def test_a_syntax_error_is_told_with_its_line() -> None:
    with pytest.raises(StudyError, match="line 3"):
        Study.from_toml('name = "x"\nseeds = 2\nnorms = [batch]\n', "mine.toml")


def test_another_schema_is_refused() -> None:
    with pytest.raises(InputError, match=r"schema must be 2.*\[training\] and \[model\] now"):
        Study.from_toml(text_of("article-once").replace("schema = 2", "schema = 1"))
    with pytest.raises(InputError, match="Use the normlab that wrote it"):
        Study.from_toml(text_of("article-once").replace("schema = 2", "schema = 3"))


@pytest.mark.parametrize("sweep", ['"training.batch_size" = [16, 64]', "[sweep.training]\nbatch_size = [16, 64]"])
def test_a_flag_does_not_silently_lose_against_a_sweep(sweep: str) -> None:
    text = text_of("article-once") + f"\n[sweep]\n{sweep}\n"
    assert Study.from_toml(text).sweep == {"training.batch_size": [16, 64]}
    assert Study.from_toml(text, changes={"sweep.training.batch_size": [8]}).sweep == {"training.batch_size": [8]}
    given = Study.from_toml(text, changes={"training.batch_size": 32})
    assert (given.sweep, given.training.batch_size) == ({}, 32)
    with pytest.raises(InputError, match="given once or swept"):
        Study.from_toml(text, changes={"training.batch_size": 32, "sweep.training.batch_size": [8]})


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
    keys = ["seeds", "training.epochs", "sweep.hidden", "x"]
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
            plan = resolve(load_study(path))
        except NormlabError:
            refused += 1
        else:
            assert Study.from_toml(plan.study.to_toml()) == plan.study
            accepted += 1
    assert accepted > 25
    assert refused > 150


def test_entries_that_are_wrong_themselves_are_not_told_to_be_missing() -> None:
    with pytest.raises(StudyError) as caught:
        resolve(load_study("article-once", {"model.hidden": [10**9]}))
    assert "model.hidden.0" in str(caught.value)
    assert "at least 1 value" not in str(caught.value)


def test_a_sweep_over_what_cannot_be_swept_is_not_advised() -> None:
    with pytest.raises(NormlabError, match=r"Leave out seeds or its sweep"):
        load_study("article-once", {"seeds": 2, "sweep.seeds": [1, 2]})
