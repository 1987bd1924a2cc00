"""`normlab doctor`: mistakes with normalization in your own model, each proven by figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from normlab import cli
from normlab.cli.commands import flags
from normlab.cli.parameters import PATH, WHOLE, Inputs, Json


def doctor(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(metavar="PKG.MOD:BUILD", help="A function that makes a model, or (model, inputs)."),
    ] = None,
    inputs: Inputs = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Samples of a training step on one device; the loader's if not.", **WHOLE)
    ] = None,
    loader: Annotated[
        str | None, typer.Option(metavar="PKG.MOD:LOADER", help="The loader of training batches, or what makes it.")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(metavar="PKG.MOD:OPT", help="A function of the model that makes its optimizer.")
    ] = None,
    grad_accumulation: Annotated[
        int | None, typer.Option(help="Batches whose gradients are summed before a step.", **WHOLE)
    ] = None,
    ddp: Annotated[bool, typer.Option("--ddp", help="It is trained with DistributedDataParallel.")] = False,
    fsdp: Annotated[bool, typer.Option("--fsdp", help="It is trained with fully sharded parameters.")] = False,
    amp: Annotated[str | None, typer.Option(metavar="TYPE", help="Mixed precision: bf16 or fp16.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A saved state: .safetensors, or of torch.save.", **PATH)
    ] = None,
    select: Annotated[
        str | None, typer.Option(metavar="CODE,...", help="Rules to run: codes, or how they begin, such as NL1.")
    ] = None,
    ignore: Annotated[str | None, typer.Option(metavar="CODE,...", help="Rules to leave out.")] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Known findings, which are counted and not shown.", **PATH)
    ] = None,
    write_baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what is found as a baseline; status 0.", **PATH)
    ] = None,
    json: Json = False,
    sarif: Annotated[bool, typer.Option("--sarif", help="For code hosts and editors: SARIF 2.1.0.")] = False,
    explain: Annotated[
        str | None, typer.Option(metavar="CODE", help="Why a rule is there, its source, an example and the mend.")
    ] = None,
) -> None:
    """Find mistakes with normalization in your model, each with its proof and what to do. Status 1 on an error."""
    training = {
        "batch_size": batch_size,
        "loader": loader,
        "optimizer": optimizer,
        "grad_accumulation": 1 if grad_accumulation is None else grad_accumulation,
        "ddp": ddp,
        "fsdp": fsdp,
        "amp": amp,
        "checkpoint": checkpoint,
        "select": select or (),
        "ignore": ignore or (),
        "baseline": baseline,
    }
    cli.diagnosis.show(model, inputs or [], training, write_baseline, json, sarif, explain, flags(context))
