"""`normlab fold`: a model for inference, its BatchNorms folded into the layers beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from normlab import cli
from normlab.cli.parameters import NUMBER, PATH, Inputs, Json


def fold(
    model: Annotated[str, typer.Argument(metavar="PKG.MOD:BUILD", help="A function that makes the model, or a model.")],
    inputs: Inputs = None,
    tolerance: Annotated[
        float | None, typer.Option(help="How far outputs may be off, of the largest one.", **NUMBER)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.safetensors", help="Where to write the weights of the folded model.", **PATH),
    ] = None,
    json: Json = False,
) -> None:
    """Fold the BatchNorms of your model into the layers beside them, for inference: what, why not, how exactly."""
    cli.swapping.fold(model, inputs or [], tolerance, out, json)
