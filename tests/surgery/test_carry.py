"""What a new layer takes over: against formulas, and functions that stay the same."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import normlab
from normlab import norms
from normlab.errors import InputError
from normlab.surgery.groups import choose_groups


def trained(norm: nn.Module, seed: int = 0) -> nn.Module:
    """A norm with values that are not those of the start."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.randn_like(parameter))
        for name, buffer in norm.named_buffers():
            if name.endswith(("mean", "var", "std")):
                buffer.copy_(torch.rand_like(buffer) + 0.5)
    return norm


def images(channels: int = 6) -> torch.Tensor:
    return torch.randn(4, channels, 5, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("to", ["none", "bias"])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_in_evaluation_is_the_affine_map_that_is_left_of_it(to: str, affine: bool) -> None:
    norm = trained(nn.BatchNorm2d(6, eps=1e-3, affine=affine)).eval()
    swapped, report = normlab.swap(nn.Sequential(norm), to)
    assert torch.allclose(swapped(images()), norm(images()), atol=1e-6)
    assert "exact in evaluation mode" in report.entries[0].notes[0]


class FrozenBatchNorm2d(nn.Module):
    """As detection libraries have it: everything is a buffer, and eps may be 0."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        for name, start in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), start))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_frozen_batch_norm_is_folded_with_its_own_eps(eps: float) -> None:
    norm = trained(FrozenBatchNorm2d(6, eps))
    with torch.no_grad():
        norm.running_var.mul_(1e-4)  # so that eps makes a difference
        norm.weight.copy_(torch.rand(6))
        norm.bias.copy_(torch.rand(6))
    swapped, _ = normlab.swap(nn.Sequential(norm), "none")
    expected = norm(images())
    assert torch.allclose(swapped(images()), expected, atol=1e-5 * float(expected.abs().max()))
    live, report = normlab.swap(nn.Sequential(norm), "batch")
    assert torch.equal(live[0].running_var, norm.running_var)
    assert not live[0].weight.requires_grad, "what was a buffer is not trained"
    assert any("does not take the layer's 0" in note for note in report.entries[0].notes) == (eps == 0.0)


class Shaped(nn.Module):
    """Batch normalization as many write it: every vector in the shape that the input has."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.eps, shape = 1e-3, (1, channels, 1, 1)
        self.gamma, self.beta = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))
        self.register_buffer("moving_mean", torch.zeros(shape))
        self.register_buffer("moving_var", torch.ones(shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, variance = self.get_buffer("moving_mean"), self.get_buffer("moving_var")
        if self.training:
            mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
        return self.gamma * (x - mean) * (variance + self.eps).rsqrt() + self.beta


@pytest.mark.parametrize("to", ["none", "batch:momentum=0.3"])
def test_vectors_in_the_shape_of_the_input_are_carried_over(to: str) -> None:
    norm = trained(Shaped(6)).eval()
    swapped, report = normlab.swap(nn.Sequential(norm), to, example_inputs=images())
    assert torch.allclose(swapped(images()), norm(images()), atol=1e-5)
    assert report.entries[0].lost == ()


def test_an_eps_of_zero_beside_constants_does_not_go_where_it_would_divide_by_zero() -> None:
    model = nn.Sequential(trained(FrozenBatchNorm2d(6, 0.0)))
    swapped, report = normlab.swap(model, "group:groups=2", example_inputs=images())
    assert swapped[0].eps == 1e-5
    assert "statistics that stay as they are" in report.entries[0].notes[0]
    assert swapped(torch.zeros(2, 6, 5, 5)).isfinite().all()
    own, _ = normlab.swap(nn.Sequential(nn.GroupNorm(2, 6, eps=0.0)), "group:groups=3")
    assert own[0].eps == 0.0, "where the layer divided by its input's own deviation, that was somebody's choice"


@pytest.mark.parametrize("to", ["ghost:size=2", "batch-renorm", "sync-batch"])
def test_running_statistics_stay_where_the_new_norm_has_them(to: str) -> None:
    norm = trained(nn.BatchNorm2d(6)).eval()
    swapped, report = normlab.swap(nn.Sequential(norm), to, example_inputs=images())
    assert torch.allclose(swapped(images()), norm(images()), atol=1e-5)
    assert report.entries[0].lost == ()


@pytest.mark.parametrize(
    ("old", "to"),
    [
        (norms.BatchRenorm(6, eps=0.1), "none"),
        (norms.BatchRenorm(6, eps=0.1), "ghost:size=2"),
        (norms.VarianceOnlyBatchNorm(6), "none"),
        (norms.VarianceOnlyBatchNorm(6), "batch-renorm"),
        (norms.MeanOnlyBatchNorm(6), "none"),
        (norms.BatchGroupNorm(6, 2), "none"),
        (norms.BatchGroupNorm(6, 2), "batch"),
        (norms.BatchGroupNorm(6, 2), "batch-group:groups=2,eps=1e-6"),
        (nn.InstanceNorm2d(6, affine=True, track_running_stats=True), "batch"),
    ],
)
def test_statistics_in_another_form_stay_the_same_map(old: nn.Module, to: str) -> None:
    """A deviation with eps in it, a variance or mean alone, one value a group."""
    norm = trained(old).eval()
    swapped, report = normlab.swap(nn.Sequential(norm), to, example_inputs=images())
    torch.testing.assert_close(swapped(images()), norm(images()), rtol=1e-4, atol=1e-4)
    assert report.entries[0].lost == ()


def test_what_is_not_exact_or_not_of_channels_is_not_said_to_be() -> None:
    _, report = normlab.swap(nn.Sequential(trained(norms.SwitchNorm(6))), "none", example_inputs=images())
    assert "mixed them with those of each sample" in report.entries[0].notes[0]
    odd = trained(norms.BatchGroupNorm(6, 10))  # parts of the flattened features, 15 in each
    _, report = normlab.swap(nn.Sequential(odd), "none", example_inputs=images())
    assert "running statistics, which are not of channels" in report.entries[0].lost
    _, report = normlab.swap(nn.Sequential(norms.BatchRenorm(6)), "group:groups=2", example_inputs=images())
    assert report.entries[0].lost == (), "those of the start mean nothing"


def test_values_beside_gamma_and_beta_stay_in_the_same_norm_and_are_lost_in_another() -> None:
    norm = trained(norms.EvoNormS0(6, 2))
    again, report = normlab.swap(nn.Sequential(norm), "evonorm-s0:groups=3", example_inputs=images())
    assert torch.equal(again[0].v, norm.v)
    assert again[0].groups == 3
    assert report.entries[0].lost == ()
    _, report = normlab.swap(nn.Sequential(norm), "frn", example_inputs=images())
    assert report.entries[0].lost == ("v (6 values)",)
    _, report = normlab.swap(nn.Sequential(norms.DynamicTanh(6)), "layer2d", example_inputs=images())
    assert report.entries[0].lost == ("alpha (1 value)",)


def test_a_norm_that_is_an_activation_too_is_not_replaced_by_one_that_is_none() -> None:
    model = nn.Sequential(norms.FilterResponseNorm(6), nn.ReLU())
    for to in ("group:groups=2", "none"):
        swapped, report = normlab.swap(model, to, example_inputs=images())
        assert report.entries[0].action == "leave"
        assert "which the model would lose" in report.entries[0].reason
        assert torch.equal(swapped(images()), model(images()))
    with pytest.raises(InputError, match="which the model would lose"):
        normlab.swap(model, "batch", where="0", example_inputs=images())
    swapped, _ = normlab.swap(model, "evonorm-s0:groups=2", example_inputs=images())
    assert isinstance(swapped[1], nn.ReLU), "it was behind an activation before, and is now"


def test_a_norm_that_is_built_for_its_axes_needs_to_know_them() -> None:
    with pytest.raises(InputError, match="the number of axes of a layer's input must be known"):
        normlab.swap(nn.Sequential(norms.BatchRenorm(4)), "switchable")


def test_gamma_and_beta_of_batch_norm_go_to_group_norm() -> None:
    norm = trained(nn.BatchNorm2d(6))
    swapped, report = normlab.swap(nn.Sequential(norm), "group:groups=2")
    assert torch.equal(swapped[0].weight, norm.weight)
    assert torch.equal(swapped[0].bias, norm.bias)
    assert report.entries[0].lost == ("running mean and variance of 6 channels",)


def test_a_gamma_of_zero_stays_zero_also_without_a_norm() -> None:
    norm = nn.BatchNorm2d(6)
    nn.init.zeros_(norm.weight)
    for to in ("group:groups=2", "rms", "none", "layer2d"):
        swapped, _ = normlab.swap(nn.Sequential(norm), to)
        assert not swapped(images()).any()


def test_an_untrained_norm_leaves_the_plain_identity() -> None:
    swapped, report = normlab.swap(nn.Sequential(nn.BatchNorm2d(6), nn.LayerNorm(5)), "none")
    assert [type(layer) for layer in swapped] == [nn.Identity, nn.Identity]
    assert report.entries[0].lost == ()


class OnePlus(nn.Module):
    """RMSNorm that keeps gamma - 1, as Gemma does."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(features))
        self.eps = 1e-6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * (1.0 + self.weight)


def test_gamma_that_is_kept_less_one_stays_the_same_function_both_ways() -> None:
    norm = trained(OnePlus(8))
    inputs = torch.randn(2, 3, 8)
    plain, _ = normlab.swap(nn.Sequential(norm), nn.RMSNorm)
    assert type(plain[0]) is nn.RMSNorm
    assert torch.allclose(plain[0].weight, norm.weight + 1)
    assert torch.allclose(plain(inputs), norm(inputs), atol=1e-5)
    back, _ = normlab.swap(plain, OnePlus)
    assert torch.allclose(back[0].weight, norm.weight, atol=1e-6)


def test_what_has_no_place_is_named_with_its_size() -> None:
    norm = nn.LayerNorm(8)
    nn.init.constant_(norm.bias, 0.5)
    swapped, report = normlab.swap(nn.Sequential(norm), "rms")
    assert report.entries[0].lost == ("beta (8 values, up to 0.5 off 0)",)
    assert list(dict(swapped.named_parameters())) == ["0.weight"]


def test_gamma_at_each_position_becomes_one_for_each_channel_only_where_that_is_the_same() -> None:
    norm = nn.LayerNorm((3, 4, 4))
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1).expand(3, 4, 4))
    swapped, report = normlab.swap(nn.Sequential(norm), "group:groups=1", example_inputs=torch.randn(2, 3, 4, 4))
    inputs = torch.randn(2, 3, 4, 4)
    assert torch.allclose(swapped(inputs), norm(inputs), atol=1e-5)
    assert report.entries[0].lost == ()
    back, _ = normlab.swap(swapped, "layer-chw", example_inputs=inputs)
    assert torch.allclose(back(inputs), norm(inputs), atol=1e-5)
    with torch.no_grad():
        norm.weight[0, 0, 0] = 9.0
    _, report = normlab.swap(nn.Sequential(norm), "group:groups=1", example_inputs=inputs)
    assert "differences of gamma" in report.entries[0].lost[0]


def test_tied_gammas_stay_tied() -> None:
    model = nn.Sequential(nn.LayerNorm(6), nn.LayerNorm(6))
    model[1].weight = model[0].weight
    swapped, _ = normlab.swap(model, "rms")
    assert swapped[1].weight is swapped[0].weight


def test_models_without_numbers_are_swapped_too() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 1), nn.LayerNorm((6, 4, 4)))
    for to in ("group:groups=2", "rms", "none"):
        swapped, report = normlab.swap(model, to)
        assert len(report.replaced) == 2
        assert all(parameter.is_meta for parameter in swapped.parameters())


def test_hooks_of_the_old_layer_go_with_it() -> None:
    seen = []
    norm = nn.BatchNorm2d(6)
    norm.register_forward_hook(lambda layer, inputs, output: seen.append(type(layer).__name__))
    swapped, _ = normlab.swap(nn.Sequential(norm), "group:groups=2", copy=False)
    swapped(images())
    assert seen == ["GroupNorm"]


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 64), st.integers(1, 96), st.one_of(st.none(), st.integers(1, 4)))
def test_the_number_of_groups_is_the_largest_that_divides_and_leaves_two(
    wish: int, channels: int, positions: int | None
) -> None:
    choice = choose_groups(wish, channels, positions)
    fits = [
        groups
        for groups in range(1, min(wish, channels) + 1)
        if channels % groups == 0 and (channels // groups) * (positions or 1) >= 2
    ]
    if not fits:
        assert choice.groups == (1 if positions is None else 0)
    else:
        assert choice.groups == max(fits)
    alone = choice.groups == channels > 1
    assert bool(choice.note) == (choice.groups != wish or not fits or alone)
    assert ("which is InstanceNorm" in choice.note) == alone


def test_a_number_of_groups_that_does_not_fit_is_refused_when_strict() -> None:
    model = nn.Sequential(nn.BatchNorm2d(12))
    with pytest.raises(InputError, match="6 groups, as 8 do not divide 12 channels"):
        normlab.swap(model, "group:groups=8", strict=True)
    assert normlab.swap(model, "group:groups=4", strict=True)[0][0].num_groups == 4


@pytest.mark.parametrize(
    ("model", "to", "shape"),
    [
        (nn.Sequential(nn.BatchNorm1d(1)), "group:groups=1", (4, 1)),
        (nn.Sequential(nn.BatchNorm1d(1)), "layer", (4, 1)),
        (nn.Sequential(nn.BatchNorm2d(6)), "instance", (4, 6, 1, 1)),
        (nn.Sequential(nn.BatchNorm2d(1)), "layer2d", (4, 1, 5, 5)),
    ],
)
def test_a_norm_with_one_element_behind_each_statistic_is_refused(
    model: nn.Module, to: str, shape: tuple[int, ...]
) -> None:
    with pytest.raises(InputError, match=r"one element|more than one position"):
        normlab.swap(model, to, example_inputs=torch.randn(shape))
