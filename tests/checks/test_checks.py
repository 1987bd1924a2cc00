"""The checks find what is wrong and nothing else; every norm of the catalogue keeps what it claims."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from normlab import cli
from normlab.checks.catalog import CHECKS
from normlab.checks.run import check_norm
from normlab.errors import InputError
from normlab.norms.catalog import NORMS, parse
from normlab.norms.layer import RMS
from normlab.norms.renorm import RENORM

EVALUATING = {"input", "same output", "evaluation", "modes", "degenerate input", "state dict", "deep copy"}
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
    ("EPS_OF_TYPE", {"narrow types"}, "narrow types", "bfloat16 at a spread of 0.03"),
    ("OTHER_NAME", {"entry"}, "entry", "say gamma, but the layer has weight, bias; its parameters leave out weight"),
    ("OTHER_SIZE", {"entry"}, "entry", "say weight of size C 2, which is 12 here, but it has 6 values"),
    ("LEFT_OUT", {"entry"}, "entry", "its parameters leave out bias"),
    ("OTHER_BUFFER", {"entry"}, "entry", "its buffers say running_mean of size 1, which is 1 here, but it has 6"),
    ("MORE_ADDED", {"entry"}, "entry", "say original1, but the layer has original0"),
    ("LESS_ADDED", {"entry"}, "entry", "say original0 of size F, which is"),
    ("OtherInEvaluation", {"modes"}, "modes", "training and evaluation differ by"),
    ("Writing", {"input"}, "input", "in training and evaluation it changes its input"),
    ("NoisyElsewhere", {"same output"}, "same output", "in evaluation the output depends on random numbers"),
    ("Counting", {"same output"}, "same output", "with the same random numbers too"),
    ("Severed", {"gradient"}, "gradient", "depends neither on the input nor on a parameter"),
    ("IdleParameter", {"gradient"}, "gradient", "no gradient reaches gain"),
    ("GainAlone", {"gradient"}, "gradient", "no gradient reaches the input"),
    ("ExitingInEvaluation", EVALUATING, "modes", "SystemExit: 0"),
    ("OVERFLOWING", {"narrow types"}, "narrow types", "float16 at a spread of 300"),
    ("CRASHING", {"degenerate input"}, "degenerate input", "IndexError"),
    ("LOST_STATE", {"state dict", "axes", "batch", "gradient", "vmap"}, "state dict", "differ in evaluation"),
    ("UNREGISTERED", {"state dict", "vmap"}, "vmap", "differ by"),
    ("BATCH_IN_EVALUATION", {"evaluation", "entry"}, "evaluation", "Expected more than 1 value"),
    ("UNSAID_PARAMETERS", {"entry"}, "entry", "says that nothing is learned; parameters: weight, bias"),
    ("UNSAID_STATE", {"entry"}, "entry", "says of its state: none"),
    ("RESTLESS", {"same output", "modes", "evaluation", "state dict", "deep copy"}, "modes", "changes what it keeps"),
    ("RESTLESS", {"same output", "modes", "evaluation", "state dict", "deep copy"}, "same output", "a second call"),
    ("TWIN", {"deep copy"}, "deep copy", "changes the original"),
    ("DOUBLING", {"modes"}, "modes", "training and evaluation differ by 5.0e-01"),
    ("BACKWARD", {"gradient"}, "gradient", "the derivative along gain is off by 2.0e+00"),
    ("AUTOCAST_APART", {"narrow types"}, "narrow types", "autocast to bfloat16 is off by 5.0e-01"),
    ("REASSIGNING", {"vmap"}, "vmap", "together and one by one differ by at most 2.0e-01"),
    ("ZERO_DIVIDED", {"degenerate input"}, "degenerate input", "zeros: output in evaluation not finite"),
    ("STEEP_AT_ZERO", {"degenerate input"}, "degenerate input", "zeros: gradient not finite"),
    ("ROOTED", {"degenerate input"}, "degenerate input", "zeros: gradient of gain not finite"),
    ("LOG_KEEPING", {"degenerate input"}, "degenerate input", "zeros: buffer kept not finite"),
    ("NEVER_MOVED", {"modes"}, "modes", "it keeps kept, but training moves none of it"),
    ("SIZED", {"batch", "evaluation"}, "batch", "a batch and its samples one by one differ by"),
    ("UNCOUPLED", {"batch"}, "batch", "the outputs of the others by up to 0% of the largest"),
    ("OTHER_ORDER_BACK", {"memory layout", "degenerate input"}, "memory layout", "order: the gradient of the input is"),
    ("LEAVING_EARLY", {"degenerate input"}, "degenerate input", "no samples: no gradient reaches gain, not even zeros"),
    ("EMPTY_MEAN", {"degenerate input"}, "degenerate input", "no positions: gradient of gain not finite"),
    ("torch_groups", {"degenerate input"}, "degenerate input", "no positions: gradient of weight not finite"),
    ("FEW_CHANNELS", {"offset"}, "offset", "NCHW with 15 channels: float32 is off"),
    ("NOTHING_LEARNED", {"entry"}, "entry", "it says that gamma is learned; parameters: none"),
]


@pytest.mark.parametrize(("name", "broken", "row", "words"), PLANTED, ids=[name for name, *_ in PLANTED])
def test_a_planted_mistake_is_found(name: str, broken: set[str], row: str, words: str) -> None:
    report = check_norm(f"broken_norms:{name}")
    failing = {row.name: row.found for row in report.rows if row.result == "does not hold"}
    assert words in failing[row]
    assert set(failing) <= broken
    assert not report.holds
    assert row in report.sentence


SAYS = "; its entry says: "  # what comes before a reason


@pytest.mark.parametrize(
    "spec",
    [pytest.param(spec, marks=pytest.mark.slow if at % 9 else (), id=spec.name) for at, spec in enumerate(NORMS)],
)
def test_every_norm_of_the_catalogue_keeps_what_it_claims(spec) -> None:
    report = check_norm(spec.name)
    assert {row.name: row.found for row in report.rows if row.result == "does not hold"} == {}
    assert report.row("gradient").result == "holds"
    assert [row.name for row in report.rows] == [check.name for check in CHECKS]
    stated = {check.name: spec.exceptions[check.exception] for check in CHECKS if check.exception in spec.exceptions}
    silent = set() if spec.invariances else {"invariances"}  # where none is claimed, no reason is needed
    unclaimed = {row.name: row.found for row in report.rows if row.result == "not claimed" and row.name not in silent}
    assert {name: found.partition(SAYS)[2] for name, found in unclaimed.items()} == stated


OPEN = ("invariances", "gradient")


@pytest.mark.parametrize(
    ("options", "unclaimed"),
    [
        ("start=0,rmax_at=0,dmax_at=0", OPEN),
        ("start=0,rmax_at=0,dmax=0", OPEN),
        ("start=0,dmax_at=0", OPEN),
        ("start=0,rmax_at=0,dmax_at=0,rmax=inf,dmax=inf", (*OPEN, "axes", "batch")),
        ("start=0,rmax_at=0,dmax_at=0,rmax=1,dmax=0", ()),
        ("start=1,rmax_at=0,dmax_at=0", ()),
        ("start=0", ()),
    ],
)
def test_what_an_entry_exempts_for_some_options_is_not_claimed(options: str, unclaimed: tuple[str, ...]) -> None:
    norm = parse(f"batch-renorm:{options}")
    report = check_norm(str(norm), layout="NC")
    said = {row.name: row.found.partition(SAYS)[2] for row in report.rows if row.result == "not claimed"}
    assert report.holds
    assert set(norm.spec.exemptions(norm.options)) == ({*OPEN, "axes", "batch"} if unclaimed else set())
    assert said == dict.fromkeys(unclaimed, RENORM.exceptions["open bounds"])


def test_an_order_of_memory_that_is_not_kept_is_said() -> None:
    row = check_norm("broken_norms:REORDERING").row("memory layout")
    assert row.result == "not claimed"
    assert row.found == "the values are right, but channels_last input gives an output in another order"


@pytest.mark.slow
def test_compilation_is_checked_when_asked_for() -> None:
    assert check_norm("layer").row("compile").result == "not checked"
    assert check_norm("layer", compile=True).row("compile").result == "holds"
    assert check_norm("broken_norms:COMPILED_APART", compile=True).row("compile").result == "does not hold"
    row = check_norm("broken_norms:CONSTANTS_APART", compile=True).row("compile")
    assert (row.result, row.found.startswith("constants: compiled")) == ("does not hold", True)
    row = check_norm("broken_norms:Uncompiled", compile=True, layout="NC").row("compile")
    assert (row.result, "cannot be compiled as a whole" in row.found) == ("not claimed", True)
    row = check_norm("broken_norms:GainAlone", compile=True, layout="NC").row("compile")
    assert (row.result, "differ by at most" in row.found) == ("holds", True)
    assert check_norm("broken_norms:Noisy", compile=True, layout="NC").row("compile").result == "not applicable"


def test_a_gradient_that_compilation_changes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "reset", lambda: None)  # a stand-in, since torch's takes seconds to start
    monkeypatch.setattr(torch, "compile", lambda model, **how: lambda x: model(2 * x - x.detach()))
    row = check_norm("broken_norms:Bare", compile=True, layout="NCHW").row("compile")
    assert (row.result, "and eager differ by 1.0e+00" in row.found) == ("does not hold", True)


def test_what_a_bare_module_does_is_said_and_not_judged() -> None:
    report = check_norm("broken_norms:bare_batch")
    assert report.holds
    assert "NCHW with 6 and 15 channels" in report.title
    assert "NC " not in report.title
    assert report.row("axes").result == report.row("batch").result == "not claimed"
    assert report.row("axes").found == "one element moves the outputs along N, H, W"
    assert "running_var" in report.row("entry").found
    assert report.row("state dict").result == "holds"


def test_a_grouped_norm_is_checked_with_groups_of_two_channels_and_more() -> None:
    report = check_norm("group:groups=7")
    assert report.holds
    assert "NCHW with 14 and 42 channels" in report.title


def test_an_entry_that_states_no_sizes_is_judged_by_its_words() -> None:
    assert check_norm("broken_norms:WELL_STATED").row("entry").found == "parameters: weight, bias; buffers: none"
    row = check_norm("broken_norms:NOT_STATED").row("entry")
    assert (row.result, "leaves out the sizes of parameters" in row.found) == ("holds", True)


def test_random_numbers_are_said_and_never_taken_for_a_mistake() -> None:
    report = check_norm("broken_norms:Noisy")
    assert report.holds
    assert report.row("same output").result == "not claimed"
    assert "in training the output depends on random numbers" in report.row("same output").found
    results = {name: report.row(name).result for name in ("narrow types", "memory layout", "vmap", "modes", "offset")}
    assert set(results.values()) == {"not applicable"}
    assert report.row("gradient").result == "holds"
    assert check_norm("helpers:DITHERING").row("batch").result == "holds"


def test_nothing_is_compared_where_the_same_input_gives_another_output() -> None:
    report = check_norm("broken_norms:Counting")
    judged = {row.name for row in report.rows if row.result not in ("not checked", "not claimed")}
    assert judged == {"input", "same output", "degenerate input"}


def test_a_layer_that_writes_into_its_input_is_judged_by_its_output() -> None:
    writing, plain = check_norm("broken_norms:Writing"), check_norm("broken_norms:Bare")
    assert plain.holds
    assert writing.rows[0].name == "input"
    assert writing.rows[1:] == plain.rows[1:]


def test_a_missing_gradient_is_no_refusal_of_degenerate_input() -> None:
    row = check_norm("broken_norms:Severed").row("degenerate input")
    assert (row.result, row.found) == ("holds", "zeros, constants, one element and empty input: finite")


def test_layouts_and_channels_can_be_chosen() -> None:
    assert check_norm("layer2d", layout="NCHW", channels=64).title == "LayerNorm2d on NCHW with 64 channels"
    assert check_norm("broken_norms:Bare", layout="ncl", channels=10).title == "Bare on NCL with 10 channels"


def test_a_bare_module_gets_channels_that_it_takes_and_that_leave_it_something_to_say() -> None:
    report = check_norm("broken_norms:eight_groups")
    assert "NC with 32 and 48 channels, NCL with 8 and 48 channels" in report.title
    assert report.holds


def test_what_a_norm_prints_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    check_norm("broken_norms:Printing", layout="NC")
    said = capsys.readouterr()
    assert said.out == ""
    assert set(said.err.split()) == {"noise"}


def test_the_command_takes_layout_and_channels(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["check", "broken_norms:Printing", "--layout", "NCHW", "--channels", "64", "--json"]
    monkeypatch.setattr(sys, "argv", ["normlab", *arguments])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit):
        cli.main()
    assert json.loads(capsys.readouterr().out)["title"] == "Printing on NCHW with 64 channels"


def test_checking_draws_nothing_from_the_callers_stream_and_repeats_itself() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = check_norm("helpers:DITHERING")
    assert torch.equal(torch.get_rng_state(), before)
    random.seed(3)
    plain, numbers = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    check_norm("broken_norms:NoisyElsewhere", layout="NC")
    assert (random.getstate(), np.random.get_state()[1].tolist()) == (plain, numbers)  # noqa: NPY002
    assert first == check_norm("helpers:DITHERING")


OTHER = [
    *("batch:affine=false", "batch:momentum=0", "group:groups=2,affine=false", "rms:eps=0.01", "layer:bias=false"),
    *("batch-renorm:cumulative=true", "ghost:bias=false,cumulative=true", "switchable:affine=false"),
]
EXEMPT = {
    "instance:track_running_stats=true": {"entry"},
    "batch:track_running_stats=false": {"entry", "evaluation"},
    "rms:share=0.5": {"axes"},
}

SATURATING = ["dyt:alpha=20", "derf:alpha=5"]


@pytest.mark.parametrize("norm", [*SATURATING, *(pytest.param(norm, marks=pytest.mark.slow) for norm in OTHER)])
def test_other_options_are_checked_too(norm: str) -> None:
    assert check_norm(norm).holds


@pytest.mark.parametrize("norm", EXEMPT)
def test_options_that_change_what_a_norm_claims_say_so(norm: str) -> None:
    report = check_norm(norm, layout="NCHW")
    reasons = parse(norm).spec.exemptions(parse(norm).options)
    assert report.holds
    assert set(reasons) == EXEMPT[norm]
    for name, reason in reasons.items():
        assert report.row(name).found.endswith(f"its entry says: {reason}")


def test_what_is_added_to_weights_is_told_from_them_where_both_are_one_number() -> None:
    assert check_norm("weight", layout="NC", channels=1).row("entry").result == "holds"


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
        ("broken_norms:NOTHING", "'broken_norms:NOTHING', which is None"),
        ("broken_norms:Bare:eps=1", "takes no options; got 'broken_norms:Bare:eps=1'"),
        ("broken_norms:Weird", r"takes no layout \(NC, NCL, NCHW, NCDHW, NLC: KeyError: 'weird'\)"),
        ("broken_norms:Exiting", "SystemExit: 0"),
        ("broken_norms:NONE_BUILT", "build of broken_norms:NONE_BUILT must give a torch.nn.Module; got None"),
        (
            "broken_norms:WRONG_BUILD",
            "must build a layer that runs on NC with 6 channels, as its axes say; got TypeErr",
        ),
        ("broken_norms:RAISING", "KeyError: 'weird'"),
        ("torch.nn:LazyBatchNorm2d", "must hold its parameters and buffers when it is built; got LazyBatchNorm2d"),
        (nn.LayerNorm, "got <class .*LayerNorm'>. Give its text"),
        (None, "got None. Give its text"),
        ("broken_norms:REFUSING", "refuse of broken_norms:REFUSING must give a reason or None; got TypeError"),
        ("broken_norms:GIVING_NO_REASONS", "exemptions of .* must give the names of checks, each with a reason"),
        ("nowhere:NORM", "importable"),
        ("layer:axis=1", "has no option 'axis'"),
    ],
)
def test_what_cannot_be_checked_is_said(norm: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_norm(norm)


def test_what_is_missing_is_likened_to_what_could_be_a_norm() -> None:
    with pytest.raises(InputError) as caught:
        check_norm("broken_norms:Zzz")
    named = caught.value.advice.removeprefix("Choose from ").removesuffix(".").split(", ")
    assert {"COUPLES", "Bare", "bare_batch"} <= set(named)
    assert not {"torch", "nn", "Tensor", "replace", "NormSpec", "NUMBER", "LEARNED", "np"} & set(named)


def test_a_script_that_ends_the_process_is_no_module_of_norms() -> None:
    Path("quitting.py").write_text("import sys\nsys.exit(0)\n")
    sys.path.insert(0, str(Path.cwd()))
    try:
        with pytest.raises(InputError, match=r"importable object .*SystemExit: 0.*Keep what a script does under"):
            check_norm("quitting:NORM")
    finally:
        sys.path.pop(0)


@pytest.mark.parametrize(
    ("norm", "asked", "message"),
    [
        ("layer", {"layout": "NHWC"}, "`layout` must be a known order of axes; got 'NHWC'"),
        ("layer", {"layout": "NCHW"}, "must do something on NCHW; got layer, which takes NC, NLC"),
        ("group", {"channels": 7}, "on some layout with 7 channels; .*32 groups do not divide 7 channels"),
        ("group:groups=8", {"layout": "NC", "channels": 8}, "one element behind each statistic"),
        ("layer", {"channels": 0}, "channels must be a whole number of at least 1"),
        ("broken_norms:bare_batch", {"layout": "NC"}, "which does not run .*expected 4D input"),
        ("broken_norms:eight_groups", {"channels": 6}, "takes no layout .*must be divisible"),
    ],
)
def test_a_choice_that_does_not_fit_is_said(norm: str, asked: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_norm(norm, **asked)


@pytest.mark.parametrize(
    "wrong", [{"channels": 0}, {"channels": "6"}, {"channels": 3.0}, {"channels": True}, {"layout": 5}]
)
def test_what_is_no_number_of_channels_or_layout_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match="must be"):
        check_norm("layer", **wrong)
