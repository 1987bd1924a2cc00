"""`normlab norms`: the norms that a study can compare."""

from __future__ import annotations

from typing import Annotated

import typer

import normlab
from normlab import cli
from normlab.cli.console import write_json


def norms(
    batch_free: Annotated[bool, typer.Option("--batch-free", help="Whose output never depends on the batch.")] = False,
    couples_batch: Annotated[
        bool, typer.Option("--couples-batch", help="Whose training output depends on the batch.")
    ] = False,
    stateless: Annotated[bool, typer.Option("--stateless", help="That keep no buffers.")] = False,
    activates: Annotated[
        bool | None, typer.Option("--activates/--no-activates", help="With an activation of their own, or without.")
    ] = None,
    changes_weights: Annotated[
        bool | None, typer.Option("--weights/--no-weights", help="That change weights, or that do not.")
    ] = None,
    invariances: Annotated[
        list[str] | None,
        typer.Option(
            "--invariance",
            help="That do not feel a change of `scale`, `shift`, `channel scale`, `sample shift`, ...; repeat it, or "
            "`scale,shift`.",
        ),
    ] = None,
    layout: Annotated[str | None, typer.Option(help="That take NC, NCL, NCHW, NCDHW or NLC input.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs: complete entries.")] = False,
) -> None:
    """List the norms that a study can compare, all or those that fulfil what is asked."""
    specs = normlab.find_norms(
        batch_free=batch_free,
        couples_batch=couples_batch,
        stateless=stateless,
        activates=activates,
        changes_weights=changes_weights,
        invariances=invariances or (),
        layout=layout,
    )
    if json:
        write_json({"schema": 1, "norms": [normlab.norm_entry(spec) for spec in specs]})
    else:
        cli.norm_table.show(specs, layout)
