"""A task of a user's model in another process: made again there, from the texts that name what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from normlab.comparison.checkpoints import checkpoints as keeping
from normlab.comparison.own import OWN
from normlab.comparison.task import ModelTask, make_model_task
from normlab.errors import InputError
from normlab.reading.objects import MARK


@dataclass(frozen=True)
class Remake:
    """Makes the objects of a comparison again.

    Arguments:
        build, data, loss, step, where, name: as for `normlab.compare`, in texts.
        checkpoints: the folder to keep weights in, if any.
        digest: of the model and the data that must come out.
    """

    build: str
    data: str | None
    loss: str | None
    step: str | None
    where: tuple[str, ...] | None
    name: str
    checkpoints: Path | None
    digest: str

    @property
    def names(self) -> frozenset[str]:
        """The texts by which a study names these objects."""
        probes = [] if self.checkpoints is None else ["checkpoints"]
        return frozenset(f"{MARK}{name}" for name in (self.name, OWN, *probes))

    def __call__(self) -> Mapping[str, Any]:
        """The objects by these texts; made once in a process.

        Raises:
            InputError: model or data come out otherwise than before.
        """
        return _objects(self)


@lru_cache(maxsize=1)
def _objects(remake: Remake) -> Mapping[str, Any]:
    where = None if remake.where is None else list(remake.where)
    what: dict[str, Any] = {"loss": remake.loss, "step": remake.step, "where": where, "name": remake.name}
    made = make_model_task(remake.build, remake.data, **what)
    if digest_of(made) != remake.digest:
        rule = "model and data must be the same each time they are made, to be trained in several processes"
        raise InputError(rule, f"others of {remake.build}", "Draw them with a seed, or use one process.")
    probes = {} if remake.checkpoints is None else {f"{MARK}checkpoints": keeping(remake.checkpoints)}
    return {f"{MARK}{remake.name}": made.task, f"{MARK}{OWN}": made.own, **probes}


def digest_of(made: ModelTask) -> str:
    """A hash of what a task is made of."""
    return f"{made.maker.digest} {made.task.data.digest}"  # type: ignore[attr-defined]


def find_remake(
    made: ModelTask, build: Any, data: Any, loss: Any, step: Any, where: Any, checkpoints: Path | None
) -> tuple[Remake | None, str]:
    """What makes a task again in another process, or why nothing does.

    Arguments:
        made: the task.
        build, data, loss, step, where: what it was made of.
        checkpoints: the folder to keep weights in, if any.
    """
    selectors = (where,) if isinstance(where, str) else where
    texts = {"build": build, "data": data, "loss": loss, "step": step}
    others = [name for name, value in texts.items() if not (isinstance(value, str) or value is None)]
    are_texts = isinstance(selectors, list | tuple) and all(isinstance(one, str) for one in selectors)
    if selectors is not None and not are_texts:
        others.append("where")
    if others:
        return None, f"{' and '.join(others)} can be named as package.module:object for several"
    fixed = None if selectors is None else tuple(selectors)
    remake = Remake(build, data, loss, step, fixed, made.task.name, checkpoints, digest_of(made))
    try:
        remake()
    except InputError:
        return None, "model or data come out otherwise each time they are made; draw them with a seed for several"
    return remake, ""
