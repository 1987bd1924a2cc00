"""What `--explain` gives as an example of a rule is found by it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import normlab
from normlab.diagnosis.catalog import BY_CODE

IMAGES = "2,3,9,9"
INPUTS: dict[str, Any] = {
    "NL101": "4,8",
    "NL102": "4,8",
    "NL103": "4,10,8",
    "NL104": torch.ones(2, 3, 9, 9).contiguous(memory_format=torch.channels_last),
    "NL105": "2,16,9,9",
    "NL106": IMAGES,
    "NL107": "4,6:1000",
    "NL109": IMAGES,
    "NL110": "2,64,4,4",
    "NL111": IMAGES,
    "NL201": "4,8",
    "NL203": "4,8",
    "NL206": torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 9, 9),
    "NL404": "2,64,4,4",
}
BATCH_SIZES = {"NL201": 1, "NL203": 2, "NL206": 2}


@pytest.mark.parametrize("code", INPUTS)
def test_the_model_of_the_example_is_found(code: str) -> None:
    torch.manual_seed(0)
    model = eval(BY_CODE[code].example.split("  #")[0], {"nn": nn, "torch": torch})
    assert normlab.doctor(model, INPUTS[code], batch_size=BATCH_SIZES.get(code), select=code).of(code)


@pytest.mark.parametrize(("code", "name", "inputs"), [("NL113", "ScaleNorm", "4,8"), ("NL401", "layer", "2,4,64")])
def test_the_lines_of_the_example_are_found(code: str, name: str, inputs: str) -> None:
    scope: dict[str, Any] = {"nn": nn}
    exec(BY_CODE[code].example, scope)
    model = scope[name]() if isinstance(scope[name], type) else scope[name]
    assert normlab.doctor(nn.Sequential(model), inputs, select=code).of(code)
