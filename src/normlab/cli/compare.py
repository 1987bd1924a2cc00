"""`normlab compare`: norms in one's own model, on one's own data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from normlab import cli
from normlab.cli.interrupts import before_training, explained
from normlab.cli.parameters import PATH, WHOLE
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


def compare(
    build: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Your function that makes the model, as `package.module:build`."),
    ],
    norm: Annotated[
        list[str],
        typer.Option(help="Norm to put in the place of the model's own, such as `group:groups=8`; repeat it."),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="package.module:data",
            help="Your data: (X, y), a Dataset, a DataLoader, or a function that gives one of them. May be left out "
            "where MODEL gives (model, data, loss).",
        ),
    ] = None,
    loss: Annotated[
        str | None, typer.Option(metavar="package.module:loss", help="Your loss of outputs and targets.")
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(metavar="package.module:step", help="Your function of model and batch that gives the loss."),
    ] = None,
    seeds: Seeds = None,
    until_decided: UntilDecided = False,
    max_seeds: MaxSeeds = None,
    budget: Annotated[
        str | None,
        typer.Option(help="Time for all runs, such as `20min`: each gets the same seconds, and as many epochs as fit."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="Memory of a run, such as `8GB`: each norm gets the largest batch that fits."),
    ] = None,
    tune: Tune = None,
    epochs: Epochs = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Samples in a batch; the loader's by default. With --memory the most.", **WHOLE)
    ] = None,
    lr: Rate = None,
    optimizer: Optimizer = None,
    changes: Changes = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="SELECTOR", help="Only these norms of the model, such as `re:layer[34]`; repeat it."),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the model in the report; that of its class by default.")] = "",
    checkpoints: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder to keep the trained weights in, as NORM-SEED.safetensors.", **PATH),
    ] = None,
    engine: Engine = "auto",
    workers: Workers = None,
    device: Device = "cpu",
    dry_run: DryRun = False,
    out: Out = None,
) -> None:
    """Compare norms in your own model, on your own data, and report what differs.

    The norms that the model has are compared too, as `own`. Every run makes the model anew and replaces its norms; all
    norms of a seed share weights, split and batches.
    """
    flags: dict[str, Any] = {
        "training.epochs": epochs,
        "training.batch_size": batch_size,
        "training.learning_rate": lr,
        "training.optimizer": optimizer,
    }
    fields = study_fields(
        flags, seeds=seeds, until_decided=until_decided, max_seeds=max_seeds, tune=tune, changes=changes
    )
    with explained(before_training):
        status = cli.comparing.compare(
            build, data, norm, fields, loss=loss, step=step, where=where, name=name, memory=memory, budget=budget,
            checkpoints=checkpoints,
            out=out, engine=engine, workers=workers, device=device, dry_run=dry_run,
        )  # fmt: skip
    raise typer.Exit(status)
