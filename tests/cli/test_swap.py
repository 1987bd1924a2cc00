"""`normlab swap`: what it shows, what it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest
from safetensors.torch import load_file

MODEL = """
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.Flatten(), nn.LayerNorm(432))
"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A function that makes a model, in the current folder."""
    name = f"net_{uuid4().hex}"  # no other test has loaded a module of that name
    (tmp_path / f"{name}.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return f"{name}:build"


def test_a_dry_run_shows_what_would_be_done_and_writes_nothing(command, model: str) -> None:
    done = command("swap", model, "group:groups=8", "--where", "batch", "--dry-run", "--out", "new.safetensors")
    assert done.status == 0
    assert "6 groups, as 8 do not divide 12 channels" in " ".join(done.out.split())
    assert "1 norm to replace of 2, 0 kept as asked, 1 left alone." in done.out
    assert "Nothing was written: this is the plan." in done.out
    assert not Path("new.safetensors").exists()


def test_the_weights_of_the_swapped_model_are_written(command, model: str) -> None:
    done = command(
        "swap", model, "group:groups=8", "--where", "1", "--input", "4,3,8,8", "--json", "--out", "new.safetensors"
    )
    assert done.status == 0
    report = json.loads(done.out)
    assert report["replaced"] == 1
    assert report["changes"]["training"] > 0
    assert set(load_file("new.safetensors")) == {f"{layer}.{name}" for layer in "014" for name in ("weight", "bias")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bacth"], "Did you mean 'batch'?"),
        (["rms", "--where", "bathc"], "Did you mean 'batch'?"),
        (["layer", "--where", "batch"], "no form for NCHW"),
        (["group:groups=8", "--strict", "--where", "batch"], "--strict"),
        (["rms", "--input", "4,5,8,8"], "must take the inputs"),
        (["rms", "--out", "new.pt"], "must end with .safetensors"),
        (["rms", "--positions", "aside"], "--positions must be"),
    ],
)
def test_a_mistake_gets_one_message_status_2_and_leaves_nothing(
    mistake, model: str, arguments: list[str], message: str
) -> None:
    assert message in " ".join(mistake("swap", model, *arguments).split())
