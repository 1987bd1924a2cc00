"""`normlab doctor`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from normlab.diagnosis.catalog import RULES

MODEL = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

def ill():
    print("a model that talks")
    return nn.Sequential(nn.Linear(8, 6), nn.GroupNorm(6, 6))

def well():
    return nn.Sequential(nn.Linear(8, 6), nn.LayerNorm(6)), torch.ones(4, 8)

def normed():
    return nn.Sequential(nn.Linear(8, 6, bias=False), nn.BatchNorm1d(6))

def loader():
    return DataLoader(TensorDataset(torch.randn(33, 8), torch.arange(33)), batch_size=16, shuffle=True)

def opt(model):
    return torch.optim.SGD(model.parameters(), 0.1)

def leaves(*_):
    raise SystemExit(3)

def empty():
    return DataLoader(TensorDataset(torch.randn(0, 8)), batch_size=4)
"""


@pytest.fixture(autouse=True)
def module(own_folder: None) -> str:
    """A module of the user in the current folder, of a name of its own in each test."""
    name = f"doctored_{Path.cwd().name.replace('-', '_')}"
    Path(f"{name}.py").write_text(MODEL)
    return name


def test_an_error_is_shown_with_status_1(commands: Callable[..., Any], module: str) -> None:
    end = commands("doctor", f"{module}:ill", "--input", "4,8")
    assert end.status == 1
    assert "NL101 error" in end.out
    assert "normalized by itself" in end.out
    assert "NL202, NL204, NL205 (need --loader)" in end.out
    assert "talks" not in end.out


def test_a_healthy_model_ends_with_status_0(commands: Callable[..., Any], module: str) -> None:
    end = commands("doctor", f"{module}:well")
    assert end.status == 0
    assert "nothing found" in end.out


def test_the_loader_and_the_optimizer_are_found_by_name(commands: Callable[..., Any], module: str) -> None:
    arguments = ("--loader", f"{module}:loader", "--optimizer", f"{module}:opt", "--json", "--amp", "bf16")
    end = commands("doctor", f"{module}:normed", *arguments)
    content = json.loads(end.out)
    assert end.status == 1
    assert "33 samples in batches of 16" in next(f["message"] for f in content["findings"] if f["code"] == "NL202")
    assert {"NL202", "NL306"} <= set(content["checked"])


def test_programs_get_json_or_sarif(commands: Callable[..., Any], module: str) -> None:
    asked = ("doctor", f"{module}:ill", "--input", "4,8")
    assert json.loads(commands(*asked, "--json").out)["worst"] == "error"
    assert json.loads(commands(*asked, "--sarif").out)["version"] == "2.1.0"
    assert commands(*asked, "--sarif", "--json").status == 2


def test_a_baseline_is_written_and_then_known(commands: Callable[..., Any], module: str) -> None:
    asked = ("doctor", f"{module}:ill", "--input", "4,8")
    assert commands(*asked, "--write-baseline", "known.json").status == 0
    end = commands(*asked, "--baseline", "known.json")
    assert end.status == 0
    assert "1 more in the baseline" in end.out


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_each_rule_explains_itself(commands: Callable[..., Any], rule: Any) -> None:
    end = commands("doctor", "--explain", rule.code.lower())
    said = " ".join(end.out.split())
    assert end.status == 0
    for text in (rule.code, rule.why, rule.source, rule.example.splitlines()[0]):
        assert " ".join(text.split()) in said


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--explain", "NL999"),
        ("nowhere:build",),
        ("{0}:well", "--select", "XX"),
        ("{0}:well", "--amp", "int8"),
        ("{0}:well", "--write-baseline", "."),
        ("{0}:leaves",),
        ("{0}:normed", "--loader", "{0}:leaves"),
        ("{0}:normed", "--optimizer", "{0}:leaves"),
        ("{0}:normed", "--loader", "{0}:empty"),
        ("{0}:normed", "--input", "1,8"),
    ],
)
def test_wrong_input_ends_with_status_2(commands: Callable[..., Any], module: str, arguments: tuple[str, ...]) -> None:
    end = commands("doctor", *(argument.format(module) for argument in arguments))
    assert end.status == 2
    assert end.err.startswith("Error:")
