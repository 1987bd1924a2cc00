"""A small study of what an answer leaves open, as a command; its seeds may not suffice to settle it."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from normlab.guidance.precedent import ModelKind
from normlab.guidance.query import Guidance

STUDIES: dict[ModelKind, str] = {
    "perceptron": "digits",
    "cnn": "digits-cnn",
    "recurrent": "digits-lstm",
    "transformer": "modular-sum",
}
MOST_SEEDS = 64
LONGER = 4  # times the epochs, where one length alone was tried


def next_study(guidance: Guidance) -> str:
    """The command: the norms that are still open, at the batch that is asked about, until it is decided.

    What was tried with one value only is varied: the rate is tuned for each norm, and the training made longer.

    >>> from normlab.guidance.query import Query
    >>> next_study(Guidance(Query("cnn", 2), "nothing"))
    'normlab run digits-cnn --batch-size 2 --tune learning_rate --until-decided --max-seeds 64 --out results/cnn-2'
    """
    return " ".join(map(quote, _arguments(guidance)))


def _arguments(guidance: Guidance) -> Iterator[str]:
    query = guidance.query
    yield from ("normlab", "run", STUDIES[query.kind])
    if query.batch_size:
        yield from ("--batch-size", str(query.batch_size))
    for norm in _open_norms(guidance):
        yield from ("--norm", norm)
    if "learning_rate" in guidance.untested or not guidance.near:
        yield from ("--tune", "learning_rate")
    if guidance.sureness == "decided" and "epochs" in guidance.untested:
        epochs = guidance.near[0].epochs
        yield from ("--sweep", f"training.epochs={epochs},{LONGER * epochs}")
    yield from ("--until-decided", "--max-seeds", str(MOST_SEEDS))
    yield from ("--out", f"results/{query.kind}-{query.batch_size or 'any'}")


def _open_norms(guidance: Guidance) -> Iterator[str]:
    """The norms that no condition near beats, and those that were asked for."""
    unbeaten = [choice.norm for choice in guidance.choices if not choice.beaten]
    norms = unbeaten if len(unbeaten) > 1 else [choice.norm for choice in guidance.choices]
    yield from dict.fromkeys((*norms, *guidance.query.norms))
