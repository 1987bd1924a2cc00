"""A study: norms x tasks x conditions x seeds and the claims it tests; plain data, kept as TOML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import Any, Literal, Self

import tomli_w
from pydantic import Field, FiniteFloat, PrivateAttr, ValidationError, field_validator, model_validator

from normlab.errors import InputError, StudyError, nearest
from normlab.probes.measure import Measure
from normlab.reading import flattened, toml_table
from normlab.reading.objects import texts_of
from normlab.record import Record, digest
from normlab.study.policy import Policy
from normlab.training import Training

SCHEMA = 2
OWN_FIELDS = ("training.batch_size", "training.epochs")  # that each norm may have its own value of
MOST_CONDITIONS = 10_000
MOVED = {  # fields of the first format, and where they are now
    **{f"setting.{name}": f"model.{name}" for name in ("hidden", "activation", "placement", "dropout", "loss")},
    **{f"setting.{name}": f"training.{name}" for name in Training.model_fields},
    "setting": "training and model",
}


class Analysis(Record):
    """How the outcomes are judged.

    Arguments:
        primary: the metric by which norms are recommended; empty for the loss on the main held-out set as a deployed
            model has it.
        alpha: level of the tests.
        full_level_seeds: from so many seeds on verdicts are at ``alpha``; fewer are held to less in proportion, so that
            verdicts last when seeds are added. 1 for a study that does not grow.
        confidence: of intervals.
        resamples: of the bootstrap.
        power: with which the seeds that are said to be needed would find an effect of the observed size.
        margins: differences too small to matter, by metric, in the place of the metrics' own. Losses are compared as
            ratios: 0.1 stands for a factor of exp(0.1), about 10%.
    """

    primary: str = ""
    alpha: FiniteFloat = Field(0.05, gt=0, lt=0.5)
    full_level_seeds: int = Field(64, ge=1, le=1_000_000)
    confidence: FiniteFloat = Field(0.95, gt=0.5, lt=1)
    resamples: int = Field(10_000, ge=100, le=1_000_000)
    power: FiniteFloat = Field(0.8, gt=0, lt=1)
    margins: dict[str, FiniteFloat] = Field(default_factory=dict)

    @field_validator("margins")
    @classmethod
    def _positive(cls, margins: dict[str, float]) -> dict[str, float]:
        for name, value in margins.items():
            if value <= 0:
                raise InputError(f"the margin of {name} must be above 0", value, "Give what is too small to matter.")
        return margins


class Study(Record):
    """What is compared, under which conditions, how often, and how it is judged.

    It is text: what it names is looked up by `normlab.plan.resolve`. In Python, norms, tasks, probes and claims may
    be given as objects.

    Arguments:
        schema: version of this format, 2.
        name: short name, part of the default output folder.
        title: one line for the report.
        seed: the study seed, from which every random stream comes.
        seeds: how many runs each norm gets in each condition; all norms share the same seeds.
        norms: norms as ``name:key=value,key=value`` or ``package.module:object``, or one for each role as
            ``block=rms,query-key=layer``.
        tasks: tasks by name or as ``package.module:object``.
        training: how runs are trained.
        model: options of the tasks.
        fixed_data: whether all seeds share one draw or split of the data, the published one where there is one. By
            default each seed has its own, held-out samples included, and findings are about new draws too.
        sweep: several values by path, such as ``{"training.batch_size": [16, 64], "model.hidden": [[50], [100]]}``;
            every combination is trained.
        measure: what is measured in every run.
        analysis: how the outcomes are judged.
        policy: which runs come next: all at once, tuning for each norm, seeds until the evidence decides.
        claims: ids of the claims that are tested.
        by_norm: fields of the training that each norm has its own value of, by norm and path, such as the largest batch
            that fits a memory: ``{"batch": {"training.batch_size": 32}}``. Norms that are left out have the study's.
        remarks: what a reader must know of how the study came about, a sentence each.

    Raises:
        StudyError: the study is not valid; lists every problem with its path.

    >>> study = Study(name="mine", norms=["batch", "layer"], tasks=["article"], seeds=5)
    >>> study.training.batch_size
    64
    >>> Study.from_toml(study.to_toml()) == study
    True
    """

    schema_version: Literal[2] = Field(2, alias="schema")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=60)
    title: str = ""
    seed: int = Field(0, ge=0, lt=2**63)
    seeds: int = Field(30, ge=1, le=100_000)
    norms: tuple[str, ...] = Field(min_length=1, max_length=1000, strict=False)
    tasks: tuple[str, ...] = Field(min_length=1, max_length=1000, strict=False)
    claims: tuple[str, ...] = Field((), max_length=1000, strict=False)
    fixed_data: bool = False
    training: Training = Training()
    model: dict[str, Any] = Field(default_factory=dict)
    sweep: dict[str, list[Any]] = Field(default_factory=dict)
    measure: Measure = Measure()
    analysis: Analysis = Analysis()
    policy: Policy = Policy()
    by_norm: dict[str, dict[str, int]] = Field(default_factory=dict)
    remarks: tuple[str, ...] = Field((), max_length=1000, strict=False)
    _objects: dict[str, Any] = PrivateAttr(default_factory=dict)

    def __init__(self, /, **values: Any) -> None:
        objects: dict[str, Any] = {}
        for name in ("norms", "tasks", "claims"):
            if name in values:
                values[name] = texts_of(values[name], objects)
        measure = values.get("measure")
        if isinstance(measure, Measure):  # from here on it is text alone, as that which is read from a folder
            objects |= measure.objects
            values["measure"] = measure.as_dict()
        elif isinstance(measure, Mapping) and "probes" in measure:
            values["measure"] = {**measure, "probes": texts_of(measure["probes"], objects)}
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise StudyError("this", problems_of(error)) from None
        self._objects.update(objects)

    @property
    def objects(self) -> Mapping[str, Any]:
        """What was given as an object of Python, by the text that stands for it."""
        return self._objects

    @field_validator("norms", "tasks", "claims")
    @classmethod
    def _distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise InputError("entries must differ", f"{twice[0]!r} twice", "Remove one of the two.")
        return names

    @field_validator("sweep", mode="before")
    @classmethod
    def _flat_sweep(cls, sweep: Any) -> Any:
        return dict(flattened(sweep)) if isinstance(sweep, Mapping) else sweep

    @field_validator("sweep")
    @classmethod
    def _known_paths(cls, sweep: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for path, values in sweep.items():
            table, _, name = path.partition(".")
            if table not in {"training", "model"} or not name:
                advice = f"It is {MOVED[path]} now." if path in MOVED else _nearest_path(path)
                raise InputError("a sweep must be over fields of training or model", repr(path), advice)
            if table == "training" and name not in Training.model_fields:
                hint = nearest(name, Training.model_fields)
                raise InputError("a sweep must be over fields that there are", repr(path), hint)
            if not values:
                raise InputError(f"{path} must have at least one value", "an empty list", "Add one or remove it.")
        return sweep

    @field_validator("by_norm")
    @classmethod
    def _own_fields(cls, by_norm: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
        for path in (path for values in by_norm.values() for path in values):
            if path not in OWN_FIELDS:
                rule = f"what norms have their own values of must be {' or '.join(OWN_FIELDS)}"
                raise InputError(rule, repr(path), "Tune it for each norm instead, in policy.tune.")
        return by_norm

    @model_validator(mode="after")
    def _few_enough(self) -> Self:
        combinations = prod(len(values) for values in self.sweep.values())
        if combinations > MOST_CONDITIONS:
            raise InputError(f"sweep must give at most {MOST_CONDITIONS} conditions", combinations, "Sweep over less.")
        for path in self.sweep:
            table, _, name = path.partition(".")
            if table == "model" and name in self.model:
                given = f"model.{name} beside a sweep over it"
                raise InputError("a field must be given once or swept", given, f"Leave out model.{name}.")
            if path in self.by_norm_paths:
                given = f"{path} in a sweep and in by_norm"
                raise InputError("a field must be swept or each norm's own", given, "Leave out one of the two.")
            if path in self.policy.tune:
                given = f"{path} in a sweep and in policy.tune"
                raise InputError("a field must be swept or tuned", given, "Leave out one of the two.")
        for path, values in self.policy.tune.items():
            common = getattr(self.training, path.partition(".")[2])
            if not values and not common:
                advice = f"Give the values, such as --tune {path}=1e-4,1e-3,1e-2."
                raise InputError("a grid around the study's value needs one above 0", f"{path} {common}", advice)
        return self

    @property
    def key(self) -> str:
        """The name of this study: a hash of everything in it."""
        return digest(self.as_dict())

    @property
    def by_norm_paths(self) -> tuple[str, ...]:
        """The fields that norms have their own values of, tuned ones aside."""
        return tuple(path for path in OWN_FIELDS if any(path in values for values in self.by_norm.values()))

    def to_toml(self) -> str:
        """The study as TOML, every field given."""
        return tomli_w.dumps(_without_none(self.as_dict()))

    @classmethod
    def from_toml(cls, text: str, origin: str = "the TOML text", changes: Mapping[str, Any] | None = None) -> Study:
        """The study written in ``text``.

        Arguments:
            text: a study as TOML.
            origin: where the text comes from, for messages.
            changes: values by dotted path, such as ``{"training.epochs": 5}``, that replace those in the text.

        Raises:
            StudyError: the text is not TOML, or not a valid study.
            InputError: the text is of another schema version, or a path in ``changes`` leads nowhere.
        """
        content = toml_table(text, origin)
        version = content.get("schema", SCHEMA)
        if type(version) is not int or version != SCHEMA:
            advice = (
                "The fields of [setting] stand under [training] and [model] now; `normlab studies show` shows the form."
                if version == 1
                else "Use the normlab that wrote it."
            )
            raise InputError(f"schema must be {SCHEMA}, which this normlab reads", f"{version!r} in {origin}", advice)
        try:
            return cls(**changed(content, changes or {}))
        except StudyError as error:
            raise StudyError(origin, error.problems) from None

    def with_changes(self, changes: Mapping[str, Any]) -> Study:
        """The study with values by dotted path in the place of its own.

        Raises:
            StudyError, InputError: as for `from_toml`.
        """
        try:
            study = type(self)(**changed(self.as_dict(), changes))
        except StudyError as error:
            raise StudyError("the changed study", error.problems) from None
        study._objects.update({name: thing for name, thing in self._objects.items() if name not in study._objects})
        return study


def changed(content: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A study's content with values by dotted path.

    A sweep takes the place of the value that the study has for the same field, and a value that of a sweep.

    Raises:
        InputError: a path leads nowhere, or there are a value and a sweep for the same field.
    """
    content = {name: dict(value) if isinstance(value, dict) else value for name, value in content.items()}
    for path, value in changes.items():
        if path in MOVED or path.partition(".")[0] == "setting":
            advice = f"It is {MOVED.get(path, MOVED['setting'])} now."
            raise InputError("a path must name a field of the study", repr(path), advice)
        _put(content, path, value)
    sweep = content.get("sweep")
    swept = dict(flattened(sweep)) if isinstance(sweep, Mapping) else {}
    for path in changes:
        if path in swept and ("sweep" in changes or f"sweep.{path}" in changes):
            given = f"{path} beside a sweep over {swept[path]}"
            raise InputError("a field must be given once or swept", given, f"Leave out {path} or its sweep.")
        if path in swept:
            content["sweep"] = swept = {name: values for name, values in swept.items() if name != path}
        if path.startswith("sweep."):
            table, _, name = path.removeprefix("sweep.").partition(".")
            if isinstance(content.get(table), dict):
                content[table].pop(name, None)
    return content


def _put(content: dict[str, Any], path: str, value: Any) -> None:
    parents = path.split(".")
    if parents[0] == "sweep" and len(parents) == 3:  # one place for both forms of a swept path
        sweep = content.setdefault("sweep", {})
        if isinstance(sweep, dict):
            content["sweep"] = {**dict(flattened(sweep)), ".".join(parents[1:]): value}
            return
    place: Any = content
    for parent in parents[:-1]:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise InputError("a path must lead through tables of the study", repr(path), "Try training.epochs=5.")
    place[parents[-1]] = value


def _nearest_path(path: str) -> str:
    fields = [f"training.{name}" for name in Training.model_fields]
    plain = path.rpartition(".")[2]
    if plain in Training.model_fields:
        return f"Did you mean 'training.{plain}'?"
    return nearest(path, fields) if path else "Try training.batch_size."


def _without_none(content: Any) -> Any:
    """TOML has no word for nothing: such fields are left out."""
    if isinstance(content, dict):
        return {name: _without_none(value) for name, value in content.items() if value is not None}
    return content


_PLAIN = {
    "tuple_type": 'a list, such as [50, 100] or ["batch", "layer"]',
    "too_short": "a list of at least 1 value",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "text",
    "list_type": "a list, such as [1, 2]",
    "model_type": "a table with fields of its own",
    "model_attributes_type": "a table with fields of its own",
    "dict_type": "a table with fields of its own",
    "string_pattern_mismatch": "letters, digits, _ and - only, beginning with a letter or digit",
}


def problems_of(error: ValidationError, table: str = "") -> Iterator[str]:
    """Every problem of a validation, a sentence each with its path, which lies in ``table``."""
    items = error.errors(include_url=False)
    places = [item["loc"] for item in items]
    for item in items:
        if item["type"] == "too_short" and any(place[:-1] == item["loc"] for place in places):
            continue  # too short without the entries that are wrong themselves
        path = ".".join(str(part) for part in ((table,) if table else ()) + item["loc"])
        if item["type"] == "extra_forbidden":
            advice = f"It is {MOVED[path]} now." if path in MOVED else nearest(str(item["loc"][-1]), _fields(item))
            yield f"{path}: no such field. {advice}"
        elif item["type"] == "value_error":
            prefix = f"{path}: " if path else ""
            yield from (prefix + line for line in str(item["ctx"]["error"]).split("\n"))
        elif item["type"] == "missing":
            yield f"{path}: is missing. Add it."
        elif item["type"] in _PLAIN:
            yield f"{path}: must be {_PLAIN[item['type']]}; got {item['input']!r}."
        else:
            message = item["msg"].removeprefix("Input should be ").removeprefix("Value should ")
            yield f"{path}: must be {message}; got {item['input']!r}."


def _fields(item: Any) -> Iterable[str]:
    models: dict[str, type[Record]] = {"training": Training, "measure": Measure, "analysis": Analysis, "policy": Policy}
    model = models.get(str(item["loc"][-2]), Study) if len(item["loc"]) > 1 else Study
    return [field.alias or name for name, field in model.model_fields.items()]
