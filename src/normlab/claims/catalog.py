"""The built-in claims, and the claims that a study names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from normlab.claims import (
    article,
    batch_size,
    convolutional,
    depth,
    federated,
    leaks,
    learning_rate,
    recurrent,
    regularization,
    robustness,
    transformers,
)
from normlab.claims.spec import Claim
from normlab.norms.assignment import parse_assignment
from normlab.reading import find
from normlab.reading.objects import MARK, object_behind
from normlab.record import digest
from normlab.study.study import Study
from normlab.tasks.catalog import find_task
from normlab.tasks.spec import Task

CLAIMS: tuple[Claim, ...] = (
    *article.CLAIMS,
    *batch_size.CLAIMS,
    *convolutional.CLAIMS,
    *regularization.CLAIMS,
    *learning_rate.CLAIMS,
    *depth.CLAIMS,
    *leaks.CLAIMS,
    *recurrent.CLAIMS,
    *transformers.CLAIMS,
    *federated.CLAIMS,
    *robustness.CLAIMS,
)


def find_claim(reference: str, objects: Mapping[str, Any] | None = None) -> Claim:
    """The claim of that id, the user's behind ``package.module:object``, or the object of Python that stands for it.

    Arguments:
        reference: by which a study names it.
        objects: what was given as objects of Python, by the text that stands for it; see `Study.objects`.

    Raises:
        InputError: there is none.

    >>> find_claim("article-b").sources_of
    'batch'
    """
    if reference.startswith(MARK):
        return object_behind(reference, objects or {}, "claim", Claim)
    return find(reference, "claim", CLAIMS, Claim)


def find_claims(references: Iterable[str], objects: Mapping[str, Any] | None = None) -> tuple[Claim, ...]:
    """The claims that a study names, each with every option of its tasks: looked up once, before anything is trained.

    What comes back is plain data (`Claim.as_dict`), from which findings are made without any of the user's code.

    Arguments:
        references, objects: as for `find_claim`.

    Raises:
        InputError: there is no such claim, or it is about a task or norm that there is not.
        StudyError: an option of its study is unknown to a task or has a value that cannot be used.

    >>> find_claims(["article-d"])[0].models["article"]["placement"]
    'before'
    """
    return tuple(_completed(find_claim(reference, objects), objects or {}) for reference in references)


def claim_studies(
    references: Iterable[str], seeds: int | None = None, objects: Mapping[str, Any] | None = None
) -> tuple[Study, ...]:
    """The studies that test claims; claims that the same runs test share one, and what is not testable has none.

    Arguments:
        references, objects: as for `find_claim`.
        seeds: how many, in the place of the claims' own; of claims that share a study the largest number is taken.

    Raises:
        InputError, StudyError: there is no such claim, or no such number of seeds.

    >>> first, second = claim_studies(["article-a", "article-b-batch", "article-b"], seeds=8)
    >>> first.claims, first.seeds, second.claims, second.sweep["training.batch_size"][:2]
    (('article-a', 'article-b'), 8, ('article-b-batch',), [16, 32])
    """
    alike: dict[str, list[tuple[str, Study]]] = {}
    for reference in dict.fromkeys(references):
        claim = find_claim(reference, objects)
        if claim.not_testable:
            continue
        study = claim.to_study(seeds, reference)
        content = {name: value for name, value in study.as_dict().items() if name not in _OF_ONE_CLAIM}
        alike.setdefault(digest(content), []).append((reference, study))
    return tuple(_joined(together) for together in alike.values())


_OF_ONE_CLAIM = {"name", "title", "claims", "seeds"}


def _joined(together: list[tuple[str, Study]]) -> Study:
    """One study for claims that need the same runs."""
    references = [reference for reference, _ in together]
    studies = [study for _, study in together]
    if len(studies) == 1:
        return studies[0]
    changes = {
        "name": f"{studies[0].name[:40]}-and-{len(studies) - 1}-more",
        "title": " ".join(study.title for study in studies),
        "claims": references,
        "seeds": max(study.seeds for study in studies),
    }
    return studies[0].with_changes(changes)


def _completed(claim: Claim, objects: Mapping[str, Any]) -> Claim:
    tasks = {reference: _task(reference, objects) for reference in claim.tasks}
    models = {reference: _options(claim, task) for reference, task in tasks.items()}
    return claim.completed(models, _norms(claim), all(task.fixed for task in tasks.values()))


def _norms(claim: Claim) -> dict[str, str]:
    """The norms of a claim, each with the name that its arms have: options at their defaults are left out there."""
    norms = claim.to_study().norms
    return {norm: norm if norm.startswith(MARK) else str(parse_assignment(norm)) for norm in norms}


def _task(reference: str, objects: Mapping[str, Any]) -> Task:
    if reference.startswith(MARK):
        return object_behind(reference, objects, "task", Task)
    return find_task(reference)


def _options(claim: Claim, task: Task) -> dict[str, Any]:
    known = type(task.options).model_fields
    options = {name: value for name, value in claim.to_study().model.items() if name in known}
    return task.with_options(options).as_dict()
