"""`normlab probes`: every probe with its series, as a table and for programs."""

from __future__ import annotations

import json

import pytest

from normlab.probes.catalog import PROBES


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_names_every_probe_at_any_width(command, columns, width: int) -> None:
    columns(width)
    listed = command("probes").out
    assert max(map(len, listed.splitlines())) <= width
    rows = {line.strip(" │").split()[0] for line in listed.splitlines() if line.strip(" │")}
    assert {probe.name for probe in PROBES} <= rows
    assert ("hessian_top_scaled" in listed) == (width == 140), "series are told where there is room"
    assert "[measure]" in listed


def test_the_entries_say_what_a_series_is(command) -> None:
    entries = {entry["name"]: entry for entry in json.loads(command("probes", "--json").out)["probes"]}
    assert set(entries) == {probe.name for probe in PROBES}
    assert entries["noise"]["usual"]
    (scale,) = entries["gradient_noise_scale"]["series"]
    assert (scale["unit"], scale["scale"], scale["higher_is_better"]) == ("samples", "ratio", False)
