"""The failures in plain PyTorch, and that what the doctor says to do about them helps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import normlab
from diagnosis.cases.layers import NarrowRMSNorm
from diagnosis.cases.pair import Arguments
from diagnosis.cases.surroundings import (
    FeatureBatchNorm,
    Momentum,
    averaged,
    encoder,
    hooked,
    siamese,
    synchronized,
    untracked,
)
from diagnosis.cases.training import (
    Checkpointed,
    FrozenBatchNorm,
    broken,
    checkpointed,
    convolutional,
    images,
    overflowing,
    partly_frozen,
    reset,
    swapped_behind_the_optimizer,
    trained,
)
from normlab.diagnosis.result import Diagnosis
from normlab.diagnosis.rules.precision import CHANGE, stops_short
from normlab.diagnosis.run import doctor


def recalibrated(model: nn.Module) -> tuple[nn.Module, Any]:
    return normlab.recalibrate(model, [images(mean=3.0)])


def grouped(model: nn.Module) -> tuple[nn.Module, Any]:
    return normlab.swap(model, "group:groups=4")


def one_step(model: nn.Module) -> None:
    model.train()(images()).square().mean().backward()


def momentum_in(diagnosis: Diagnosis) -> float:
    return float(diagnosis.findings[0].mend.split("momentum to ")[1].split(",")[0])


@pytest.mark.parametrize("reentrant", [True, False])
def test_the_momentum_that_is_said_makes_a_checkpointed_layer_follow_as_another(reentrant: bool) -> None:
    models = [Checkpointed(reentrant, around) for around in (True, False)]
    models[0].load_state_dict(models[1].state_dict())
    said = momentum_in(doctor(models[0], images(), select="NL303"))
    one_step(models[0])
    one_step(models[1])
    assert models[0].block[0].num_batches_tracked == 2
    assert not torch.allclose(models[0].block[0].running_var, models[1].block[0].running_var, rtol=1e-3)

    mended = Checkpointed(reentrant, around=True)
    mended.load_state_dict({**models[1].state_dict(), **dict(mended.named_buffers())})
    mended.block[0].momentum = said
    one_step(mended)
    torch.testing.assert_close(mended.block[0].running_var, models[1].block[0].running_var, rtol=1e-4, atol=1e-5)


def test_the_drift_of_a_frozen_layer_is_that_of_a_forward_pass() -> None:
    model = partly_frozen(keeps=False)["model"]
    assert isinstance(model, nn.Sequential)
    said = next(f for f in doctor(model, images(), select="NL304").findings if f.where == "0.1").figures["moved"]
    layer = model[0][1]
    before = torch.cat([layer.running_mean, layer.running_var]).clone()
    model(images())
    after = torch.cat([layer.running_mean, layer.running_var])
    assert said == pytest.approx(float((after - before).norm() / before.norm()), rel=1e-4)


def test_without_the_fast_path_nothing_is_wrong() -> None:
    arguments = encoder(FeatureBatchNorm)
    enabled = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        assert not doctor(**arguments, select="NL401").findings
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def test_the_fast_path_changes_what_evaluation_without_gradients_gives() -> None:
    layer = encoder(FeatureBatchNorm)["model"][1].eval()
    value = torch.randn(2, 4, 16)
    with torch.no_grad():
        fast = layer(value)
    assert not torch.allclose(layer(value), fast, atol=0.1)


def test_a_step_with_a_hooked_norm_raises_in_place_alone() -> None:
    with pytest.raises(RuntimeError, match="modified inplace"):
        one_step(hooked(in_place=True)["model"])
    one_step(hooked(in_place=False)["model"])


def test_an_optimizer_from_before_leaves_a_swapped_norm_as_it_is() -> None:
    for again in (False, True):
        arguments = swapped_behind_the_optimizer(again=again)
        model, optimizer = arguments["model"], arguments["optimizer"]
        one_step(model)
        optimizer.step()
        assert bool((model[1].weight == 1).all()) is not again


@pytest.mark.parametrize(
    ("dtype", "short"), [(torch.float32, 0.0), (torch.float64, 0.0), (torch.bfloat16, CHANGE / 1.02)]
)
def test_an_average_in_16_bits_stops_where_an_update_is_less_than_half_a_unit(dtype: torch.dtype, short: float) -> None:
    assert stops_short(torch.ones(4), dtype, 0.1) == pytest.approx(short, abs=1e-5)


def test_with_a_loader_a_lag_is_a_warning() -> None:
    loader = [(images(mean=3.0), torch.zeros(16))]
    found = doctor(trained(100, images()), loader=loader, select="NL301").findings
    assert [finding.severity for finding in found] == ["warning"]


def test_a_new_model_in_training_is_not_said_to_lag() -> None:
    model = trained(100, images())
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
    assert not doctor(model, images(mean=3.0), select="NL301").findings


MENDED: tuple[tuple[str, Callable[[], Arguments], Callable[[nn.Module], tuple[nn.Module, Any]]], ...] = (
    ("NL301", lambda: {"model": trained(100, images()), "inputs": images(mean=3.0)}, recalibrated),
    ("NL302", lambda: {"model": convolutional(), "grad_accumulation": 8}, grouped),
    ("NL303", checkpointed(reentrant=False), grouped),
    ("NL304", lambda: partly_frozen(keeps=False), normlab.freeze),
    ("NL305", lambda: broken(float("nan")), recalibrated),
    ("NL309", lambda: reset(learns=True), recalibrated),
    ("NL401", lambda: encoder(nn.LayerNorm), lambda model: normlab.swap(model, "rms")),
    ("NL402", synchronized, normlab.from_sync),
    ("NL403", lambda: {"model": convolutional(), "inputs": images(4), "ddp": True}, grouped),
    ("NL404", untracked, grouped),
    ("NL406", lambda: {"model": convolutional(), "fsdp": True, "amp": "bf16"}, grouped),
    ("NL407", siamese(shared=True, mean=3.0), grouped),
    ("NL410", lambda: {"model": Momentum(nn.BatchNorm2d), "inputs": images()}, grouped),
)


@pytest.mark.parametrize(("code", "planted", "mend"), MENDED, ids=[code for code, *_ in MENDED])
def test_after_the_call_that_is_said_nothing_is_found(
    code: str, planted: Callable[[], Arguments], mend: Callable[[nn.Module], tuple[nn.Module, Any]]
) -> None:
    arguments = planted()
    mended, _ = mend(arguments["model"])
    found = doctor(**{**arguments, "model": mended, "select": code})
    assert not found.crashed
    assert not found.findings


def test_a_model_without_numbers_is_looked_at_as_far_as_it_goes() -> None:
    with torch.device("meta"):
        model = convolutional()
    diagnosis = doctor(model, select="NL3,NL4", optimizer=torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1))
    assert not diagnosis.crashed
    assert {finding.code for finding in diagnosis.findings} == {"NL306"}


def test_what_is_frozen_on_purpose_is_not_called_half_frozen() -> None:
    model, _ = normlab.freeze(convolutional())
    assert not doctor(model.train(), images(), select="NL304,NL308").findings


def test_the_momentum_that_is_said_ends_what_is_found() -> None:
    model = Checkpointed(reentrant=False, around=True)
    model.block[0].momentum = momentum_in(doctor(model, images(), select="NL303"))
    assert not doctor(model, images(), select="NL303").findings


@pytest.mark.parametrize("code", ["NL201", "NL203"])
def test_the_groups_that_are_said_leave_enough_to_each(code: str) -> None:
    model = nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    size = 1 if code == "NL201" else 2
    (finding,) = doctor(model, "16,8", batch_size=size).of(code)
    mended, _ = eval(finding.mend, {"normlab": normlab, "model": model})
    assert doctor(mended, "16,8", batch_size=size).worst is None


@pytest.mark.parametrize("size", [2, 5])
def test_the_running_variance_of_few_values_is_larger_by_what_is_said(size: int) -> None:
    model = nn.Sequential(nn.BatchNorm1d(6, momentum=1.0))
    (finding,) = doctor(model, f"{size},6", batch_size=size, select="NL203").findings
    value = torch.randn(size, 6)
    model(value)
    running = model[0].running_var
    torch.testing.assert_close(running, finding.figures["unbiased"] * value.var(0, correction=0))


def test_a_norm_that_setattr_put_beside_the_layer_is_found_and_taken_out() -> None:
    model = nn.Sequential()
    model.add_module("block", nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8)))
    owner = nn.Sequential(model)
    model._modules["block.1"] = norm = nn.RMSNorm(8)
    model.forward = lambda x: model.block(x)  # type: ignore[method-assign, assignment, operator]
    (finding,) = doctor(owner, "4,8", select="NL112").findings
    assert "'block.1'" in finding.message
    assert norm in set(model.modules())
    eval(finding.mend.split(", ", 1)[1].split(", and")[0], {"owner": model, "delattr": delattr})
    assert not doctor(owner, "4,8").findings


class OfFour(nn.Module):
    """Takes four samples, neither more nor less."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x.reshape(4, 4))


def test_a_model_that_does_not_take_half_a_batch_is_told_without_that_figure() -> None:
    diagnosis = doctor(OfFour(), torch.randn(4, 4), grad_accumulation=4, select="NL302")
    assert not diagnosis.crashed
    assert "gap" not in diagnosis.findings[0].figures


def test_a_momentum_encoder_is_not_called_a_frozen_layer_that_drifts() -> None:
    model = Momentum(nn.BatchNorm2d).train()
    assert not doctor(model, images(), select="NL304").findings


def test_an_averaged_model_without_inputs_is_only_noted() -> None:
    found = doctor(averaged(use_buffers=False, inputs=images())["model"], select="NL408").findings
    assert [finding.severity for finding in found] == ["note"]


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
