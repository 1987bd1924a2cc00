"""Norms are chosen by what they do."""

from __future__ import annotations

from dataclasses import replace

import pytest

import normlab
from normlab.errors import InputError
from normlab.norms.catalog import NORMS
from normlab.norms.layer import LAYER
from normlab.norms.none import NONE

WEIGHTS = replace(NONE, name="weights", title="Weights", wrap=lambda layer, options: layer)


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        ({"batch_free": True}, lambda spec: not spec.couples_batch),
        ({"couples_batch": True}, lambda spec: spec.couples_batch),
        ({"stateless": True}, lambda spec: spec.state == "none"),
        ({"activates": False}, lambda spec: not spec.activates),
        ({"changes_weights": True}, lambda spec: spec.wrap is not None),
        ({"layout": "NCHW"}, lambda spec: "NCHW" in spec.axes),
        ({"layout": "nlc"}, lambda spec: "NLC" in spec.axes),
        ({"invariances": ["scale"]}, lambda spec: "scale" in spec.invariances),
        ({"invariances": "scale"}, lambda spec: "scale" in spec.invariances),
        ({"invariances": "scale, shift"}, lambda spec: {"scale", "shift"} <= spec.invariances),
        ({"invariances": ["scale,shift"]}, lambda spec: {"scale", "shift"} <= spec.invariances),
        ({"batch_free": True, "layout": "NLC"}, lambda spec: not spec.couples_batch and "NLC" in spec.axes),
    ],
)
def test_norms_are_found_by_what_they_do(wanted, holds) -> None:
    specs = (*NORMS, WEIGHTS, replace(LAYER, invariances=frozenset({"scale"}), activates=True))
    assert normlab.find_norms(specs, **wanted) == tuple(spec for spec in specs if holds(spec))


def test_filters_that_do_not_exist_are_said() -> None:
    with pytest.raises(InputError, match="Did you mean 'NCHW'"):
        normlab.find_norms(layout="NCHV")
    with pytest.raises(InputError, match="Did you mean 'scale'"):
        normlab.find_norms(invariances=["scales"])
    with pytest.raises(InputError, match="free of the batch or couples it"):
        normlab.find_norms(batch_free=True, couples_batch=True)
