"""The grammar of norms, and what each catalogue entry says of itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlab.errors import InputError, NormlabError
from normlab.norms.catalog import NORMS, build, parse
from normlab.norms.slot import Slot


@pytest.mark.parametrize("spec", NORMS, ids=lambda spec: spec.name)
def test_the_text_of_a_norm_means_the_same_norm(spec) -> None:
    for option in spec.options:
        other = (
            (not option.default)
            if isinstance(option.default, bool)
            else type(option.default)(max(1, option.at_least or 0))
        )
        text = f"{spec.name}:{option.name}={str(other).lower()}"
        assert str(parse(str(parse(text)))) == str(parse(text))
        assert parse(text).options[option.name] == other
    assert str(parse(spec.name)) == spec.name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bacth", "Did you mean 'batch'?"),
        ("group:group=5", "Did you mean 'groups'?"),
        ("group:groups", "key=value"),
        ("group:groups=2.5", "whole number"),
        ("group:groups=0", "at least 1"),
        ("group:groups=5,groups=5", "given once"),
        ("batch:eps=nan", "a number"),
        ("batch:momentum=-1", "at least 0"),
        ("batch:affine=maybe", "true or false"),
        ("", "Choose from"),
        ("nowhere.module:THING", "importable NormSpec"),
        ("helpers:DITHERNG", "Did you mean 'DITHERING'?"),
        ("helpers:small_study", "a function"),
        (7, "must be given as text"),
    ],
)
def test_a_mistake_is_explained(text: Any, message: str) -> None:
    with pytest.raises(InputError, match="got") as caught:
        parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        *(("".join(spec.title.split()), spec.name) for spec in NORMS),
        ("batchnorm", "batch"),
        ("BatchNorm1d", "batch"),
        ("torch.nn.BatchNorm3d", "batch"),
        ("BatchNormalization", "batch"),
        ("BatchNrom", "batch"),
        ("batch_norm:eps=1e-3", "batch"),
        ("LayerNorm2d", "layer2d"),
        ("LayerNormalization", "layer"),
        ("InstanceNorm2d", "instance"),
        ("GhostBatchNorm2d", "ghost"),
        ("SyncBatchNorm", "sync-batch"),
        ("DynamicTanh", "dyt"),
        ("PONO", "pono"),
        ("FilterResponseNorm", "frn"),
        ("UnitNorm", "unit"),
    ],
)
def test_the_hint_knows_titles_and_names_of_classes(text: str, meant: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)
    assert caught.value.advice == f"Did you mean '{meant}'?"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": "64"}, "channels='64'"),
        ({"channels": 64.0}, "whole numbers"),
        ({"channels": 0}, "at least 1"),
        ({"channels": 64, "layout": "NCHW", "extent": (7.5, 7)}, r"extent=\(7.5, 7\)"),
        ({"channels": 64, "layout": "NHWC"}, "layout` must be a known order of axes"),
        ({"channels": 64, "layout": 4}, "layout` must be a known order of axes"),
        ({"channels": 64, "layout": "nlc"}, "no form for NLC"),
    ],
)
def test_a_layer_that_cannot_be_built_is_an_input_error(arguments, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build("batch", **arguments)


def test_the_letters_of_a_layout_may_be_small() -> None:
    assert type(build("batch", 4, layout="nchw")) is type(build("batch", 4, layout="NCHW"))


@given(st.text(max_size=30))
def test_no_text_gives_anything_but_a_norm_or_a_message(text: str) -> None:
    try:
        norm = str(parse(text))
    except NormlabError:
        return
    assert str(parse(norm)) == norm


@given(value=st.floats(1e-12, 1, exclude_max=True))
def test_no_digit_of_an_option_is_lost(value: float) -> None:
    norm = parse(f"batch:momentum={value!r},eps={value!r}")
    assert parse(str(norm)).options == norm.options
    assert hash(parse(str(norm))) == hash(norm)


def test_what_an_option_allows_is_said() -> None:
    with pytest.raises(InputError, match="eps must be a number above 0"):
        parse("ghost:eps=0")
    assert parse("variance-only-batch:eps=0").options["eps"] == 0
    assert parse("batch-renorm:rmax=inf,dmax=inf").options["rmax"] == float("inf")
    for text in ("batch-renorm:rmax=nan", "batch-renorm:rmax=-inf", "batch:eps=inf"):
        with pytest.raises(InputError, match="must be a number"):
            parse(text)


def test_a_norm_of_ones_own_is_found_by_its_module() -> None:
    assert str(parse("helpers:DITHERING")) == "helpers:DITHERING"


@pytest.mark.parametrize(
    ("norm", "channels", "batch_size", "kind"),
    [
        ("group:groups=7", 50, 64, "refusal"),
        ("group:groups=50", 50, 64, "emptiness"),
        ("group:groups=25", 50, 64, "caution"),
        ("batch", 50, 1, "refusal"),
        ("batch", 50, 2, "caution"),
        ("layer", 1, 64, "emptiness"),
        ("rms", 1, 64, "emptiness"),
        ("instance", 50, 64, "refusal"),
    ],
)
def test_what_cannot_be_and_what_means_nothing(norm: str, channels: int, batch_size: int, kind: str) -> None:
    slot = Slot(channels)
    said = {
        name: getattr(parse(norm), name)(slot, batch_size) is not None for name in ("refusal", "emptiness", "caution")
    }
    assert said[kind]


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "group:groups=5", "rms"])
def test_an_ordinary_use_needs_no_remark(norm: str) -> None:
    chosen, slot = parse(norm), Slot(50)
    assert [chosen.refusal(slot, 64), chosen.emptiness(slot, 64), chosen.caution(slot, 64)] == [None] * 3


def test_two_elements_are_warned_of_where_they_make_a_sign_function() -> None:
    assert "+1 and -1" in str(parse("batch").caution(Slot(8), 2))
    assert "+1 and -1" in str(parse("ghost:size=2").caution(Slot(8), 64)), "its chunks count, not the batch"
    assert parse("ghost:size=16").caution(Slot(8), 64) is None
    assert parse("switchable").caution(Slot(8), 2) is None, "a mixture with statistics over more elements"
