"""The checks find what is wrong and nothing else; every norm of the catalogue keeps what it claims."""

from __future__ import annotations

import json

import pytest
import torch

from normlab.checks.catalog import CHECKS
from normlab.checks.run import check_norm
from normlab.errors import InputError
from normlab.norms.catalog import NORMS
from normlab.norms.layer import RMS

PLANTED = [
    ("COUPLES", {"axes", "batch", "evaluation"}, "batch", "free of the batch"),
    ("WRONG_AXES", {"axes"}, "axes", "leaves"),
    ("NO_AXES", {"axes"}, "axes", "leaves 5 of 6 outputs"),
    ("WRONG_INVARIANCE", {"invariances"}, "invariances", "does change with shift"),
    ("NAN_ON_CONSTANTS", {"degenerate input"}, "degenerate input", "zeros: output"),
    ("DETACHED", {"gradient"}, "gradient", "along the input"),
    ("CANCELLING", {"offset"}, "offset", "float32 is off"),
    ("OWN_ORDER", {"memory layout"}, "memory layout", "strides not in order"),
    ("UPCASTING", {"narrow types"}, "narrow types", "bfloat16 becomes float32"),
    ("OVERFLOWING", {"narrow types"}, "narrow types", "float16 at a spread of 300"),
    ("CRASHING", {"degenerate input"}, "degenerate input", "IndexError"),
    ("LOST_STATE", {"state dict", "axes", "batch", "gradient", "vmap"}, "state dict", "differ in evaluation"),
    ("UNREGISTERED", {"state dict", "vmap"}, "vmap", "differ by"),
    ("BATCH_IN_EVALUATION", {"evaluation", "entry"}, "evaluation", "Expected more than 1 value"),
    ("UNSAID_PARAMETERS", {"entry"}, "entry", "says that nothing is learned; parameters: weight, bias"),
    ("UNSAID_STATE", {"entry"}, "entry", "says of its state: none"),
    ("RESTLESS", {"modes", "evaluation", "state dict", "deep copy"}, "modes", "evaluation changes what it keeps"),
    ("TWIN", {"deep copy"}, "deep copy", "changes the original"),
    ("DOUBLING", {"modes"}, "modes", "training and evaluation differ by 5.0e-01"),
]


@pytest.mark.parametrize(("name", "broken", "row", "words"), PLANTED, ids=[name for name, *_ in PLANTED])
def test_a_planted_mistake_is_found(name: str, broken: set[str], row: str, words: str) -> None:
    report = check_norm(f"broken_norms:{name}")
    failing = {row.name: row.found for row in report.rows if row.result == "does not hold"}
    assert words in failing[row]
    assert set(failing) <= broken
    assert not report.holds
    assert row in report.sentence


@pytest.mark.parametrize("spec", NORMS, ids=lambda spec: spec.name)
def test_every_norm_of_the_catalogue_keeps_what_it_claims(spec) -> None:
    report = check_norm(spec.name)
    assert {row.name: row.found for row in report.rows if row.result == "does not hold"} == {}
    assert report.row("gradient").result == "holds"
    assert [row.name for row in report.rows] == [check.name for check in CHECKS]


@pytest.mark.slow
def test_compilation_is_checked_when_asked_for() -> None:
    assert check_norm("layer").row("compile").result == "not checked"
    assert check_norm("layer", compile=True).row("compile").result == "holds"
    assert check_norm("broken_norms:COMPILED_APART", compile=True).row("compile").result == "does not hold"


def test_what_a_bare_module_does_is_said_and_not_judged() -> None:
    report = check_norm("broken_norms:bare_batch")
    assert report.holds
    assert "NCHW with 6 channels" in report.title
    assert "NC " not in report.title
    assert report.row("axes").result == report.row("batch").result == "not claimed"
    assert report.row("axes").found == "one element moves the outputs along N, H, W"
    assert "running_var" in report.row("entry").found
    assert report.row("state dict").result == "holds"


def test_a_grouped_norm_is_checked_with_groups_of_two_channels_and_more() -> None:
    report = check_norm("group:groups=7")
    assert report.holds
    assert "NCHW with 14 channels" in report.title


def test_checking_draws_nothing_from_the_callers_stream_and_repeats_itself() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = check_norm("helpers:DITHERING")
    assert torch.equal(torch.get_rng_state(), before)
    assert first == check_norm("helpers:DITHERING")


OTHER = ["batch:affine=false", "batch:momentum=0", "group:groups=2,affine=false", "rms:eps=0.01"]


@pytest.mark.parametrize("norm", OTHER)
def test_other_options_are_checked_too(norm: str) -> None:
    assert check_norm(norm).holds


def test_a_spec_is_checked_as_its_name_is() -> None:
    assert check_norm(RMS) == check_norm("rms")


def test_the_report_is_plain_data() -> None:
    content = json.loads(json.dumps(check_norm("rms").as_dict()))
    assert content["schema"] == 1
    assert content["holds"] is True
    assert all(set(row) == {"name", "meaning", "result", "found"} for row in content["rows"])


@pytest.mark.parametrize(
    ("norm", "message"),
    [
        ("bacth", "Did you mean 'batch'"),
        ("broken_norms:COUPLE", "Did you mean 'COUPLES'"),
        ("broken_norms:NUMBER", "an object of type int"),
        ("broken_norms:IDLE", "an object of type Identity"),
        ("broken_norms:NormSpec", "the class NormSpec"),
        ("broken_norms:made", "takes no layout"),
        ("nowhere:NORM", "importable"),
        ("layer:axis=1", "has no option 'axis'"),
    ],
)
def test_what_cannot_be_checked_is_said(norm: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_norm(norm)
