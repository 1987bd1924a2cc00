"""`normlab swap`: norms of a user's model replaced, or what would become of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from normlab import cli
from normlab.cli.commands import flags
from normlab.cli.parameters import PATH, Inputs, Json


def swap(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="PKG.MOD:BUILD", help="A function that makes a model, or (model, inputs).")
    ],
    to: Annotated[
        str, typer.Argument(metavar="NORM", help="group:groups=8, say; rms,query-key=layer for each role; or same.")
    ],
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="SELECTOR", help="Which norms: a kind, a name, re:..., role:... or not:...; repeat it."),
    ] = None,
    inputs: Inputs = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse numbers of groups that do not fit a layer.")] = False,
    positions: Annotated[
        str, typer.Option(help="With features last: positions apart, or together, for norms without such a form.")
    ] = "apart",
    json: Json = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.safetensors", help="Where to write the weights of the swapped model.", **PATH),
    ] = None,
) -> None:
    """Replace norms of your model: what becomes of each layer, what is lost, how far the outputs move."""
    asked = {"where": where or None, "strict": strict, "positions": positions}
    cli.swapping.swap(model, to, inputs or [], asked, dry_run, out, json, flags(context))
