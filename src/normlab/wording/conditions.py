"""Conditions as text: headings, the middle of a sentence, rows of a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from normlab.study.arm import TUNED, Condition
from normlab.study.study import OWN_FIELDS
from normlab.wording.language import ENGLISH, Language

RATE, BATCH_SIZE, EPOCHS = "training.learning_rate", "training.batch_size", "training.epochs"
SAID = ("task", EPOCHS, BATCH_SIZE, "training.optimizer", RATE)


def value_text(value: Any, language: Language = ENGLISH) -> str:
    """A value of a study's field as a reader writes it.

    >>> value_text((100, 100)), value_text(0.001), value_text(True), value_text(None)
    ('100-100', '0.001', 'yes', 'none')
    """
    if isinstance(value, tuple | list):
        return "-".join(value_text(item, language) for item in value)
    if isinstance(value, bool) or value is None:
        return language.templates[{True: "value.yes", False: "value.no", None: "value.nothing"}[value]]
    return f"{value:g}" if isinstance(value, float) else str(value)


def field_name(path: str) -> str:
    """The last part of a path as words.

    >>> field_name("training.batch_size")
    'batch size'
    """
    return path.rpartition(".")[2].replace("_", " ")


def field_text(path: str, value: Any, language: Language = ENGLISH) -> str:
    """A field with its value.

    >>> field_text("training.batch_size", 64), field_text("training.learning_rate", TUNED)
    ('batch size 64', "each norm's own best learning rate")
    """
    if value == TUNED:
        return language.fill("condition.own" if path in OWN_FIELDS else "condition.tuned", name=field_name(path))
    return language.fill("condition.field", name=field_name(path), value=value_text(value, language))


def condition_title(condition: Condition, paths: Iterable[str] = (), language: Language = ENGLISH) -> str:
    """The task and the values of swept fields, as a heading.

    Arguments:
        condition: the condition.
        paths: the swept fields.
        language: of the heading.
    """
    fields = (field_text(path, condition.value(path), language) for path in paths if path != "task")
    return language.templates["list.separator"].join([condition.task.title, *fields])


def condition_place(condition: Condition, paths: Iterable[str] = (), language: Language = ENGLISH) -> str:
    """The same among the conditions of one study: the task only where there are several."""
    swept = tuple(paths)
    if "task" in swept or not swept:
        return condition_title(condition, swept, language)
    return language.templates["list.separator"].join(
        field_text(path, condition.value(path), language) for path in swept
    )


def condition_rows(condition: Condition, language: Language = ENGLISH) -> dict[str, str]:
    """Every field but the task, by its name, for a table."""
    values = condition.values()
    del values["task"]
    return {field_name(path): value_text(value, language) for path, value in values.items()}


def task_data(condition: Condition, language: Language = ENGLISH) -> str:
    """The task by its title, and whether all seeds share one draw of its data: nothing is then known of others."""
    key = "condition.data_fixed" if condition.task.fixed else "condition.data"
    return language.fill(key, task=condition.task.title)


def place(condition: Condition, paths: Iterable[str] = (), language: Language = ENGLISH) -> str:
    """Task and data, length, batch size and rate, for the middle of a sentence; then what else was swept."""
    training = condition.training
    text = language.fill(
        "condition.place",
        data=task_data(condition, language),
        length=length(condition, language),
        batch_size=field_text(BATCH_SIZE, condition.value(BATCH_SIZE), language),
        optimizer=language.templates[f"optimizer.{training.optimizer}"],
        rate=field_text(RATE, condition.value(RATE), language),
    )
    further = dict.fromkeys((*paths, *condition.tuned))
    others = (field_text(path, condition.value(path), language) for path in further if path not in SAID)
    return language.templates["list.separator"].join([text, *others])


def length(condition: Condition, language: Language = ENGLISH) -> str:
    """The length of a training in epochs and steps, as far as norms share them."""
    if EPOCHS in condition.tuned:
        return field_text(EPOCHS, TUNED, language)
    epochs = language.counted("count.epoch", condition.training.epochs)
    if BATCH_SIZE in condition.tuned:
        return epochs
    return language.fill("condition.length", epochs=epochs, steps=language.counted("count.step", condition.steps))
