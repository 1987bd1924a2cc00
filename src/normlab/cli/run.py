"""`normlab run`: trains a study and reports what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from normlab import cli
from normlab.cli.assignments import assignment
from normlab.cli.interrupts import explained
from normlab.cli.parameters import NUMBER, PATH, WHOLE


def run(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A built-in study (`normlab studies`) or a TOML file.")],
    norm: Annotated[
        list[str] | None,
        typer.Option(help="Norm to compare, such as `batch` or `group:groups=10`; repeat it. Replaces the study's."),
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="Task to train on; repeat it. Replaces the study's.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Paired runs of each norm.", **WHOLE)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples in a batch.", **WHOLE)] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.", **NUMBER)] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training data.", **WHOLE)] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam, adamw or sgd.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Any field of the study, with a TOML value: `--set setting.hidden=[100,100]`, "
            "`--set sweep.batch_size=[16,64,256]`.",
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="How runs are trained: auto or the name of an engine.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(help="Processes or threads to train in; every core by default.", **WHOLE)
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, or a GPU such as cuda:0.")] = "cpu",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the results; results/NAME-HASH by default.", **PATH),
    ] = None,
) -> None:
    """Train a study and report what it shows. Work that was interrupted goes on where it stopped."""
    flags: dict[str, Any] = {
        "norms": norm,
        "tasks": task,
        "seeds": seeds,
        "setting.batch_size": batch_size,
        "setting.learning_rate": lr,
        "setting.epochs": epochs,
        "setting.optimizer": optimizer,
    }
    values = {field: value for field, value in flags.items() if value is not None}
    values |= dict(assignment(text) for text in changes or [])
    with explained(lambda: "Interrupted before anything was trained; nothing was written."):
        status = cli.training.train(study, values, out, engine, workers, device)
    raise typer.Exit(status)
