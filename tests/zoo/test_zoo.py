"""Swaps in the zoo: what must hold of each, that the checks see faults, and that the page is current."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import normlab
import zoo
from helpers import threads
from normlab.surgery.report import SwapReport

LISTED = {line.split(" | ")[0].removeprefix("| "): line for line in zoo.PAGE.read_text("utf-8").splitlines()}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order; small models are no faster on more threads."""
    with threads(1):
        yield


def skip_without_library(name: str) -> None:
    if library := zoo.missing(zoo.ZOO[name]):
        pytest.skip(f"{library}, of the extra `zoo`, is not installed")


@pytest.mark.parametrize("target", ["group", "layer"])
@pytest.mark.parametrize("name", zoo.QUICK)
def test_a_swap_replaces_what_is_meant_and_keeps_the_rest(name: str, target: str) -> None:
    assert zoo.outcome(name, target).problems == ()


@pytest.mark.parametrize("name", zoo.QUICK)
def test_same_is_an_identity(name: str) -> None:
    assert zoo.identity_problems(name) == []


@pytest.mark.parametrize("name", zoo.QUICK)
def test_norms_compute_what_they_were_told_as(name: str) -> None:
    assert zoo.rebuilt(name) < 1e-6


def test_a_norm_told_wrongly_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(zoo._OF_TORCH, "rms", lambda norm, channels: nn.RMSNorm(channels, eps=2e-6))
    assert zoo.rebuilt("query-key") > 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.ZOO)
def test_the_whole_zoo(name: str) -> None:
    skip_without_library(name)
    assert {target: zoo.outcome(name, target).problems for target in zoo.TARGETS} == dict.fromkeys(zoo.TARGETS, ())
    assert zoo.identity_problems(name) == []
    assert zoo.rebuilt(name) < 1e-6
    assert LISTED[name] == zoo.row(name), "python3 benchmarks/zoo.py writes the page anew"


def test_the_page_lists_the_zoo() -> None:
    text, last, rows = zoo.PAGE.read_text("utf-8").rpartition("|---|\n")
    assert text + last == zoo.head()
    assert [line.split(" | ")[0].removeprefix("| ") for line in rows.splitlines()] == list(zoo.ZOO)
    assert len(zoo.ZOO) >= 60


def test_six_ways_change_each_model_whose_norms_are_known() -> None:
    cells = {name: LISTED[name].strip("| ").split(" | ") for name in zoo.ZOO}
    counts = {name: row.count("ok") for name, row in cells.items() if row[3] != "0"}
    assert len(counts) >= 60
    assert min(counts.values()) >= 6


def moves_a_weight(model: Any, _: Any) -> None:
    model[0].weight.data[0] += 1


def puts_another_layer(model: Any, _: Any) -> None:
    model[1] = nn.BatchNorm2d(8)


def changes_the_original(_: Any, old: Any) -> None:
    old[0].weight.data[0] += 1


def forgets_the_mode(model: Any, _: Any) -> None:
    model[3].bn1.train()


def trains_what_was_frozen(model: Any, _: Any) -> None:
    model[3].bn1.weight.requires_grad_()


def gives_infinities(model: Any, _: Any) -> None:
    model[1].register_forward_hook(lambda *arguments: arguments[2] / 0)


def differs_without_gradients(model: Any, _: Any) -> None:
    model[1].register_forward_hook(lambda *arguments: arguments[2] + torch.is_grad_enabled())


FAULTS: dict[Callable[[Any, Any], None], str] = {
    moves_a_weight: "what was not replaced has another state",
    puts_another_layer: "1 became {'BatchNorm2d'}",
    changes_the_original: "the model itself: another state",
    forgets_the_mode: "another mode: ['3.bn1']",
    trains_what_was_frozen: "3.bn1 is trained otherwise",
    gives_infinities: "not finite",
    differs_without_gradients: "evaluation differs without gradients",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_checks_see_a_fault(fault: Callable[[Any, Any], None], monkeypatch: pytest.MonkeyPatch) -> None:
    swap = normlab.swap

    def faulty(model: nn.Module, *arguments: Any, **named: Any) -> Any:
        swapped, report = swap(model, *arguments, **named)
        fault(swapped, model)
        return swapped, report

    monkeypatch.setattr(normlab, "swap", faulty)
    assert FAULTS[fault] in "; ".join(zoo.outcome.__wrapped__("residual-net", "group").problems)


def test_the_checks_see_a_layer_that_was_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    where = {"*": True, "1": False}
    monkeypatch.setitem(zoo.ZOO, "forgetful", replace(zoo.ZOO["residual-net"], where=where))
    problems = zoo.outcome("forgetful", "group").problems
    assert problems[0] == "intended, but not replaced: ['1']; replaced unasked: []"
    assert problems[1] == "1 left alone for another reason: left out by '1'"


def test_the_checks_see_an_undoing_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    swap = normlab.swap
    swapped = {}

    def remembered(*arguments: Any, **named: Any) -> Any:
        model, report = swap(*arguments, **named)
        swapped[id(report)] = model
        return model, report

    monkeypatch.setattr(normlab, "swap", remembered)
    monkeypatch.setattr(SwapReport, "undo", lambda report: swapped[id(report)])
    problems = zoo.outcome.__wrapped__("residual-net", "group").problems
    assert problems == ("undone: other classes", "undone: another state", "undone: other outputs")


WARNED = {  # each is true of the library's code
    "mobilenet": {"NL110"},  # a momentum of 0.997, which is TensorFlow's
    "monai-swin-unetr": {"NL104"},  # InstanceNorm gives up the channels_last that its input arrives in
    "monai-unetr": {"NL112"},  # norms of a cross attention that is not there
}


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.ZOO)
def test_the_doctor_raises_no_false_alarm(name: str) -> None:
    skip_without_library(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # libraries call what torch deprecates
        model, inputs = zoo.ZOO[name].build()
    findings = normlab.doctor(model, inputs, batch_size=8).findings
    assert [str(finding) for finding in findings if finding.severity == "error"] == []
    assert {finding.code for finding in findings if finding.severity == "warning"} == WARNED.get(name, set())
