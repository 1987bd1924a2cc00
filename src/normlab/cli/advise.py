"""`normlab advise`: which norm for a model and a batch, from the ledger and from folders of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from normlab import cli
from normlab.cli.parameters import WHOLE, Json

Folders = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[DIR]...", help="Folders of results of your own that count beside the ledger."),
]


def advise(
    folders: Folders = None,
    kind: Annotated[str, typer.Option(help="cnn, recurrent, transformer or perceptron.")] = "cnn",
    batch_size: Annotated[int | None, typer.Option(help="Samples in a batch of yours.", **WHOLE)] = None,
    norm: Annotated[
        list[str] | None, typer.Option(help="Only these norms are asked about; repeat it. All by default.")
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(metavar="N,C,...", help="Input of a norm of yours, on which costs are measured."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="What a norm may keep for the backward pass on that shape, such as 64MiB."),
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A ledger.json in the place of the one that is built in.")
    ] = None,
    cost: Annotated[bool, typer.Option("--cost/--no-cost", help="Whether costs are measured, some seconds.")] = True,
    json: Json = False,
) -> None:
    """Say which norm to take, why, how sure that is, what it costs, and what nobody knows."""
    cli.guidance.advise(folders or [], kind, batch_size, norm or [], shape, memory, ledger, cost, json)
