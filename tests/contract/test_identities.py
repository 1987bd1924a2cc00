"""Norms that must be the same as another one, in the output and in the gradient."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from norm_cases import SIZES, slot_of, some_input
from normlab import norms
from normlab.norms.catalog import parse


def the(text: str, layout: str = "NCHW") -> nn.Module:
    """The layer at its start, in float64 and training mode."""
    return parse(text).build(slot_of(layout)).double().train()


def renorm(**options: Any) -> nn.Module:
    return norms.BatchRenorm(SIZES["C"], **{"start": 0, "rmax_at": 0, "dmax_at": 0, **options}).double().train()


PAIRS = {
    "group(C) = instance": ("group:groups=6", "instance", "NCHW"),
    "group(1) = layer over C,H,W": ("group:groups=1", "layer-chw", "NCHW"),
    "group(1) = layer on N,C": ("group:groups=1", "layer", "NC"),
    "ghost(batch) = batch": ("ghost:size=4", "batch", "NCHW"),
    "sync without a group = batch": ("sync-batch", "batch", "NCHW"),
    "scale = rms with one gamma": ("scale:eps=0", "rms:eps=1e-30", "NC"),
    "scale = rms with one gamma, by channel": ("scale:eps=0", "rms:eps=1e-30", "NCHW"),
    "pono = layer2d without affine": ("pono", "layer2d:affine=false", "NCHW"),
    "batch-group(C) = batch": ("batch-group:groups=6", "batch", "NCHW"),
    "batch-renorm before its start = batch": ("batch-renorm", "batch", "NCHW"),
    "batch-renorm(1, 0) = batch": ("batch-renorm:rmax=1,dmax=0,start=0", "batch", "NCHW"),
    "unit = scale over its g": ("unit", "scale", "NC"),
    "derf and dyt vanish alike": ("dyt:alpha=1e-30", "derf:alpha=1e-30", "NCHW"),
}


@pytest.mark.parametrize("name", PAIRS)
def test_two_names_for_one_layer(name: str) -> None:
    first, second, layout = PAIRS[name]
    factor = SIZES["C"] ** 0.5 if first == "unit" else 1.0
    results = []
    for text in (first, second):
        layer = the(text, layout)
        x = some_input(layout).requires_grad_()
        for step in range(3):  # running statistics move; they must not matter in training
            layer(some_input(layout, seed=step + 3))
        y = layer(x) * (factor if text == "unit" else 1.0)
        (gradient,) = torch.autograd.grad((y * torch.arange(y.numel()).view(y.shape)).sum(), x)
        results.append((y.detach(), gradient))
    near = 1e-6 if "scale" in name else 1e-9  # g starts as sqrt(C) in float32
    torch.testing.assert_close(results[0], results[1], rtol=near, atol=near)


def test_channels_first_and_channels_last_forms_agree() -> None:
    x = some_input("NCL")
    for text in ("rms", "scale", "unit", "dyt", "derf", "bias"):
        first, last = the(text, "NCL"), the(text, "NLC")
        last.load_state_dict(first.state_dict())
        torch.testing.assert_close(first(x), last(x.movedim(1, -1)).movedim(-1, 1))
    torch.testing.assert_close(the("layer2d", "NCL")(x), the("layer", "NLC")(x.movedim(1, -1)).movedim(-1, 1))


def test_batch_renorm_without_bounds_trains_in_its_evaluation_form() -> None:
    layer = renorm(rmax=inf, dmax=inf, momentum=0.2)
    for step in range(6):
        x = some_input("NCHW", seed=step)
        evaluated = layer.eval()(x)  # before the buffers move: training uses them as they were
        torch.testing.assert_close(layer.train()(x), evaluated)


@pytest.mark.parametrize("shards", [2, 3])
def test_moments_over_shards_are_those_of_the_whole_batch(shards: int) -> None:
    """What synchronized batch normalization computes: local moments, combined; then each shard is normalized."""
    whole = some_input("NCHW", samples=7).requires_grad_()
    parts = whole.tensor_split(shards)
    moments = norms.Moments.of(parts[0], (0, 2, 3))
    for part in parts[1:]:
        moments = moments.combined(norms.Moments.of(part, (0, 2, 3)))

    def normalized(part: Tensor) -> Tensor:
        mean, variance = (value.view(1, -1, 1, 1) for value in (moments.mean, moments.variance))
        return (part - mean) / torch.sqrt(variance + 1e-5)

    emulated = torch.cat([normalized(part) for part in parts])
    expected = nn.functional.batch_norm(whole, None, None, training=True)
    torch.testing.assert_close(emulated, expected)
    weights = torch.arange(whole.numel(), dtype=torch.float64).view(whole.shape).cos()
    gradients = [torch.autograd.grad((y * weights).sum(), whole, retain_graph=True)[0] for y in (emulated, expected)]
    torch.testing.assert_close(*gradients)
    assert moments.count == 7 * SIZES["H"] * SIZES["W"]


def test_ghost_chunks_are_batches_of_their_own() -> None:
    x = some_input("NCHW", samples=7)
    ghost, batch = the("ghost:size=3"), the("batch")
    torch.testing.assert_close(ghost(x), torch.cat([batch(x[:3]), batch(x[3:])]), msg="the single rest joins")
    torch.testing.assert_close(ghost.state_dict(), batch.state_dict())


def test_the_halves_of_batch_normalization_make_the_whole() -> None:
    x = some_input("NCHW")
    variance_only = norms.VarianceOnlyBatchNorm(6).double().train()
    torch.testing.assert_close(variance_only(the("mean-only-batch")(x)), the("batch")(x))


def test_more_groups_than_channels_are_pieces_of_a_channel() -> None:
    x = some_input("NCHW")
    layer = norms.BatchGroupNorm(6, 12).double().train()
    rows = x.reshape(4, 12, 3)  # half a channel each
    expected = (rows - rows.mean((0, 2), keepdim=True)) / (rows.var((0, 2), correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(layer(x), expected.view(x.shape))


def test_filters_with_and_without_positions_agree_on_one_position() -> None:
    x = some_input("NC")
    layer = norms.FilterResponseNorm(6, learned=True).double()
    torch.testing.assert_close(layer(x), layer(x[..., None, None])[..., 0, 0])
    assert layer.learned_eps.requires_grad
    positive = layer(x)
    with torch.no_grad():
        layer.learned_eps.neg_()
    assert torch.equal(layer(x), positive), "|e|: a step of the optimizer below 0 does no harm"
    with torch.no_grad():
        layer.learned_eps.zero_()
    assert torch.isfinite(layer(torch.zeros_like(x))).all(), "eps is left where e has become 0"
