"""An entry that says what cannot be meant is refused where it is used, by one message that names the field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import normlab
from normlab.errors import InputError
from normlab.norms.catalog import NORMS
from normlab.norms.layer import RMS
from normlab.norms.spec import NormSpec, Option, validate
from normlab.norms.weights import SPECTRAL

GROUPS = Option("groups", 2, "number of groups", at_least=1)


@pytest.mark.parametrize("spec", NORMS, ids=lambda spec: spec.name)
def test_every_entry_of_the_catalogue_is_valid(spec: NormSpec) -> None:
    validate(spec)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "name of the NormSpec '' must be a word"),
        ({"build": None}, "build of the NormSpec 'rms' must be a function; got None"),
        ({"exemptions": {"axes": "a reason"}}, "exemptions of the NormSpec 'rms' must be a function; got {'axes'"),
        ({"options": GROUPS}, "options .*must be a tuple of"),
        ({"axes": ("C",)}, "axes .*must be a mapping from layouts to axes"),
        ({"axes": {"NHWC": ("C",)}}, "axes .*must be for layouts among NC, .*; got 'NHWC'"),
        ({"axes": {"NC": "C"}}, "axes .*must hold a tuple of axes for each layout; got 'C' for NC"),
        ({"axes": {"NC": ("Q",)}}, "axes .*made of axes of the layout, .*; got 'Q' for NC"),
        ({"axes": {"NC": (3,)}}, "axes .*made of axes of the layout, .*; got 3 for NC"),
        ({"axes": {"NC": ("NC",)}}, "got 'NC' for NC"),
        ({"axes": {"NC": ("C/",)}}, "got 'C/' for NC"),
        ({"axes": {"NC": ("C/K",)}}, "got 'C/K' for NC"),
        ({"axes": {"NCHW": ("C", "CHW/G")}, "options": (GROUPS,)}, "must name each axis of a set once"),
        ({"axes": {"NCHW": ("C/G", "H")}}, "axes .*must go with an option `groups`, a whole number.*'C/G' for NCHW"),
        ({"axes": {"NC": ("C/G",)}, "options": (replace(GROUPS, default=2.0),)}, "an option `groups`, a whole"),
        ({"axes": {"NC": ("N/S",)}}, "axes .*must go with an option `size`"),
        ({"further_axes": {"NC": ("C",)}}, "further_axes .*must hold tuples of axes"),
        ({"further_axes": {"NC": (("H",),)}}, "further_axes .*got 'H' for NC"),
        ({"axes": {"NC": ("C",)}, "further_axes": {"NCL": (("L",),)}}, "further_axes .*layouts of `axes`; got 'NCL'"),
        ({"invariances": frozenset({"wobble"})}, "invariances .*must be a set of some of 'scale'.*wobble"),
        ({"invariances": "scale"}, "invariances .*; got 'scale'"),
        ({"invariances": None}, "invariances .*; got None"),
        ({"parameters": {"zz": "Z"}}, "parameters .*sizes made of C, K, P and numbers; got 'Z' for 'zz'"),
        ({"parameters": {"weight": 6}}, "parameters .*got 6 for 'weight'"),
        ({"parameters": ["weight"]}, "parameters .*must be a mapping from names to sizes"),
        ({"parameters": {"weight": "F"}}, "got 'F' for 'weight'"),
        ({"buffers": {"mean": "G"}}, "buffers .*got 'G' for 'mean'"),
        ({"buffers": {"mean": ""}}, "buffers .*got '' for 'mean'"),
    ],
)
def test_an_entry_that_cannot_be_meant_is_said(fields: dict[str, Any], message: str) -> None:
    spec = replace(RMS, **fields)
    for use in (validate, normlab.check_norm, normlab.explain):
        with pytest.raises(InputError, match=message):
            use(spec)


def test_sizes_know_groups_and_the_fan_in_where_there_are_any() -> None:
    validate(replace(RMS, options=(GROUPS,), axes={"NCHW": ("C/G", "H", "W")}, buffers={"mean": "G 2"}))
    assert SPECTRAL.buffers == {"_u": "C", "_v": "F"}
    validate(SPECTRAL)
