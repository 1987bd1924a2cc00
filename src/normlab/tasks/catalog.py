"""The built-in tasks."""

from __future__ import annotations

from normlab.reading import find
from normlab.tasks.article import ARTICLE
from normlab.tasks.cnn import DIGITS_CNN
from normlab.tasks.digits import DIGITS
from normlab.tasks.spec import Task

TASKS: tuple[Task, ...] = (ARTICLE, DIGITS, DIGITS_CNN)


def find_task(reference: str) -> Task:
    """The task of that name, or the user's behind ``package.module:object``.

    >>> find_task("article").training_samples
    1000
    """
    return find(reference, "task", TASKS, Task)  # type: ignore[type-abstract]
