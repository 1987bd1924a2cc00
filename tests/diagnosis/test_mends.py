"""The failures in plain PyTorch, and that what the doctor says to do about them helps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import normlab
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
    broken,
    checkpointed,
    convolutional,
    images,
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
