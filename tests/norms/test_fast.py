"""The written-out forms are the plain ones: values, first and second derivatives, and what else looks into them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from normlab import norms
from normlab.norms.modules import fast

Case = tuple[Callable[..., Tensor], Callable[..., Tensor], list[Tensor]]


def plain_dyt(x: Tensor, alpha: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return gamma * torch.tanh(alpha * x) + beta


def plain_rms(x: Tensor, gamma: Tensor) -> Tensor:
    return gamma * x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-6)


def written_rms(x: Tensor, gamma: Tensor) -> Tensor:
    return fast.rms(x, gamma, 1e-6)


def some(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def cases() -> dict[str, Case]:
    alpha = torch.tensor([0.7], dtype=torch.float64)
    return {
        "dyt rows": (fast.dyt, plain_dyt, [some(3, 5, 4), alpha, some(4), some(4)]),
        "dyt images": (fast.dyt, plain_dyt, [some(2, 3, 4, 5), alpha, some(3, 1, 1), some(3, 1, 1)]),
        "dyt channels last": (
            fast.dyt,
            plain_dyt,
            [some(2, 3, 4, 5).contiguous(memory_format=torch.channels_last), alpha, some(3, 1, 1), some(3, 1, 1)],
        ),
        "dyt sequences": (fast.dyt, plain_dyt, [some(2, 3, 4), alpha, some(3, 1), some(3, 1)]),
        "dyt strided": (fast.dyt, plain_dyt, [some(6, 4)[::2], alpha, some(4), some(4)]),
        "rms": (written_rms, plain_rms, [some(3, 5, 4), some(4)]),
        "rms of a vector": (written_rms, plain_rms, [some(7), some(7)]),
        "rms strided": (written_rms, plain_rms, [some(4, 6).t(), some(4)]),
    }


CASES = cases()
BY_TORCH = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch uses what it has deprecated


@pytest.fixture(autouse=True)
def whatever_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "FEWEST", 0)
    monkeypatch.setattr(fast, "FEWEST_FRESH", 0)


def gradients(function: Callable[..., Tensor], values: list[Tensor], dy: Tensor) -> tuple[Tensor, ...]:
    leaves = [value.detach().requires_grad_() for value in values]
    output = function(*leaves)
    return (output, *torch.autograd.grad(output, leaves, dy))


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_the_plain_form(name: str) -> None:
    written, plain, values = CASES[name]
    dy = torch.randn_like(plain(*values))
    assert "Backward" in type(written(*[value.detach().requires_grad_() for value in values]).grad_fn).__name__
    for found, truth in zip(gradients(written, values, dy), gradients(plain, values, dy), strict=True):
        torch.testing.assert_close(found, truth, rtol=1e-12, atol=1e-13)
        assert found.stride() == truth.stride() or found.numel() == 1


@pytest.mark.parametrize("name", CASES)
def test_first_and_second_derivatives_are_right(name: str) -> None:
    written, _, values = CASES[name]
    leaves = [value.detach().clone().requires_grad_() for value in values]
    assert torch.autograd.gradcheck(written, leaves)
    assert torch.autograd.gradgradcheck(written, leaves)


def test_the_written_out_form_is_used_where_it_pays_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def used(x: Tensor, gamma: Tensor) -> bool:
        return "RootMeanSquare" in type(fast.rms(x.requires_grad_(), gamma, None).grad_fn).__name__

    assert used(torch.randn(4, 8), torch.ones(8))
    assert not used(torch.randn(4, 8, dtype=torch.bfloat16), torch.ones(8, dtype=torch.bfloat16))
    with torch.autocast("cpu"):
        assert not used(torch.randn(4, 8), torch.ones(8))
    monkeypatch.setattr(fast, "FEWEST", 33)
    assert not used(torch.randn(4, 8), torch.ones(8))


@BY_TORCH
@pytest.mark.parametrize("name", ["dyt rows", "rms"])
def test_torch_func_and_forward_mode_see_through_it(name: str) -> None:
    written, plain, values = CASES[name]
    stacked = [torch.stack([value, 2 * value]) for value in values]
    torch.testing.assert_close(torch.vmap(written)(*stacked), torch.vmap(plain)(*stacked))

    def loss(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *inputs: function(*inputs).sin().sum()

    for transform in (torch.func.grad, torch.func.hessian):
        torch.testing.assert_close(transform(loss(written))(*values), transform(loss(plain))(*values))
    directions = tuple(torch.ones_like(value) for value in values)
    with torch.autograd.forward_ad.dual_level():
        duals = [torch.autograd.forward_ad.make_dual(*pair) for pair in zip(values, directions, strict=True)]
        tangent = torch.autograd.forward_ad.unpack_dual(written(*duals)).tangent
    torch.testing.assert_close(tangent, torch.func.jvp(plain, tuple(values), directions)[1])


def test_what_is_not_finite_stays_so() -> None:
    x = torch.tensor([[float("nan"), float("inf"), -float("inf"), 1.0]])
    assert torch.isnan(fast.quick_tanh(x)[0, 0])
    torch.testing.assert_close(fast.quick_tanh(x), torch.tanh(x), equal_nan=True)
    out = fast.dyt(x, torch.ones(1), torch.ones(4), torch.zeros(4))
    torch.testing.assert_close(out, torch.tanh(x), equal_nan=True)


def test_the_quick_tanh_is_off_by_at_most_four_units_in_the_last_place() -> None:
    v = torch.cat([torch.linspace(-12, 12, 200_001), torch.logspace(-30, 1, 20_001), torch.zeros(1)])
    truth = torch.tanh(v.double())
    error = (fast.quick_tanh(v).double() - truth).abs()
    assert bool((error <= 4 * 2.0**-23 * truth.abs()).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("eps", [None, 0.3])
def test_rms_takes_torch_s_eps(eps: float | None, dtype: torch.dtype) -> None:
    x = 1e-3 * torch.randn(4, 6, dtype=dtype).requires_grad_()
    ours, theirs = norms.RMSNorm(6, eps=eps, dtype=dtype), nn.RMSNorm(6, eps=eps, dtype=dtype)
    assert "RootMeanSquare" in type(ours(x).grad_fn).__name__
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    dy = torch.randn_like(x)
    gradients = (torch.autograd.grad(layer(x), x, dy)[0] for layer in (ours, theirs))
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-2)  # the gradient is around 1,000


def test_rms_over_several_axes_or_other_sizes_is_left_to_torch() -> None:
    x = torch.randn(5, 3, 4)
    for affine in (False, True):
        options = {"elementwise_affine": affine}
        torch.testing.assert_close(norms.RMSNorm((3, 4), **options)(x), nn.RMSNorm((3, 4), **options)(x))
        with pytest.raises(RuntimeError, match="normalized_shape"):
            norms.RMSNorm(1, **options)(x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_over_channels_half_types_have_the_eps_of_float32(dtype: torch.dtype) -> None:
    x = (0.01 * torch.randn(4, 6, 5)).to(dtype)
    theirs = nn.RMSNorm(6, dtype=dtype)(x.movedim(1, -1)).movedim(-1, 1)
    torch.testing.assert_close(norms.ChannelRMSNorm(6).to(dtype)(x), theirs)
    assert theirs.detach().float().square().mean().item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("shape", [(8, 5), (3, 16, 5)])
def test_the_backward_pass_written_row_by_row_is_the_plain_one(shape: tuple[int, ...]) -> None:
    x, dy = (torch.randn(shape, dtype=torch.float64) for _ in range(2))
    alpha, gamma, beta = (torch.rand(size, dtype=torch.float64).requires_grad_() for size in (1, 5, 5))
    truth = torch.autograd.grad(plain_dyt(x.requires_grad_(), alpha, gamma, beta), (x, alpha, gamma, beta), dy)
    found = fast._dyt_backward_by_rows(dy, x.detach(), alpha.detach(), gamma.detach())
    for a, b in zip(found, truth, strict=True):
        torch.testing.assert_close(a, b)


@BY_TORCH
@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("shape", ["rows", "uneven rows", "images"])
def test_compiled_it_is_the_plain_form(shape: str, dynamic: bool) -> None:
    class Squash(nn.Module):
        def __init__(self, channels: int, trailing: int) -> None:
            super().__init__()
            self.alpha = nn.Parameter(torch.full((1,), 0.7))
            self.weight = nn.Parameter(torch.rand(channels, *[1] * trailing))
            self.bias = nn.Parameter(torch.rand(channels, *[1] * trailing))

        def forward(self, x: Tensor) -> Tensor:
            return fast.dyt(x, self.alpha, self.weight, self.bias)

    sizes = {"rows": (64, 24), "uneven rows": (63, 24), "images": (4, 6, 5, 7)}[shape]
    layer = Squash(sizes[1], len(sizes) - 2)
    x, dy = torch.randn(sizes).requires_grad_(), torch.randn(sizes)
    wanted = [x, *layer.parameters()]
    compiled = torch.compile(layer, fullgraph=True, dynamic=dynamic)
    truth = plain_dyt(x, layer.alpha, layer.weight, layer.bias)
    found = compiled(x)
    torch.testing.assert_close(found, truth, rtol=2e-6, atol=1e-6)
    for a, b in zip(torch.autograd.grad(found, wanted, dy), torch.autograd.grad(truth, wanted, dy), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-5)


@BY_TORCH
@pytest.mark.slow
def test_compiled_rms_is_torch_s() -> None:
    gamma = torch.rand(24).requires_grad_()
    x, dy = torch.randn(4, 16, 24).requires_grad_(), torch.randn(4, 16, 24)
    found = torch.compile(fast.rms, fullgraph=True)(x, gamma, 1e-6)
    truth = nn.functional.rms_norm(x, (24,), gamma, 1e-6)
    torch.testing.assert_close(found, truth)
    pairs = zip(*(torch.autograd.grad(output, [x, gamma], dy) for output in (found, truth)), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-5)
