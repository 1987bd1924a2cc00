"""How norms stood in one condition of one study, as plain data that outlives the folder it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from math import inf, isfinite, nan
from typing import Any, Literal, get_args

from normlab.advice import Advice, AnswerKind
from normlab.analysis import Evidence
from normlab.errors import InputError, nearest
from normlab.stats.arm_results import by_condition
from normlab.stats.comparisons import of_conditions
from normlab.stats.pairing import Comparison
from normlab.study.arm import Condition
from normlab.study.study import OWN_FIELDS
from normlab.training import Training

ModelKind = Literal["perceptron", "cnn", "recurrent", "transformer"]
KINDS: tuple[ModelKind, ...] = get_args(ModelKind)
ALIASES: Mapping[str, ModelKind] = {
    "mlp": "perceptron",
    "tabular": "perceptron",
    "conv": "cnn",
    "resnet": "cnn",
    "unet": "cnn",
    "rnn": "recurrent",
    "lstm": "recurrent",
    "gru": "recurrent",
    "attention": "transformer",
    "llm": "transformer",
    "vit": "transformer",
}
SAID = ("batch_size", "epochs", "optimizer", "learning_rate")  # of the training, what has a place of its own


@dataclass(frozen=True)
class Pair:
    """Two norms in the metric of the advice.

    Arguments:
        a, b: their texts.
        verdict: that of their comparison.
        difference, low, high: a against b with its interval, a logarithm where ``is_ratio``.
        is_ratio: whether it is one of a ratio.
        wins: share of the seeds in which a is better.
        seeds: pairs of runs.
    """

    a: str
    b: str
    verdict: str
    difference: float
    low: float
    high: float
    is_ratio: bool
    wins: float
    seeds: int

    @property
    def worse(self) -> str | None:
        """The norm that is surely worse, be it by less than matters; None if the verdict names none."""
        return {"a": self.b, "b": self.a}.get(self.verdict[0]) if self.verdict.endswith("better") else None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Pair:
        """The pair behind plain data, in which numbers that JSON has not are left empty."""
        bounds = {"difference": nan, "low": -inf, "high": inf, "wins": nan}
        missing = {name: value for name, value in bounds.items() if content[name] is None}
        return cls(**{**content, **missing})


@dataclass(frozen=True)
class Precedent:
    """How norms stood in one condition.

    Arguments:
        kind: what kind of model it is.
        task, title: reference and name of the task.
        fixed: whether all seeds shared one draw or split of the data.
        samples: of the training set.
        batch_size, epochs, steps, optimizer, learning_rate: how runs were trained.
        tuned: fields that each norm had at its own best value.
        others: further fields off their defaults, by path.
        metric, metric_title: what the norms were judged by.
        answer: what kind of answer the evidence gives; see `normlab.advice.Advice`.
        best: texts of the norms that the answer names.
        labels: the names of all norms by their texts, in the order of the study.
        medians: of the metric by norm.
        seeds: the largest number of pairs behind a comparison.
        pairs: the comparisons.
        limits: kinds of limits of the answer, such as ``not converged``.
        origin: the study that it comes from, or the folder.
    """

    kind: ModelKind
    task: str
    title: str
    fixed: bool
    samples: int
    batch_size: int
    epochs: int
    steps: int
    optimizer: str
    learning_rate: float
    tuned: tuple[str, ...]
    others: Mapping[str, Any]
    metric: str
    metric_title: str
    answer: AnswerKind
    best: tuple[str, ...]
    labels: Mapping[str, str]
    medians: Mapping[str, float | None]
    seeds: int
    pairs: tuple[Pair, ...]
    limits: tuple[str, ...]
    origin: str

    @property
    def decided(self) -> bool:
        """Whether it says which norms to take, be it several that are equivalent."""
        return self.answer in {"use", "leads", "tied"}

    def repeats(self, other: Precedent) -> bool:
        """Whether it is another report of the same."""
        return replace(self, origin=other.origin) == other

    def pair(self, a: str, b: str) -> Pair | None:
        """The comparison of two norms as that of a against b."""
        for item in self.pairs:
            if (item.a, item.b) == (a, b):
                return item
            if (item.b, item.a) == (a, b):
                return _mirrored(item)
        return None

    def as_dict(self) -> dict[str, Any]:
        """It as plain data; infinite and unknown numbers are left empty."""
        return dict(finite(asdict(self)))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Precedent:
        """What ``as_dict`` gave."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
        }
        return cls(**{**fields, "pairs": tuple(map(Pair.from_dict, content["pairs"]))})


def find_kind(name: str) -> ModelKind:
    """The kind of model that somebody means.

    Raises:
        InputError: there is no such kind.

    >>> find_kind("cnn"), find_kind("LSTM")
    ('cnn', 'recurrent')
    """
    known: dict[str, ModelKind] = {**{kind: kind for kind in KINDS}, **ALIASES}
    if name.lower() not in known:
        raise InputError("kind must be a kind of model that is known", repr(name), nearest(name.lower(), known))
    return known[name.lower()]


def kind_of(condition: Condition) -> ModelKind:
    """The kind of model of a condition, told by the places of its norms.

    >>> from normlab.plan import resolve
    >>> from normlab.study.study import Study
    >>> study = Study(name="mine", norms=["none"], tasks=["article", "digits-cnn", "digits-lstm", "reversal"])
    >>> [kind_of(arm.condition) for arm in resolve(study).arms]
    ['perceptron', 'cnn', 'recurrent', 'transformer']
    """
    roles, layouts = ({getattr(slot, name) for slot in condition.slots} for name in ("role", "layout"))
    if any(role.endswith("gate") for role in roles):
        return "recurrent"
    if "NLC" in layouts:
        return "transformer"
    return "cnn" if layouts & {"NCHW", "NCDHW", "NCL"} else "perceptron"


def precedents(evidence: Evidence, origin: str) -> Iterator[Precedent]:
    """How norms stand in each condition of a study in which something was trained.

    Arguments:
        evidence: of the study.
        origin: where it comes from, for readers.
    """
    compared = of_conditions(evidence.comparisons)
    for advice, (condition, arms) in zip(evidence.advice, by_condition(evidence.results), strict=True):
        if advice.kind == "no runs" or set(OWN_FIELDS) & set(condition.tuned):  # of no one batch or length
            continue
        texts = {item.label: item.norm for item in arms}
        yield _precedent(advice, condition, texts, compared.get(condition, ()), origin)


def _precedent(
    advice: Advice, condition: Condition, texts: Mapping[str, str], compared: tuple[Comparison, ...], origin: str
) -> Precedent:
    training = condition.training
    pairs = tuple(_pair(item) for item in compared if item.metric == advice.metric.name)
    off = {f"training.{name}": value for name, value in training.changes(Training()).items() if name not in SAID}
    return Precedent(
        kind=kind_of(condition),
        task=condition.task.reference,
        title=condition.task.title,
        fixed=condition.task.fixed,
        samples=condition.task.samples,
        batch_size=training.batch_size,
        epochs=training.epochs,
        steps=condition.steps,
        optimizer=training.optimizer,
        learning_rate=training.learning_rate,
        tuned=condition.tuned,
        others={**off, **{f"model.{name}": value for name, value in condition.model}},
        metric=advice.metric.name,
        metric_title=advice.metric.title,
        answer=advice.kind,
        best=tuple(texts[label] for label in advice.norms),
        labels={text: label for label, text in texts.items()},
        medians={item.norm: item.median for item in advice.standings},
        seeds=max((pair.seeds for pair in pairs), default=0),
        pairs=pairs,
        limits=tuple(dict.fromkeys(limit.kind for limit in advice.limits)),
        origin=origin,
    )


def _pair(item: Comparison) -> Pair:
    return Pair(
        item.a,
        item.b,
        item.verdict,
        item.difference,
        *item.ci,
        item.scale == "ratio",
        item.probability_a_better,
        item.pairs,
    )


def finite(content: Any) -> Any:
    """Plain data with None in the place of numbers that are not finite, for which JSON has no form.

    >>> finite({"low": float("-inf"), "values": (1.0, float("nan"))})
    {'low': None, 'values': [1.0, None]}
    """
    if isinstance(content, Mapping):
        return {name: finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not isfinite(content) else content


_OPPOSITE = {"a": "b", "b": "a"}


def _mirrored(item: Pair) -> Pair:
    side, _, rest = item.verdict.partition(" ")
    verdict = f"{_OPPOSITE[side]} {rest}" if side in _OPPOSITE else item.verdict
    return Pair(
        item.b, item.a, verdict, -item.difference, -item.high, -item.low, item.is_ratio, 1 - item.wins, item.seeds
    )
