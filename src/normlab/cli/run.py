"""`normlab run`: trains a study and reports what it shows."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from normlab import cli
from normlab.cli.assignments import swept
from normlab.cli.interrupts import before_training, explained
from normlab.cli.parameters import WHOLE
from normlab.cli.training_flags import (
    Changes,
    Device,
    DryRun,
    Engine,
    Epochs,
    MaxSeeds,
    Optimizer,
    Out,
    Rate,
    Seeds,
    Tune,
    UntilDecided,
    Workers,
    study_fields,
)


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
    seeds: Seeds = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples in a batch.", **WHOLE)] = None,
    lr: Rate = None,
    epochs: Epochs = None,
    optimizer: Optimizer = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUE,VALUE",
            help="Several values of a field, such as `training.batch_size=16,64,256` or `model.hidden=[50],[100,100]`; "
            "repeat it, and every combination is trained.",
        ),
    ] = None,
    tune: Tune = None,
    until_decided: UntilDecided = False,
    max_seeds: MaxSeeds = None,
    changes: Changes = None,
    fixed_data: Annotated[
        bool, typer.Option("--fixed-data", help="The same data or split for all seeds, not new ones for each.")
    ] = False,
    engine: Engine = "auto",
    workers: Workers = None,
    device: Device = "cpu",
    dry_run: DryRun = False,
    out: Out = None,
) -> None:
    """Train a study and report what it shows. What the folder holds already is not trained again."""
    flags: dict[str, Any] = {
        "model": {} if task else None,  # a study's options are for its own tasks
        "norms": norm,
        "tasks": task,
        "training.batch_size": batch_size,
        "training.learning_rate": lr,
        "training.epochs": epochs,
        "training.optimizer": optimizer,
        "fixed_data": fixed_data or None,
        **{f"sweep.{field}": some for field, some in map(swept, sweep or [])},
    }
    values = study_fields(
        flags, seeds=seeds, until_decided=until_decided, max_seeds=max_seeds, tune=tune, changes=changes
    )
    with explained(before_training):
        status = cli.training.train(study, values, out, engine, workers, device, dry_run)
    raise typer.Exit(status)
