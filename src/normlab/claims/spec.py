"""What a claim is: data fixed before the runs, so that its hash can be kept with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

import tomli_w

from normlab.claims.hypotheses import (
    Comparative,
    Hypothesis,
    Interaction,
    OptionTrend,
    Threshold,
    Trend,
    hypothesis_as_dict,
    hypothesis_from_dict,
    places,
    plain_value,
)
from normlab.errors import InputError, nearest
from normlab.record import digest
from normlab.stats.multiplicity import seeds_for_significance
from normlab.study.study import Study

__all__ = ["Claim", "Comparative", "Interaction", "OptionTrend", "Original", "Threshold", "Trend"]

FREE = ("training.dtype",)  # what a claim leaves open unless it says otherwise
Theme = Literal[
    "",
    "convergence",
    "batch size",
    "recurrent nets",
    "transformers",
    "convolutional nets",
    "depth and initialization",
    "learning rate",
    "regularization and noise",
    "robustness",
    "federated and transfer",
    "cost",
]


@dataclass(frozen=True)
class Original:
    """Figures of a source, to be put beside one's own.

    Arguments:
        what: of what, in the order of the figures, such as "error of BatchNorm at 32, 16, 8, 4 and 2 images a worker".
        figures: the numbers.
        unit: behind each; empty for none.

    >>> Original("error of BatchNorm at 32 and 2 images a worker", (23.6, 34.7), "%").figures
    (23.6, 34.7)
    """

    what: str
    figures: tuple[float, ...]
    unit: str = ""


@dataclass(frozen=True, eq=False)
class Claim:
    """Hypotheses that are fixed before the runs, with the study that tests them.

    A claim is supported if every hypothesis is, contradicted if any is, and inconclusive otherwise. It is judged in
    every condition that matches: each field of ``training`` and of the task's options, whether the data are fixed, and
    how the tail is measured, must be as in the claim's study, defaults counted, except those that are ``free``. Of
    swept fields each value that the claim's study names must be there.

    Arguments:
        id: the name in studies.
        statement: what is claimed, in a sentence.
        source: who claims it.
        study: the fields of the study that tests it, in text form: ``norms``, ``tasks``, ``fixed_data``,
            ``training``, ``model``, ``sweep``, ``measure``, ``policy``, ``seeds``.
        hypotheses: what must hold.
        free: paths of fields that may have any value; each combination of their values is a finding of its own.
        theme: what a reader who wonders about it looks under; empty for none.
        original: figures of the source, where they are known.
        scale: how the setting differs from that of the source.
        not_testable: why it cannot be tested here, of a claim that has no hypotheses.
        quick: whether its own study, run again with other seeds, takes seconds.
        sources_of: a norm whose sources of late fluctuation the finding names.
        models: every option of each task by its name, filled in by `normlab.claims.catalog.find_claims`.
        since: when a folder of results first named it in this form; empty where no folder is known.
        runs_before: how many of its runs the folder held by then, of which it is no prediction.

    Raises:
        InputError: a hypothesis does not belong to the study.
        StudyError: the study is not valid.

    >>> claim = Claim(
    ...     id="mine",
    ...     statement="GroupNorm ends lower than BatchNorm in batches of 8",
    ...     source="folklore",
    ...     study={"norms": ["group:groups=10", "batch"], "tasks": ["digits"], "training": {"batch_size": 8}},
    ...     hypotheses=(Comparative("test_loss", "group:groups=10", "below", "batch"),),
    ... )
    >>> claim.to_study(seeds=20).training.batch_size
    8
    >>> Claim.from_dict(claim.as_dict()) == claim
    True
    """

    id: str
    statement: str
    source: str
    study: Mapping[str, Any]
    hypotheses: tuple[Hypothesis, ...]
    free: tuple[str, ...] = FREE
    theme: Theme = ""
    original: tuple[Original, ...] = ()
    scale: str = ""
    not_testable: str = ""
    quick: bool = False
    sources_of: str = ""
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    since: str = ""
    runs_before: int = 0

    def __post_init__(self) -> None:
        study = self.to_study()
        if self.theme not in get_args(Theme):
            hint = nearest(self.theme, get_args(Theme))
            raise InputError(f"claim {self.id} must have a known theme", repr(self.theme), hint)
        if bool(self.hypotheses) == bool(self.not_testable):
            given = "both" if self.hypotheses else "none"
            rule = f"claim {self.id} must have hypotheses, or a reason why it is not testable"
            raise InputError(rule, given, "Say what would be measured.")
        for hypothesis in self.hypotheses:
            self._check(hypothesis, study)

    def _check(self, hypothesis: Hypothesis, study: Study) -> None:
        rule = f"claim {self.id}: a hypothesis must be about its study"
        if hypothesis.relation not in hypothesis.relations:
            hint = nearest(str(hypothesis.relation), hypothesis.relations)
            raise InputError(
                f"claim {self.id}: a {hypothesis.kind} must have a known relation", hypothesis.relation, hint
            )
        for norm in hypothesis.norms:
            if norm not in study.norms:
                raise InputError(rule, f"the norm {norm!r}", nearest(norm, study.norms))
        if hypothesis.task not in {*study.tasks, ""} or (not hypothesis.task and len(study.tasks) > 1):
            raise InputError(rule, f"the task {hypothesis.task!r}", nearest(hypothesis.task, study.tasks))
        for path in hypothesis.ranges:
            if path not in study.sweep:
                raise InputError(rule, f"one over {path}", "Sweep over it in the claim's study.")
        for path, value in hypothesis.given:
            if plain_value(value) not in [plain_value(swept) for swept in study.sweep.get(path, [])]:
                raise InputError(rule, f"{path}={value!r}", "Sweep over it in the claim's study.")
        if isinstance(hypothesis, Trend):
            _check_positive(rule, hypothesis.over, study.sweep[hypothesis.over])
        if isinstance(hypothesis, OptionTrend):
            _check_positive(rule, hypothesis.option, hypothesis.values)

    @property
    def name(self) -> str:
        """The id, as catalogues call it."""
        return self.id

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that it is about."""
        return self.to_study().tasks

    @property
    def norms(self) -> tuple[str, ...]:
        """The norms that it needs."""
        return tuple(dict.fromkeys(norm for hypothesis in self.hypotheses for norm in hypothesis.norms))

    @property
    def fewest_seeds(self) -> int:
        """The fewest seeds with which its contrasts, which are one family of tests, can be decided at all.

        >>> from normlab.claims.article import ARTICLE_D
        >>> ARTICLE_D.fewest_seeds  # of three contrasts
        10
        """
        study = self.to_study()
        judged = [item for item in self.hypotheses if not isinstance(item, Threshold)]
        contrasts = sum(len(list(places(item, study.sweep))) for item in judged)
        return seeds_for_significance(contrasts, study.analysis.alpha, study.analysis.full_level_seeds)

    @property
    def key(self) -> str:
        """A hash of all that is claimed."""
        return digest(self.as_dict())

    def to_study(self, seeds: int | None = None, reference: str = "") -> Study:
        """The study that tests it.

        Arguments:
            seeds: how many, in the place of the claim's own.
            reference: by which the study names the claim; its id if empty.
        """
        fields = dict(self.study) if seeds is None else {**self.study, "seeds": seeds}
        return Study(name=self.id, title=self.statement, claims=(reference or self.id,), **fields)

    def study_text(self, reference: str = "") -> str:
        """The study that tests it as TOML, as the claim states it: what it leaves out is at its default.

        Arguments:
            reference: as for `to_study`.
        """
        head = {"name": self.id, "title": self.statement, "claims": [reference or self.id]}
        return tomli_w.dumps({**head, **_plain(self.study)})

    def completed(
        self,
        models: Mapping[str, Mapping[str, Any]],
        norms: Mapping[str, str] | None = None,
        fixed_data: bool = False,
    ) -> Claim:
        """The claim with every option of each of its tasks, and its norms as arms name them.

        Arguments:
            models: every option by task.
            norms: the name in arms of each norm; the same as in the claim's study if None.
            fixed_data: whether its tasks have no data but fixed ones, whatever the claim's study says.
        """
        fixed = {"fixed_data": True} if fixed_data else {}
        names = norms or {norm: norm for norm in self.to_study().norms}
        return replace(
            self,
            study={**self.study, **fixed, "norms": [names[norm] for norm in self.to_study().norms]},
            hypotheses=tuple(hypothesis.renamed(names) for hypothesis in self.hypotheses),
            sources_of=names.get(self.sources_of, self.sources_of),
            models={task: models[task] for task in self.tasks},
        )

    def as_dict(self) -> dict[str, Any]:
        """The claim as plain data, what a folder knows of it left out."""
        return {
            "id": self.id,
            "statement": self.statement,
            "source": self.source,
            "study": _plain(self.study),
            "hypotheses": [hypothesis_as_dict(hypothesis) for hypothesis in self.hypotheses],
            "free": list(self.free),
            "theme": self.theme,
            "original": [_plain(asdict(item)) for item in self.original],
            "scale": self.scale,
            "not_testable": self.not_testable,
            "quick": self.quick,
            "sources_of": self.sources_of,
            "models": _plain(self.models),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Claim:
        """The claim that ``as_dict`` gave, with what a folder adds to it: its hash, since when and what was there.

        Raises:
            InputError: it is not such a claim.
        """
        fields = {name: value for name, value in content.items() if name != "hash"}
        fields["hypotheses"] = tuple(hypothesis_from_dict(item) for item in fields.pop("hypotheses", ()))
        fields["free"] = tuple(fields.get("free", FREE))
        try:
            originals = fields.pop("original", ())
            fields["original"] = tuple(Original(**{**item, "figures": tuple(item["figures"])}) for item in originals)
            return cls(**fields)
        except (TypeError, KeyError):
            known = ", ".join(cls.__dataclass_fields__)
            raise InputError("a claim must have its fields", sorted(fields), f"They are {known}.") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Claim) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash(self.key)


def _check_positive(rule: str, over: str, values: Sequence[Any]) -> None:
    numbers = [value for value in values if isinstance(value, int | float) and value > 0]
    if len(numbers) < len(values) or len(set(numbers)) < 2:
        given = f"a trend over {over} of {list(values)}"
        raise InputError(rule, given, "Sweep over two or more positive numbers.")


def _plain(content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _plain(value) if isinstance(value, Mapping) else plain_value(value) for name, value in content.items()
    }
