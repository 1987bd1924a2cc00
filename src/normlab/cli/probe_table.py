"""The table of probes; loaded when it is shown."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from normlab.cli.console import OUT, write_json
from normlab.probes.catalog import PROBES
from normlab.probes.measure import USUAL
from normlab.probes.spec import Probe
from normlab.tables import Column, fitting_table

SCHEMA = 1
USAGE = (
    "A study names them under [measure], if need be with moments of its own: landscape:every=10 is after every ten "
    "epochs, curvature:at=0,0.5,1 after shares of the training. normlab probes --json says what each series is."
)


def show(json: bool) -> None:
    """Shows all built-in probes, as a table or as JSON."""
    if json:
        write_json({"schema": SCHEMA, "probes": [_entry(probe) for probe in PROBES]})
        return
    columns = (
        Column("name", [probe.name for probe in PROBES]),
        Column("what", [probe.meaning for probe in PROBES], fold=24),
        Column("when", [_moment(probe) for probe in PROBES], rank=1, fold=12),
        Column("usual", ["yes" if probe.name in USUAL else "" for probe in PROBES], rank=2),
        Column("series", [", ".join(item.name for item in probe.series) for probe in PROBES], rank=3, fold=32),
    )
    OUT.print(fitting_table("Probes", columns, OUT.width))
    OUT.print(USAGE, markup=False)


def _moment(probe: Probe) -> str:
    """When it measures unless a study says otherwise."""
    return f"at={','.join(f'{share:g}' for share in probe.shares)}" if probe.shares else probe.moment


def _entry(probe: Probe) -> dict[str, Any]:
    return {
        "name": probe.name,
        "meaning": probe.meaning,
        "moment": probe.moment,
        "shares": list(probe.shares),
        "usual": probe.name in USUAL,
        "needs": sorted(probe.needs),
        "series": [asdict(quantity) for quantity in probe.series],
    }
