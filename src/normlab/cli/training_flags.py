"""Flags of the commands that train: which runs, how they are trained, and where they are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from normlab.cli.assignments import assignment, tuned
from normlab.cli.parameters import NUMBER, PATH, WHOLE
from normlab.errors import InputError

Engine = Annotated[str, typer.Option(help="How runs are trained: auto or the name of an engine.")]
Workers = Annotated[int | None, typer.Option(help="Processes or threads to train in; every core by default.", **WHOLE)]
Device = Annotated[str, typer.Option(help="cpu, or a GPU such as cuda:0.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be trained, and for how long; train nothing.")]
UntilDecided = Annotated[
    bool, typer.Option("--until-decided", help="Add seeds until every comparison is decided, or hopeless.")
]
MaxSeeds = Annotated[
    int | None,
    typer.Option(help="Most seeds that deciding may take, 256 by default; implies --until-decided.", **WHOLE),
]
Seeds = Annotated[int | None, typer.Option(help="Paired runs of each norm.", **WHOLE)]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training data.", **WHOLE)]
Rate = Annotated[float | None, typer.Option(help="Learning rate.", **NUMBER)]
Optimizer = Annotated[str | None, typer.Option(help="adam, adamw, sgd or muon.")]
Tune = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD[=VALUE,VALUE]",
        help="Tune a number of the training for each norm, on seeds that are not tested on: `learning_rate`, or "
        "`training.weight_decay=1e-4,1e-3,1e-2`; repeat it, and every combination is tried.",
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Any field of the study, with a TOML value: `--set model.hidden=[100,100]`, "
        "`--set training.schedule=cosine`, `--set analysis.alpha=0.01`.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder for the results, which may hold runs; results/NAME.", **PATH),
]


def study_fields(
    flags: Mapping[str, Any],
    *,
    seeds: int | None,
    until_decided: bool,
    max_seeds: int | None,
    tune: Iterable[str] | None,
    changes: Iterable[str] | None,
) -> dict[str, Any]:
    """The fields of a study that flags give, by path; a later one comes before an earlier one.

    Arguments:
        flags: values by path, of which None says nothing.
        seeds, until_decided, max_seeds, tune, changes: as the flags above.

    Raises:
        InputError: the seeds are given and to be decided, or a text cannot be read.

    >>> study_fields({"norms": None}, seeds=None, until_decided=False, max_seeds=9, tune=None, changes=["seed=1"])
    {'policy.until_decided': True, 'policy.max_seeds': 9, 'seed': 1}
    """
    until_decided = until_decided or max_seeds is not None
    if until_decided and seeds is not None:
        advice = "Leave out --seeds; --max-seeds says how many there may be."
        raise InputError("the seeds must be given or decided", "--seeds beside --until-decided", advice)
    policy = {"policy.until_decided": until_decided or None, "policy.max_seeds": max_seeds}
    fields = {**flags, "seeds": seeds, **policy, "policy.tune": dict(map(tuned, tune)) if tune else None}
    given = {field: value for field, value in fields.items() if value is not None}
    return given | dict(map(assignment, changes or []))
