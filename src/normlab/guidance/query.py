"""From a question ("a CNN in batches of 2") to what the evidence says of it, as data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, isnan, log2
from typing import Literal

from normlab.errors import InputError
from normlab.guidance.ledger import Ledger, LedgerRow
from normlab.guidance.precedent import ModelKind, Pair, Precedent

NEAR = 1.0  # doublings of the batch size up to which evidence is about the same batch
Sureness = Literal["decided", "mixed", "undecided", "far", "nothing"]
Holds = Literal["holds", "fails", "unknown"]
THEMES: dict[ModelKind, tuple[str, ...]] = {  # of the ledger, beside those about batches, rates and noise
    "perceptron": (),
    "cnn": ("convolutional nets",),
    "recurrent": ("recurrent nets",),
    "transformer": ("transformers",),
}
GUIDANCE = ("article-e", "article-e-recurrent", "bn-small-batch", "cnn-ranking", "ln-rnn")
"""The claims that test the guidance that everybody repeats."""


@dataclass(frozen=True)
class Query:
    """What is asked.

    Arguments:
        kind: the kind of model.
        batch_size: samples in a batch; None if it may be any.
        norms: only these are asked about; all if empty.

    Raises:
        InputError: the batch holds no sample.
    """

    kind: ModelKind
    batch_size: int | None = None
    norms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise InputError("batch_size must be at least 1", self.batch_size, "Leave it out for a batch of any size.")

    def distance(self, precedent: Precedent) -> float:
        """Doublings between the batch that is asked about and that of a precedent."""
        return abs(log2(precedent.batch_size / self.batch_size)) if self.batch_size is not None else 0.0


@dataclass(frozen=True)
class Choice:
    """A norm as an answer.

    Arguments:
        norm, label: the norm.
        first: in how many conditions it is among the best.
        beaten: in how many another one is better than it.
        conditions: in how many it was compared.
    """

    norm: str
    label: str
    first: int
    beaten: int
    conditions: int


@dataclass(frozen=True)
class Guidance:
    """What the evidence says of a question.

    Arguments:
        query: the question.
        sureness: ``decided``: everything near names the same norms; ``mixed``: conditions near disagree, or only some
            decide; ``undecided``: none of them does; ``far``: only other batch sizes were tried; ``nothing``: no
            model of the kind was.
        choices: the norms that were compared near, those first that are most often among the best.
        near: the conditions that are about what is asked, the nearest first.
        elsewhere: conditions of the same kind at other batch sizes, whose answer is another.
        claims: rows of the ledger that matter here.
        guidance: what became of the article's guidance.
        untested: fields that were tried with one value only in the conditions that are near.
    """

    query: Query
    sureness: Sureness
    choices: tuple[Choice, ...] = ()
    near: tuple[Precedent, ...] = ()
    elsewhere: tuple[Precedent, ...] = ()
    claims: tuple[LedgerRow, ...] = ()
    guidance: tuple[tuple[LedgerRow, Holds], ...] = ()
    untested: tuple[str, ...] = ()

    @property
    def best(self) -> tuple[Choice, ...]:
        """The norms to take: never beaten near, and among the best wherever something is decided."""
        decided = sum(item.decided for item in self.near)
        return tuple(choice for choice in self.choices if decided and not choice.beaten and choice.first == decided)


def answer(query: Query, precedents: Iterable[Precedent], ledger: Ledger) -> Guidance:
    """What the evidence says of a question.

    Norms are never ranked where their comparisons are undecided: a norm is named where it is among the best of every
    condition near the question that decides something, and beaten in none.

    Arguments:
        query: the question.
        precedents: those of the ledger and of the user's own folders.
        ledger: whose claims are told beside.
    """
    of_kind: list[Precedent] = []
    for item in precedents:
        if item.kind == query.kind and len(item.labels) > 1 and not any(map(item.repeats, of_kind)):
            of_kind.append(item)
    rows = tuple(_relevant(query, ledger))
    article = tuple((row, _holds(row)) for row in ledger.rows if row.id in GUIDANCE)
    if not of_kind:
        return Guidance(query, "nothing", claims=rows, guidance=article)
    nearest = min(map(query.distance, of_kind))
    reach = max(NEAR, nearest)
    near = sorted((item for item in of_kind if query.distance(item) <= reach), key=query.distance)
    choices = tuple(_choices(near, query))
    return Guidance(
        query=query,
        sureness=_sureness(near, choices, nearest),
        choices=choices,
        near=tuple(near),
        elsewhere=tuple(_elsewhere(of_kind, near)),
        claims=rows,
        guidance=article,
        untested=tuple(_untested(near)),
    )


def _choices(near: Sequence[Precedent], query: Query) -> list[Choice]:
    norms: dict[str, str] = {}
    for item in near:
        norms.update({norm: label for norm, label in item.labels.items() if not query.norms or norm in query.norms})
    choices = []
    for norm, label in norms.items():
        compared = [item for item in near if norm in item.labels]
        first = sum(item.decided and norm in item.best for item in compared)
        beaten = sum(any(pair.worse == norm for pair in item.pairs) for item in compared)
        choices.append(Choice(norm, label, first, beaten, len(compared)))
    return sorted(choices, key=lambda choice: (choice.beaten - choice.first, -choice.conditions))


def _sureness(near: Sequence[Precedent], choices: Sequence[Choice], nearest: float) -> Sureness:
    if nearest > NEAR:
        return "far"
    decided = [item for item in near if item.decided]
    if not decided:
        return "undecided"
    agreed = any(choice.first == len(decided) and not choice.beaten for choice in choices)
    return "decided" if agreed and len(decided) == len(near) else "mixed"


def _elsewhere(of_kind: Sequence[Precedent], near: Sequence[Precedent]) -> Iterator[Precedent]:
    """Conditions of a task that is near, at other batch sizes, where another norm leads."""
    best = {item.task: set(item.best) for item in reversed(near) if item.decided}
    for item in of_kind:
        if item not in near and item.decided and item.task in best and not best[item.task] & set(item.best):
            yield item


def _untested(near: Sequence[Precedent]) -> Iterator[str]:
    """What was tried with one value only; `task`, `epochs`, `learning_rate` and `optimizer` are looked at."""
    for name in ("task", "epochs", "learning_rate", "optimizer"):
        if len({getattr(item, name) for item in near}) == 1 and not any(
            f"training.{name}" in item.tuned for item in near
        ):
            yield name


def _relevant(query: Query, ledger: Ledger) -> Iterator[LedgerRow]:
    themes = {*THEMES[query.kind], *(("batch size",) if query.batch_size else ())}
    yield from (row for row in ledger.rows if row.theme in themes)


def _holds(row: LedgerRow) -> Holds:
    if row.verdict == "supported":
        return "holds"
    return "fails" if row.verdict == "contradicted" else "unknown"


def closest_win(precedent: Precedent, norm: str) -> Pair | None:
    """The comparison of a norm with the next best one that it was shown to beat, if there is any."""
    pairs = (precedent.pair(norm, other) for other in precedent.labels)
    wins = [pair for pair in pairs if pair and pair.worse not in {None, norm}]
    return min(wins, key=lambda pair: inf if isnan(pair.difference) else abs(pair.difference), default=None)
