"""The swap that a finding advises ends it."""

from __future__ import annotations

import re

import pytest
from torch import nn

import normlab
from diagnosis.cases import batches, layers
from diagnosis.cases.pair import Pair
from normlab.diagnosis.run import doctor

CALL = re.compile(r"normlab\.swap\([^()]*\)")
ADVISE = ("NL101", "NL102", "NL105", "NL111", "NL201", "NL203", "NL206")
PAIRS = [pair for pair in (*layers.PAIRS, *batches.PAIRS) if pair.code in ADVISE]
PAIRS += [pair for pair in layers.PAIRS if pair.about in ("padding", "layer-norm-along-the-width")]


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_the_swap_that_is_advised_ends_the_finding(pair: Pair) -> None:
    arguments = {"select": pair.code, **pair.planted()}
    finding = next(finding for finding in doctor(**arguments) if finding.where == pair.where)
    call = CALL.search(finding.mend)
    assert call, finding.mend
    swapped, _ = eval(call[0], {"normlab": normlab, "model": arguments["model"], "inputs": arguments["inputs"]})
    assert isinstance(swapped, nn.Module)
    after = doctor(**{**arguments, "model": swapped})
    assert finding.where not in {found.where for found in after}
