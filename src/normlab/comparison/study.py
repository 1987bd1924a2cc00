"""The study that a comparison of norms in a user's model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from normlab.comparison.objective import Step
from normlab.comparison.own import OWN
from normlab.comparison.task import ModelTask, make_model_task
from normlab.errors import InputError, nearest
from normlab.norms.assignment import parse_assignment
from normlab.norms.spec import NormSpec
from normlab.study.policy import Policy
from normlab.study.study import Study
from normlab.training import Training

PLAIN = ("seeds", "seed", "title", "fixed_data", "measure", "analysis", "sweep")


@dataclass(frozen=True, eq=False)
class Comparison:
    """A comparison of norms in a user's model, ready to be trained as any study.

    Arguments:
        study: the study, which holds the model as its task.
        said: what was found in model and data and decided about them, a sentence each.
    """

    study: Study
    said: tuple[str, ...]


def find_comparison(
    build: Any,
    data: Any = None,
    norms: Sequence[str | NormSpec] = (),
    *,
    loss: Any = None,
    step: Step | None = None,
    name: str = "",
    fields: Mapping[str, Any] | None = None,
) -> Comparison:
    """The comparison that is asked for; see `normlab.compare`.

    Raises:
        InputError: what was given cannot be trained or compared.
    """
    made = make_model_task(build, data, loss=loss, step=step, name=name)
    changes = {path_of(field): value for field, value in (fields or {}).items()}
    if made.batch_size:
        changes.setdefault("training.batch_size", made.batch_size)
    study = Study(name=made.task.name, title=made.task.title, norms=compared(norms, made), tasks=[made.task])
    return Comparison(study.with_changes(changes), made.said)


def compared(norms: Sequence[str | NormSpec], made: ModelTask) -> list[str | NormSpec]:
    """The norms that are compared: the model's own first, unless they are named or among the others."""
    if isinstance(norms, str) or not norms:
        rule = "`norms` must be a list of norms to compare with the model's own"
        raise InputError(rule, repr(norms), 'Try `norms=["group:groups=8", "layer"]`.')
    texts = [str(parse_assignment(norm)) if isinstance(norm, str) and norm != OWN else norm for norm in norms]
    if OWN in texts:
        return [made.own if text == OWN else text for text in texts]
    return texts if made.own_text in texts else [made.own, *texts]


def path_of(field: str) -> str:
    """The path in a study of a field that is given by its name alone.

    Raises:
        InputError: there is none.

    >>> path_of("seeds"), path_of("epochs"), path_of("until_decided"), path_of("analysis.alpha")
    ('seeds', 'training.epochs', 'policy.until_decided', 'analysis.alpha')
    """
    if "." in field or field in PLAIN:
        return field
    for table, model in (("training", Training), ("policy", Policy)):
        if field in model.model_fields:
            return f"{table}.{field}"
    known = [*PLAIN, *Training.model_fields, *Policy.model_fields]
    raise InputError("a field of a comparison must be one of the study", repr(field), nearest(field, known))
