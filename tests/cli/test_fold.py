"""`normlab fold`: the report, the weights that it writes, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

MODEL = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.GroupNorm(2, 4))
    model[1].running_mean.fill_(0.5)
    model[1].running_var.fill_(4.0)
    return model
"""


@pytest.fixture
def build(request: pytest.FixtureRequest) -> str:
    """The function that makes the model, in a module of its own for each test: Python imports a name once."""
    module = f"model_of_{request.node.name}"
    Path(f"{module}.py").write_text(MODEL)
    return f"{module}:build"


def test_the_weights_written_are_those_of_the_folded_model(commands: Callable[..., Any], build: str) -> None:
    done = commands("fold", build, "--input", "2,3,8,8", "--out", "weights.safetensors")
    assert done.status == 0
    assert "1: BatchNorm2d -> Identity" in done.out
    assert "into '0' (Conv2d) before it" in done.out
    assert "3 (GroupNorm) left: in evaluation it is no fixed scale and shift" in done.out
    assert "of the largest output:" in done.out
    namespace: dict[str, Any] = {}
    exec(MODEL, namespace)
    original = namespace["build"]().eval()
    folded = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Identity(), nn.ReLU(), nn.GroupNorm(2, 4))
    folded.load_state_dict(load_file("weights.safetensors"))
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(folded(x), original(x), rtol=1e-4, atol=1e-5)


def test_for_programs_it_is_json(commands: Callable[..., Any], build: str) -> None:
    done = commands("fold", build, "--input", "2,3,8,8", "--json")
    told = json.loads(done.out)
    assert (told["operation"], [layer["name"] for layer in told["layers"]]) == ("fold", ["1"])


def test_wrong_input_is_told(commands: Callable[..., Any], build: str) -> None:
    missing = commands("fold", build)
    assert (missing.status, "the model needs inputs" in missing.err) == (2, True)
    unfit = commands("fold", build, "--input", "2,5,8,8")
    assert unfit.status == 2
    assert "must take the inputs" in unfit.err
    exact = commands("fold", build, "--input", "2,3,8,8", "--tolerance", "0")
    assert exact.status == 2
    assert "--tolerance" in exact.err
    for file, said in (("weights.bin", "--out must end with .safetensors"), ("no/w.safetensors", "must be writable")):
        elsewhere = commands("fold", build, "--input", "2,3,8,8", "--out", file)
        assert (elsewhere.status, elsewhere.out) == (2, "")  # before any work
        assert said in elsewhere.err
