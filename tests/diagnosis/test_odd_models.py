"""What is said of odd models and odd inputs is true; what may be meant is no error, and healthy ones are let be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import normlab
from diagnosis.cases.layers import NarrowRMSNorm
from diagnosis.cases.training import (
    FrozenBatchNorm,
    broken,
    convolutional,
    images,
    overflowing,
    trained,
)
from normlab.diagnosis.run import doctor


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_what_torch_adds_where_eps_is_none_is_what_is_said(dtype: torch.dtype) -> None:
    """Half types get float32's since version 2.7 (pytorch#142848), before they had their own."""
    model = nn.Sequential(nn.Hardtanh(-1e-3, 1e-3), nn.RMSNorm(8)).to(dtype)
    x = torch.randn(4, 8, dtype=dtype, generator=torch.Generator().manual_seed(0))
    (finding,) = doctor(model, x, select="NL107").findings
    small = model[0](x)
    written_out = small * (small.float().square().mean(-1, keepdim=True) + finding.figures["eps"]).rsqrt()
    torch.testing.assert_close(model(x), written_out.to(dtype), rtol=2e-2, atol=1e-2)
    other = nn.functional.rms_norm(small, (8,), eps=1e-6)
    moved = float((other - model(x)).detach().norm() / model(x).detach().norm())
    assert finding.figures["moved"] == pytest.approx(moved, rel=0.05)
    assert moved > 0.2, "another eps, another output of the same weights"


def test_a_norm_is_not_blamed_for_infinite_inputs() -> None:
    arguments = {**overflowing(1e4), "batch_size": 4, "grad_accumulation": 2}
    diagnosis = doctor(**arguments)
    assert [(finding.code, finding.where) for finding in diagnosis.findings] == [("NL305", "1")]
    assert not diagnosis.crashed


def test_squares_that_overflow_are_an_error_where_the_inputs_make_them() -> None:
    model = nn.Sequential(NarrowRMSNorm(8, False)).half()
    found = [doctor(model, scale * torch.ones(2, 8).half(), select="NL107").worst for scale in (1.0, 1000.0)]
    assert found == ["warning", "error"]
    assert not model(1000 * torch.ones(2, 8).half()).any(), "all is lost"


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "AdamW": lambda values: torch.optim.AdamW(values, lr=1e-3, weight_decay=0.1),
    "Adam": lambda values: torch.optim.Adam(values, lr=1e-3, weight_decay=1e-5),  # decay that moments make large
    "SGD": lambda values: torch.optim.SGD(values, lr=1e-2, weight_decay=1e-3, momentum=0.9),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_is_what_the_optimizer_makes_of_it(name: str) -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8))
    optimizer = OPTIMIZERS[name](list(model.parameters()))
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
    before = [value.clone() for value in model.parameters()]
    (finding,) = doctor(model, "4,8", optimizer=optimizer, select="NL306").findings
    assert not optimizer.state
    assert all(torch.equal(value, old) for value, old in zip(model.parameters(), before, strict=True))
    for _ in range(1000):
        model[1].weight.grad = torch.zeros(8)
        optimizer.step()
    assert finding.figures["shrinks"] == pytest.approx(1 - model[1].weight[0].item(), abs=1e-6)
    assert finding.figures["shrinks"] > 0.05


class Branch(nn.Module):
    """A branch with two norms that begin at 0: of one alone a gradient moves, then of the other too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.linear, self.last = nn.LayerNorm(8), nn.Linear(8, 8), nn.LayerNorm(8)
        nn.init.zeros_(self.first.weight)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.last(self.linear(self.first(x)))  # type: ignore[no-any-return]


def test_a_gamma_that_wakes_once_another_has_moved_is_not_dead() -> None:
    model = Branch()
    x = torch.randn(16, 8)
    assert not doctor(model, x, select="NL108").findings
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        (model(x) - x.flip(1)).square().mean().backward()
        optimizer.step()
    assert model.first.weight.any()


class Expert(nn.Module):
    """One of two experts, the first for these inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8)) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.experts[int(x.isnan().any())](x)  # type: ignore[no-any-return]


def test_a_norm_of_another_expert_is_a_note() -> None:
    (finding,) = doctor(Expert(), "4,8").findings
    assert (finding.code, finding.severity, finding.where) == ("NL112", "note", "experts.1.1")
    assert "'experts.0.1' is called in its place" in finding.message


def test_small_gaps_under_accumulation_are_a_note() -> None:
    found = [doctor(convolutional(), images(size), grad_accumulation=2, select="NL302").worst for size in (4, 512)]
    assert found == ["warning", "note"]


def test_a_frozen_layer_that_divides_by_zero_is_an_error() -> None:
    layer = FrozenBatchNorm(4, eps=0.0)
    layer.running_var[0] = 0.0
    (finding,) = doctor(nn.Sequential(nn.Conv2d(3, 4, 3), layer), select="NL310").findings
    assert (finding.severity, finding.figures["channels"]) == ("error", 1)
    assert not layer(torch.randn(2, 4, 3, 3))[:, 0].isfinite().any()


def test_statistics_that_float16_rounds_to_its_largest_number_are_let_be() -> None:
    assert not doctor(**broken(65519.0), select="NL305").findings
    assert not broken(65519.0)["model"].half()[1].running_var.isinf().any()


def test_the_bias_before_a_norm_without_beta_does_nothing_else() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.InstanceNorm2d(6))
    (finding,) = doctor(model, "2,3,8,8", select="NL106").findings
    assert "beta" not in finding.mend


@pytest.mark.parametrize(("shape", "severity"), [("4,3,9,9", "warning"), ("4,3,20,9", "note")])
def test_a_norm_along_the_width_is_compared_with_one_over_the_channels(shape: str, severity: str) -> None:
    """The frequencies of a spectrogram, the last axis of a map that is no square, may be meant."""
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.LayerNorm(7))
    (finding,) = doctor(model, shape, select="NL103").findings
    assert finding.severity == severity
    assert finding.figures["apart"] > 0.5
    mended, _ = normlab.swap(model, "layer2d", where="1", example_inputs=(torch.randn(4, 3, 9, 9),))
    assert not doctor(mended, shape, select="NL103").findings


def test_rounding_of_large_constants_is_not_called_an_overflow() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8)).half()
    assert not doctor(model, torch.full((2, 3, 9, 9), 1000.0).half(), select="NL107").findings


class Detector(nn.Sequential):
    """A net whose norms stay in evaluation mode while it is trained."""

    def train(self, mode: bool = True) -> Detector:
        super().train(mode)
        for layer in self:
            layer.train(mode and not isinstance(layer, nn.BatchNorm2d))
        return self


def test_norms_that_the_model_keeps_in_evaluation_mode_need_no_large_batch() -> None:
    x = images() + 3 * torch.randn(16, 1, 1, 1, generator=torch.Generator().manual_seed(3))
    arguments: Any = {"inputs": x, "batch_size": 2, "grad_accumulation": 8, "ddp": True, "select": "NL2,NL3,NL403"}
    assert {finding.code for finding in doctor(convolutional(), **arguments).findings} >= {"NL206", "NL302", "NL403"}
    assert not doctor(Detector(*convolutional()), **arguments).findings


def test_an_optimizer_of_matrices_is_one_of_two() -> None:
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.RMSNorm(8))
    found = doctor(model, optimizer=torch.optim.SGD([model[0].weight], lr=0.1), select="NL307").findings
    assert [(finding.severity, finding.where) for finding in found] == [("note", "1")]


def test_a_state_of_what_learns_alone_and_one_without_a_new_head_are_notes() -> None:
    model = nn.Sequential(convolutional(), nn.Sequential(nn.Conv2d(16, 4, 1), nn.BatchNorm2d(4)))
    backbone = {name: value for name, value in model.state_dict().items() if name.startswith("0.")}
    found = doctor(model, checkpoint=backbone, select="NL310").findings
    assert [(finding.severity, finding.where) for finding in found] == [("note", "1.1")]
    model[0].requires_grad_(False)
    head = {name: value for name, value in model.state_dict().items() if name.startswith("1.")}
    found = doctor(model, checkpoint=head, select="NL310").findings
    assert [(finding.severity, finding.where) for finding in found] == [("note", "0.1"), ("note", "0.4")]


class Complex(nn.Module):
    """Real and imaginary parts with a norm each."""

    def __init__(self) -> None:
        super().__init__()
        self.real, self.imaginary = nn.BatchNorm1d(8), nn.BatchNorm1d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.complex(self.real(x.real), self.imaginary(x.imag))


def test_gaps_of_complex_outputs_are_measured() -> None:
    x = torch.randn(8, 8, dtype=torch.complex64)
    (finding,) = doctor(Complex(), x, grad_accumulation=2, select="NL302").findings
    model = Complex()
    together, alone = model(x)[:4], model(x[:4])
    assert finding.figures["gap"] == pytest.approx(((together - alone).norm() / alone.norm()).item(), rel=1e-4)


def test_a_mask_among_the_parameters_is_no_broken_weight() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8))
    model.register_parameter("mask", nn.Parameter(torch.full((4, 4), -torch.inf).triu(1), requires_grad=False))
    assert not doctor(model, select="NL305").findings
    with torch.no_grad():
        model[0].bias[0] = torch.inf
    assert doctor(model, select="NL305").worst == "error"


def test_layers_that_were_drawn_around_zero_are_not_surely_learned() -> None:
    model = convolutional()
    torch.manual_seed(0)
    for value in model.parameters():
        nn.init.uniform_(value, -0.1, 0.1)
    assert {finding.severity for finding in doctor(model, select="NL309").findings} == {"warning"}


def test_parameters_alone_break_a_new_model_and_age_a_trained_one() -> None:
    model = trained(100, images())
    parameters = {name: value.clone() for name, value in model.named_parameters()}
    assert doctor(model, checkpoint=parameters, select="NL409").worst == "warning"
    assert doctor(nn.Sequential(*convolutional()), checkpoint=parameters, select="NL409").worst == "error"


def test_infinite_gammas_are_told_once() -> None:
    model = trained(100, images())
    model[1].weight.data[0] = torch.inf
    assert [finding.code for finding in doctor(model, select="NL305,NL311").findings] == ["NL305"]


def test_the_share_of_a_batch_is_the_momentum_where_means_are_next_to_zero() -> None:
    model = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 8, bias=False), nn.BatchNorm1d(8, momentum=0.9))
    (finding,) = doctor(model, "64,8", select="NL110").findings
    assert finding.figures["measured"] == pytest.approx(0.9, rel=1e-6)


def test_one_sample_behind_a_convolution_is_no_batch_of_features() -> None:
    model = nn.Sequential(nn.Conv1d(4, 6, 3), nn.InstanceNorm1d(6))
    assert not doctor(model, torch.randn(4, 20), select="NL103").findings


class Joined(nn.Module):
    """Joins what came before, nothing at first, to what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8)

    def forward(self, before: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return self.norm(torch.cat([before, x]))  # type: ignore[no-any-return]


def test_an_empty_tensor_beside_another_is_an_input() -> None:
    assert not doctor(Joined(), (torch.zeros(0, 8), torch.randn(16, 8)), batch_size=16).crashed


def test_a_state_that_lacks_the_statistics_of_one_norm_is_an_error() -> None:
    model = trained(100, images())
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("1.running")}
    (finding,) = doctor(model, checkpoint=state, select="NL310").findings
    assert (finding.severity, finding.where) == ("error", "1")


def test_a_state_of_another_model_is_an_error() -> None:
    model = nn.Sequential(convolutional(), nn.Conv2d(16, 2, 1))
    other = {f"encoder.{name}.value": value for name, value in model.state_dict().items()}
    assert {finding.severity for finding in doctor(model, checkpoint=other, select="NL310").findings} == {"error"}
