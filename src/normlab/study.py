"""A study: norms x tasks x settings x seeds and the claims it tests; frozen, hashable, kept as TOML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from typing import Any, Literal, Self

import tomli_w
from pydantic import Field, FiniteFloat, ValidationError, field_validator, model_validator

from normlab.errors import InputError, StudyError, nearest
from normlab.norms.catalog import parse
from normlab.norms.spec import Norm
from normlab.reading import toml_table
from normlab.records import Measure, Record, Setting, digest
from normlab.tasks.catalog import find_task
from normlab.tasks.spec import Task

SCHEMA = 1
MOST_SETTINGS = 10_000
MOST_SAMPLES = 20_000_000  # that a run sees in all its epochs: their order is kept in memory


class Margins(Record):
    """Differences too small to matter, by metric; "equivalent" means smaller than this.

    Losses and fluctuations are compared as ratios: 0.1 stands for a factor of exp(0.1), about 10%. Accuracy
    and the batch-statistics fluctuation (which is exactly 0 for many norms) are compared as differences.
    """

    final_loss: FiniteFloat = Field(0.1, gt=0)
    early_log_loss: FiniteFloat = Field(0.05, gt=0)
    early_log_canonical_loss: FiniteFloat = Field(0.05, gt=0)
    fluctuation_total: FiniteFloat = Field(0.2, gt=0)
    fluctuation_iterate: FiniteFloat = Field(0.2, gt=0)
    fluctuation_sampling: FiniteFloat = Field(0.2, gt=0)
    fluctuation_batch_statistics: FiniteFloat = Field(0.002, gt=0)
    test_loss: FiniteFloat = Field(0.1, gt=0)
    test_accuracy: FiniteFloat = Field(0.005, gt=0)
    seed_spread: FiniteFloat = Field(0.2, gt=0)


class Analysis(Record):
    """How the outcomes are judged: level of the tests, intervals, bootstrap resamples, power, margins."""

    alpha: FiniteFloat = Field(0.05, gt=0, lt=0.5)
    confidence: FiniteFloat = Field(0.95, gt=0.5, lt=1)
    resamples: int = Field(10_000, ge=100, le=1_000_000)
    power: FiniteFloat = Field(0.8, gt=0, lt=1)
    margins: Margins = Margins()


class Study(Record):
    """What is compared, under which conditions, how often, and how it is judged.

    Arguments:
        schema: version of this format, 1.
        name: short name, part of the default output folder.
        title: one line for the report.
        seed: the study seed, from which every random stream comes.
        seeds: how many runs each norm gets in each setting; all norms share the same seeds.
        norms: norms as ``name:key=value,key=value`` or ``package.module:object``.
        tasks: tasks by name or as ``package.module:object``.
        setting: everything else that a run depends on.
        sweep: fields of the setting with several values; every combination is trained.
        measure: what is measured in every run.
        analysis: how the outcomes are judged.
        claims: ids of the claims that are tested.

    Raises:
        StudyError: the study is not valid; lists every problem with its path.

    >>> study = Study(name="mine", norms=["batch", "layer"], tasks=["article"], seeds=5)
    >>> study.setting.batch_size
    64
    >>> Study.from_toml(study.to_toml()) == study
    True
    """

    schema_version: Literal[1] = Field(1, alias="schema")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=60)
    title: str = ""
    seed: int = Field(0, ge=0, lt=2**63)
    seeds: int = Field(30, ge=1, le=100_000)
    norms: tuple[str, ...] = Field(min_length=1, max_length=1000, strict=False)
    tasks: tuple[str, ...] = Field(min_length=1, max_length=1000, strict=False)
    claims: tuple[str, ...] = Field((), max_length=1000, strict=False)
    setting: Setting = Setting()
    sweep: dict[str, list[Any]] = Field(default_factory=dict)
    measure: Measure = Measure()
    analysis: Analysis = Analysis()

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise StudyError("this", _problems(error)) from None

    @field_validator("norms")
    @classmethod
    def _canonical_norms(cls, norms: tuple[str, ...]) -> tuple[str, ...]:
        return _distinct(tuple(str(parse(norm)) for norm in norms), "norms")

    @field_validator("tasks", "claims")
    @classmethod
    def _distinct_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return _distinct(names, "entries")

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        for task in tasks:
            find_task(task)
        return tasks

    @field_validator("sweep")
    @classmethod
    def _settings_fields(cls, sweep: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for name, values in sweep.items():
            if name not in Setting.model_fields:
                hint = nearest(name, Setting.model_fields)
                raise InputError("a sweep must be over fields of the setting", repr(name), hint)
            if not values:
                raise InputError(f"{name} must have at least one value", "an empty list", "Add one or remove it.")
            for value in values:
                try:
                    Setting.model_validate({name: value})
                except ValidationError as error:
                    raise ValueError("\n".join(_problems(error))) from None
        return sweep

    @model_validator(mode="after")
    def _trainable(self) -> Self:
        combinations = prod(len(values) for values in self.sweep.values())
        if combinations > MOST_SETTINGS:
            raise InputError(f"sweep must give at most {MOST_SETTINGS} settings", combinations, "Sweep over less.")
        problems = [problem for task in self.tasks for problem in self._obstacles(find_task(task))]
        if problems:
            raise ValueError("\n".join(dict.fromkeys(problems)))
        return self

    def _obstacles(self, task: Task) -> Iterator[str]:
        for setting in self.settings(task):
            if setting.momentum and setting.optimizer != "sgd":
                yield f"setting.momentum: is for sgd; {setting.optimizer} would ignore it. Leave one of them out."
            if setting.nesterov and not setting.momentum:
                yield "setting.nesterov: needs momentum. Set momentum=0.9, or leave nesterov out."
            if setting.dropout and not task.dropout_units(setting):
                yield f"setting.dropout: {task.name} has no place for dropout. Leave it out, or use an MLP."
            if setting.epochs * task.training_samples > MOST_SAMPLES:
                most = MOST_SAMPLES // task.training_samples
                yield (
                    f"setting.epochs: must be at most {most} with the {task.training_samples} training samples of "
                    f"{task.name}, whose order is drawn beforehand; got {setting.epochs}. Train for fewer epochs."
                )
            if setting.batch_size > task.training_samples:
                yield (
                    f"setting.batch_size: must be at most the {task.training_samples} training samples of "
                    f"{task.name}; got {setting.batch_size}. Use a smaller batch."
                )
            for norm in self.parsed_norms():
                for slot in task.slots(setting):
                    if reason := norm.refusal(slot, setting.batch_size):
                        yield f"norms: {reason}."

    def settings(self, task: Task) -> tuple[Setting, ...]:
        """Every combination of the sweep, each with the task's own choices where fields were left open."""
        combinations = product(*self.sweep.values())
        base = self.setting.model_dump()
        changed = (Setting(**{**base, **dict(zip(self.sweep, values, strict=True))}) for values in combinations)
        return tuple(dict.fromkeys(task.resolve(setting) for setting in changed))

    def parsed_norms(self) -> tuple[Norm, ...]:
        """The norms with their specs and options."""
        return tuple(parse(norm) for norm in self.norms)

    @property
    def key(self) -> str:
        """The name of this study: a hash of everything in it."""
        return digest(self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """The study as plain data, every field given."""
        return self.model_dump(mode="json", by_alias=True)

    def to_toml(self) -> str:
        """The study as TOML, every field given."""
        return tomli_w.dumps(self.as_dict())

    @classmethod
    def from_toml(cls, text: str, origin: str = "the TOML text", changes: Mapping[str, Any] | None = None) -> Study:
        """The study written in ``text``.

        Arguments:
            text: a study as TOML.
            origin: where the text comes from, for messages.
            changes: values by dotted path, such as ``{"setting.epochs": 5}``, that replace those in the text.

        Raises:
            StudyError: the text is not TOML, or not a valid study.
            InputError: the text is of another schema version, or a path in ``changes`` leads nowhere.
        """
        content = toml_table(text, origin)
        version = content.get("schema", SCHEMA)
        if type(version) is not int or version != SCHEMA:
            advice = f"Write the study for schema {SCHEMA} or use the normlab that wrote it."
            raise InputError(
                f"schema must be {SCHEMA}, the version that this normlab reads", f"{version!r} in {origin}", advice
            )
        for path, value in (changes or {}).items():
            _put(content, path, value)
        for path in changes or {}:
            _refuse_swept(content, path)
        try:
            return cls(**content)
        except StudyError as error:
            raise StudyError(origin, error.problems) from None


def _put(content: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    place = content
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise InputError("a path must lead through tables of the study", repr(path), "Try setting.epochs=5.")
    place[last] = value


def _refuse_swept(content: dict[str, Any], path: str) -> None:
    """A value that a sweep would replace is a mistake."""
    parent, _, field = path.rpartition(".")
    sweep = content.get("sweep")
    if parent == "setting" and isinstance(sweep, dict) and field in sweep:
        given = f"{path} beside a sweep over {sweep[field]}"
        raise InputError("a field must be given once or swept", given, f"Change sweep.{field} instead.")


def _distinct(names: tuple[str, ...], what: str) -> tuple[str, ...]:
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise InputError(f"{what} must differ", f"{twice[0]!r} twice", "Remove one of the two.")
    return names


_PLAIN = {
    "tuple_type": 'a list, such as ["one", "another"]',
    "list_type": "a list, such as [1, 2]",
    "model_type": "a table with fields of its own",
    "model_attributes_type": "a table with fields of its own",
    "dict_type": "a table with fields of its own",
    "string_pattern_mismatch": "letters, digits, _ and - only, beginning with a letter or digit",
}


def _problems(error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_url=False):
        path = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            yield f"{path}: no such field. {nearest(str(item['loc'][-1]), _fields(item['loc'][:-1]))}"
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


def _fields(path: tuple[int | str, ...]) -> list[str]:
    models: dict[str, type[Record]] = {"setting": Setting, "measure": Measure, "analysis": Analysis, "margins": Margins}
    model = models.get(str(path[-1]), Study) if path else Study
    return [field.alias or name for name, field in model.model_fields.items()]
