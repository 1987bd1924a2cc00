"""Extreme inputs and memory formats: correct or a clear error, never a silent NaN."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from norm_cases import CASES, FOUR_D, WITH_VARIANTS, built, by_formula, slot_of, some_input
from normlab.errors import InputError
from normlab.norms.catalog import build, parse
from normlab.norms.spec import Norm

COUPLED = [case for case in CASES if case.values[0].spec.buffers and case.values[0].spec.wrap is None]
KNOW_NO_CHANNELS = {
    "none",
    "weight",
    "spectral",
    "standardized",
    "scale",
    "unit",
    "instance",
}  # they learn nothing for a channel
EXTREME = {
    "constant": lambda x: torch.full_like(x, 3.0),
    "zeros": torch.zeros_like,
    "offset 1e4": lambda x: (x - x.mean()) / x.std() + 1e4,
    "one sample": lambda x: x[:1],
    "float16": lambda x: x.half(),
    "float16 constant": lambda x: torch.full_like(x, 3.0).half(),
    "float16 offset 1e4": lambda x: (x + 1e4).half(),
    "bfloat16": lambda x: x.bfloat16(),
    "bfloat16 constant": lambda x: torch.full_like(x, 3.0).bfloat16(),
}


@pytest.mark.parametrize("kind", EXTREME)
@pytest.mark.parametrize(("norm", "layout"), WITH_VARIANTS)
def test_output_and_gradients_are_numbers_or_the_error_is_clear(norm: Norm, layout: str, kind: str) -> None:
    x = EXTREME[kind](some_input(layout).float()).requires_grad_()
    layer = norm.build(slot_of(layout)).to(x.dtype).train()
    if norm.spec.couples_batch and norm.elements(slot_of(layout), len(x)) == 1:  # only what couples it may refuse
        with pytest.raises(ValueError, match=r"more than (1|one)"):
            layer(x)
        return
    y = layer(x)
    y.float().square().mean().backward()
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    found = {"output": y, "gradient": x.grad, **dict(layer.named_buffers())}
    found |= {name: parameter.grad for name, parameter in layer.named_parameters()}
    infinite = {name for name, value in found.items() if not torch.isfinite(value).all()}
    assert bool(infinite) == (kind in norm.spec.exceptions), (infinite, norm.spec.exceptions.get(kind))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("norm", "layout"), COUPLED)
def test_running_statistics_of_a_large_spread_stay_numbers_in_half_precision(norm, layout, dtype) -> None:
    layer = norm.build(slot_of(layout)).to(dtype).train()
    for step in range(2):  # a variance of 90,000 leaves the range of float16, a tenth of it does not
        x = 300 * torch.randn(some_input(layout).shape, generator=torch.Generator().manual_seed(step))
        layer(x.to(dtype))
        assert all(torch.isfinite(buffer).all() for buffer in layer.buffers()), step
    assert torch.isfinite(layer.eval()(x.to(dtype))).all()


@pytest.mark.parametrize(("norm", "layout"), FOUR_D)
def test_another_number_of_channels_is_refused(norm: Norm, layout: str) -> None:
    layer = norm.build(slot_of(layout))
    if norm.spec.name in KNOW_NO_CHANNELS:
        return
    for channels in (1, 7):
        with pytest.raises((InputError, RuntimeError, ValueError)):
            layer(torch.randn(4, channels, 3, 2))


@pytest.mark.parametrize("name", ["evonorm-b0", "evonorm-s0:groups=2", "switchable"])
def test_layers_for_positions_refuse_input_without(name: str) -> None:
    with pytest.raises(InputError, match="must have positions"):
        build(name, 6, "NCHW")(torch.randn(4, 6))


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(("norm", "layout"), WITH_VARIANTS)
def test_an_empty_batch_gives_an_empty_result_and_moves_nothing(norm: Norm, layout: str, training: bool) -> None:
    layer = built(norm, layout).train(training)
    before = {name: buffer.clone() for name, buffer in layer.named_buffers() if name != "num_batches_tracked"}
    empty = some_input(layout)[:0]
    assert layer(empty).shape == empty.shape
    for name, buffer in before.items():
        assert torch.equal(layer.get_buffer(name), buffer), name


def torch_error(x: Tensor, layout: str) -> float:
    """The largest error against float64 of torch's own norms on this input."""
    exact = x.double()
    if layout == "NLC":
        forms = [lambda x: nn.functional.layer_norm(x, x.shape[-1:])]
    else:
        forms = [
            lambda x: nn.functional.batch_norm(x, None, None, training=True),
            lambda x: nn.functional.group_norm(x, 1),
            lambda x: nn.functional.layer_norm(x.movedim(1, -1), x.shape[1:2]).movedim(-1, 1),
        ]
    return max(float((form(x).double() - form(exact)).abs().max()) for form in forms)


def computed_by_us(layer: nn.Module) -> bool:
    """GroupNorm's numbers are those of torch's kernel."""
    return type(layer).__module__.startswith("normlab") and not isinstance(layer, nn.GroupNorm)


OURS = [case for case in CASES if computed_by_us(case.values[0].build(slot_of(case.values[1])))]


@pytest.mark.parametrize(("norm", "layout"), OURS)
def test_the_error_on_a_large_mean_is_not_worse_than_that_of_torch(norm: Norm, layout: str) -> None:
    x = EXTREME["offset 1e4"](some_input(layout).float())
    expected, _ = by_formula(norm, norm.build(slot_of(layout)), layout, x)
    error = np.abs(norm.build(slot_of(layout)).train()(x).detach().double().numpy() - expected).max()
    uncentred = 4e-7 * np.abs(expected).max()  # the mean stays in the output: a few units in its last place
    assert error <= max(1.5 * torch_error(x, layout), uncentred)


def test_shares_of_a_mixture_lose_nothing_of_a_large_mean() -> None:
    """Shares add up to 1 but for rounding, which a mean of 1e4 would make a thousand times larger."""
    x = EXTREME["offset 1e4"](some_input("NCHW").float())
    layer, generator, worst = build("switchable", 6, "NCHW"), torch.Generator().manual_seed(0), 0.0
    for _ in range(30):
        with torch.no_grad():
            layer.mean_weight.copy_(torch.randn(3, generator=generator))
            exact = copy.deepcopy(layer).double()(x.double())
            worst = max(worst, float((layer(x) - exact).abs().max()))
    assert worst < 2e-3


@pytest.mark.parametrize(("norm", "layout"), WITH_VARIANTS)
def test_strides_of_the_input_change_no_value(norm: Norm, layout: str) -> None:
    x = some_input(layout)
    scattered = torch.stack([x, x], dim=-1)[..., 0]
    swapped = x.transpose(0, -1).contiguous().transpose(0, -1)
    for other in (scattered, swapped):
        assert not other.is_contiguous()
        torch.testing.assert_close(built(norm, layout)(other), built(norm, layout)(x))


@pytest.mark.parametrize(("norm", "layout"), FOUR_D)
def test_channels_last_memory_stays_channels_last(norm: Norm, layout: str) -> None:
    x = some_input(layout)
    last = x.contiguous(memory_format=torch.channels_last)
    result = built(norm, layout)(last)
    torch.testing.assert_close(result, built(norm, layout)(x))
    kept = result.stride() == last.stride()
    assert kept == ("channels_last" not in norm.spec.exceptions), norm.spec.exceptions.get("channels_last")
    assert built(norm, layout)(x).is_contiguous()


@pytest.mark.parametrize(
    ("text", "channels", "layout", "message"),
    [
        ("group:groups=4", 6, "NCHW", "such as groups=3"),
        ("batch-group:groups=4", 6, "NC", "such as groups=3"),
        ("evonorm-s0:groups=4", 6, "NCHW", "such as groups=3"),
        ("layer", 6, "NCHW", "it takes NC, NLC"),
        ("layer-chw", 6, "NCHW", "must know the extent"),
        ("instance", 6, "NC", "positions"),
        ("batch", 0, "NC", "at least 1"),
        ("batch", 6, "NHWC", "layout` must be a known order of axes"),
    ],
)
def test_what_cannot_be_built_says_why(text: str, channels: int, layout: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(text, channels, layout)


def test_groups_that_do_not_divide_what_arrives_are_refused() -> None:
    with pytest.raises(InputError, match="must divide the features"):
        build("batch-group:groups=4", 6, "NCHW")(torch.randn(2, 6, 1, 1))


@pytest.mark.parametrize("name", ["switchable", "batch-renorm"])
def test_bfloat16_buffers_stall_where_the_entry_says_so(name: str) -> None:
    """A step of the running average is then smaller than half a unit in the last place of what it is added to."""
    x = 5 * torch.randn(64, 2, generator=torch.Generator().manual_seed(0)) + 5
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        layer = build(name, 2).to(dtype).train()
        for _ in range(1200):
            layer(x.to(dtype))
        found[dtype] = layer.running_mean.float() / x.mean(0)
    assert "bfloat16 buffers" in parse(name).spec.exceptions
    assert bool((found[torch.float32] > 0.95).all())
    assert bool((found[torch.bfloat16] < 0.9).all())
