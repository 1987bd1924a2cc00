"""Norms of padded sequences: what is behind the end of a sequence plays no part."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from normlab import norms
from normlab.errors import InputError

LENGTHS = (5, 2, 3, 0)


def padded(fill: float = 1e6) -> tuple[Tensor, Tensor]:
    """Sequences of several lengths with numbers behind their ends, and the mask."""
    mask = torch.arange(5) < torch.tensor(LENGTHS)[:, None]
    x = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3 + 1
    return torch.where(mask[:, None], x, torch.full_like(x, fill)), mask


def valid(y: Tensor, mask: Tensor) -> Tensor:
    return y.movedim(1, -1)[mask]


@pytest.mark.parametrize("fill", [0.0, 1e6, float("nan")])
def test_batch_statistics_are_those_of_the_valid_positions(fill: float) -> None:
    x, mask = padded(fill)
    masked, plain = norms.MaskedBatchNorm(6).double().train(), nn.BatchNorm1d(6).double().train()
    rows = valid(x, mask)
    for _ in range(3):
        torch.testing.assert_close(valid(masked(x, mask), mask), plain(rows))
    torch.testing.assert_close(masked.state_dict(), plain.state_dict())
    torch.testing.assert_close(valid(masked.eval()(x, mask), mask), plain.eval()(rows))
    torch.testing.assert_close(norms.MaskedBatchNorm(6).double()(x[:1]), nn.BatchNorm1d(6).double()(x[:1]))


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("fill", [0.0, 1e6])
def test_each_sequence_is_normalized_as_if_it_ended_there(fill: float, groups: int) -> None:
    x, mask = padded(fill)
    masked, plain = norms.MaskedGroupNorm(groups, 6).double(), nn.GroupNorm(groups, 6).double()
    y = masked(x, mask)
    assert torch.isfinite(y).all(), "also where no position is valid"
    for number, length in enumerate(LENGTHS[:3]):
        torch.testing.assert_close(y[number, :, :length], plain(x[number : number + 1, :, :length])[0])
    torch.testing.assert_close(masked(x[:1]), plain(x[:1]))


@pytest.mark.parametrize("make", [lambda: norms.MaskedBatchNorm(6), lambda: norms.MaskedGroupNorm(2, 6)])
def test_no_gradient_of_a_valid_output_reaches_the_padding(make) -> None:
    x, mask = padded(0.5)
    leaf, layer = x.requires_grad_(), make().double().train()
    y = torch.where(mask[:, None], layer(leaf, mask), 0.0)
    (gradient,) = torch.autograd.grad((y * torch.arange(y.numel()).view(y.shape).cos()).sum(), leaf)
    assert torch.equal(gradient.movedim(1, -1)[~mask], torch.zeros(10, 6, dtype=torch.float64))
    assert float(valid(gradient, mask).abs().max()) > 0.1
    buffers = {name: buffer.clone() for name, buffer in layer.named_buffers()}

    def apply(inputs: Tensor) -> Tensor:
        fresh = {name: buffer.clone() for name, buffer in buffers.items()}
        return valid(torch.func.functional_call(layer, fresh, (inputs, mask)), mask)

    assert torch.autograd.gradcheck(apply, leaf)


def test_precise_statistics_are_those_of_the_valid_positions_too() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = norms.MaskedBatchNorm(6).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(x, mask=x[:, 0] < 1e5)

    model, (x, mask) = Reader(), padded()
    norms.reestimate(model, [x])
    torch.testing.assert_close(model.norm.running_mean, valid(x, mask).mean(0))
    torch.testing.assert_close(model.norm.running_var, valid(x, mask).var(0, correction=0))


def test_a_mask_that_does_not_fit_is_refused() -> None:
    x, mask = padded()
    for layer in (norms.MaskedBatchNorm(6).double(), norms.MaskedGroupNorm(2, 6).double()):
        for wrong in (mask[:, :4], mask.double(), mask[0]):
            with pytest.raises(InputError, match=r"mask must be booleans of shape \(4, 5\)"):
                layer(x, wrong)
        with pytest.raises(InputError, match="must be sequences, N,C,L"):
            layer(x[..., None])
    with pytest.raises(InputError, match="more than one valid position"):
        norms.MaskedBatchNorm(6).double()(
            x, torch.zeros_like(mask).index_fill(0, torch.tensor(0), 1) & (mask.cumsum(1) == 1)
        )
    with pytest.raises(InputError, match="groups must divide"):
        norms.MaskedGroupNorm(4, 6)


@pytest.mark.parametrize("mask", [None, torch.zeros(4, 5, dtype=torch.bool)])
def test_where_no_position_is_valid_statistics_stay_and_gradients_are_zeros(mask: Tensor | None) -> None:
    layer = norms.MaskedBatchNorm(6).double().train()
    x = padded()[0] if mask is not None else torch.zeros(0, 6, 5, dtype=torch.float64)
    y = layer(x, mask)
    (y if mask is None else torch.where(mask[:, None], y, 0.0)).sum().backward()
    assert torch.equal(layer.running_mean, torch.zeros(6, dtype=torch.float64))
    assert torch.equal(layer.weight.grad, torch.zeros(6, dtype=torch.float64))
