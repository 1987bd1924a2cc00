"""The built-in tasks."""

from __future__ import annotations

from normlab.reading import find
from normlab.tasks.article import ARTICLE
from normlab.tasks.batch_relative import BATCH_RELATIVE
from normlab.tasks.characters import CHARACTERS, CHARACTERS_LARGE
from normlab.tasks.cnn import DIGITS_CNN
from normlab.tasks.digits import DIGITS
from normlab.tasks.federated import DIGITS_FEDERATED
from normlab.tasks.planar import CIRCLES, MOONS, SPIRALS
from normlab.tasks.resnet import DIGITS_RESNET
from normlab.tasks.rnn import ADDING, DIGITS_GRU, DIGITS_LSTM
from normlab.tasks.spec import Task
from normlab.tasks.tabular import BREAST_CANCER, DIABETES, WINE
from normlab.tasks.transformer import MODULAR_SUM, REVERSAL

TASKS: tuple[Task, ...] = (
    ARTICLE,
    DIGITS,
    DIGITS_CNN,
    DIGITS_RESNET,
    DIGITS_LSTM,
    DIGITS_GRU,
    ADDING,
    REVERSAL,
    MODULAR_SUM,
    CHARACTERS,
    CHARACTERS_LARGE,
    BREAST_CANCER,
    WINE,
    DIABETES,
    MOONS,
    CIRCLES,
    SPIRALS,
    BATCH_RELATIVE,
    DIGITS_FEDERATED,
)


def find_task(reference: str) -> Task:
    """The task of that name, or the user's behind ``package.module:object``.

    >>> find_task("article").training_samples
    1000
    """
    return find(reference, "task", TASKS, Task)
