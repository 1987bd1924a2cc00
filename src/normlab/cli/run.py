"""`normlab run`: trains a study and reports what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from normlab import cli
from normlab.cli.assignments import assignment, swept, tuned
from normlab.cli.interrupts import explained
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


def run(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A built-in study (`normlab studies`) or a TOML file.")],
    norm: Annotated[
        list[str] | None,
        typer.Option(
            help="Norm to compare, such as `batch`, `group:groups=10`, or one for each role as "
            "`block=rms,query-key=layer`; repeat it. Replaces the study's."
        ),
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="Task to train on; repeat it. Replaces the study's.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Paired runs of each norm.", **WHOLE)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples in a batch.", **WHOLE)] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.", **NUMBER)] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training data.", **WHOLE)] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam, adamw, sgd or muon.")] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUE,VALUE",
            help="Several values of a field, such as `training.batch_size=16,64,256` or `model.hidden=[50],[100,100]`; "
            "repeat it, and every combination is trained.",
        ),
    ] = None,
    tune: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD[=VALUE,VALUE]",
            help="Tune a number of the training for each norm, on seeds that are not tested on: `learning_rate`, or "
            "`training.weight_decay=1e-4,1e-3,1e-2`; repeat it, and every combination is tried. Replaces the study's.",
        ),
    ] = None,
    until_decided: UntilDecided = False,
    max_seeds: MaxSeeds = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Any field of the study, with a TOML value: `--set model.hidden=[100,100]`, "
            "`--set training.schedule=cosine`, `--set analysis.alpha=0.01`.",
        ),
    ] = None,
    fixed_data: Annotated[
        bool, typer.Option("--fixed-data", help="The same data or split for all seeds, not new ones for each.")
    ] = False,
    engine: Engine = "auto",
    workers: Workers = None,
    device: Device = "cpu",
    dry_run: DryRun = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the results, which may hold runs; results/NAME.", **PATH),
    ] = None,
) -> None:
    """Train a study and report what it shows. What the folder holds already is not trained again."""
    until_decided = until_decided or max_seeds is not None
    if until_decided and seeds is not None:
        advice = "Leave out --seeds; --max-seeds says how many there may be."
        raise InputError("the seeds must be given or decided", "--seeds beside --until-decided", advice)
    flags: dict[str, Any] = {
        "norms": norm,
        "tasks": task,
        "seeds": seeds,
        "training.batch_size": batch_size,
        "training.learning_rate": lr,
        "training.epochs": epochs,
        "training.optimizer": optimizer,
        "fixed_data": fixed_data or None,
        "policy.until_decided": until_decided or None,
        "policy.max_seeds": max_seeds,
    }
    values: dict[str, Any] = {"model": {}} if task else {}  # a study's options are for its own tasks
    values |= {field: value for field, value in flags.items() if value is not None}
    values |= {f"sweep.{field}": some for field, some in map(swept, sweep or [])}
    values |= {"policy.tune": dict(map(tuned, tune))} if tune else {}
    values |= dict(assignment(text) for text in changes or [])
    with explained(lambda: "Interrupted before anything was trained; nothing was written."):
        status = cli.training.train(study, values, out, engine, workers, device, dry_run)
    raise typer.Exit(status)
