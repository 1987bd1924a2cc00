"""`normlab probes`: the quantities that a study can measure while it trains."""

from __future__ import annotations

from typing import Annotated

import typer

from normlab import cli


def probes(
    json: Annotated[bool, typer.Option("--json", help="For programs: complete entries.")] = False,
) -> None:
    """List the probes that a study can ask for: what they measure, when, and the series that they give."""
    cli.probe_table.show(json)
