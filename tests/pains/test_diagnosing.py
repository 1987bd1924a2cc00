"""Pains of training with norms: each test shows the failure in plain PyTorch, and that the doctor or a watch names it.

The trackers where each was reported are named in the tests.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

import normlab
from normlab import InputError


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def codes(model: nn.Module, inputs: Any = (), **training: Any) -> set[str]:
    return {finding.code for finding in normlab.doctor(model, inputs, **training).findings}


def perceptron(norm: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), norm, nn.ReLU(), nn.Linear(8, 3))


def images(norm: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), norm, nn.ReLU())


def test_a_batch_of_one_raises() -> None:
    """pytorch#4534."""
    model = perceptron(nn.BatchNorm1d(8))
    with pytest.raises(ValueError, match="more than 1 value"):
        model(drawn(1, 6))
    assert "NL201" in codes(model, drawn(4, 6), batch_size=1)
    assert "NL201" not in codes(perceptron(nn.LayerNorm(8)), drawn(4, 6), batch_size=1)


def test_the_last_partial_batch_of_one() -> None:
    """fastai PR#1095, vamb PR#425."""
    model = perceptron(nn.BatchNorm1d(8))
    data = TensorDataset(drawn(9, 6), torch.zeros(9))
    loader = DataLoader(data, 4, shuffle=True)
    with pytest.raises(ValueError, match="more than 1 value"):
        list(map(model, (inputs for inputs, _ in loader)))
    assert "NL202" in codes(model, drawn(4, 6), loader=loader)
    assert len(DataLoader(data, 16, drop_last=True)) == 0, "and without it nothing is left"
    assert "NL202" in codes(model, drawn(4, 6), loader=DataLoader(data, 16, drop_last=True, shuffle=True))
    assert "NL202" not in codes(model, drawn(4, 6), loader=DataLoader(data, 3, shuffle=True))


def test_a_batch_of_two_keeps_signs_alone() -> None:
    """The article's shape, N,C: whatever the numbers, +-1 come out."""
    assert torch.allclose(nn.BatchNorm1d(8)(drawn(2, 8)).abs(), torch.ones(2, 8), atol=0.1)
    assert "NL203" in codes(perceptron(nn.BatchNorm1d(8)), drawn(4, 6), batch_size=2)


def test_statistics_of_few_elements() -> None:
    """LayerNorm(1) and GroupNorm on one position give beta; two elements give +-1."""
    assert nn.LayerNorm(1)(drawn(4, 1)).eq(0).all()
    assert "NL101" in codes(nn.Sequential(nn.Linear(6, 1), nn.LayerNorm(1)), drawn(4, 6))
    assert torch.allclose(nn.GroupNorm(4, 8)(drawn(4, 8)).abs(), torch.ones(4, 8), atol=0.2)
    assert "NL102" in codes(perceptron(nn.GroupNorm(4, 8)), drawn(4, 6))


def test_training_and_evaluation_differ() -> None:
    """pytorch#4741, pytorch#5406."""
    model = perceptron(nn.BatchNorm1d(8, momentum=0.01))
    inputs = 5 + 3 * drawn(32, 6)
    for _ in range(20):
        training = model(inputs)
    gap = (model.eval()(inputs) - training).norm() / training.norm()
    assert gap > 0.3
    assert "NL301" in codes(model, inputs)


def test_gradient_accumulation_is_no_large_batch() -> None:
    """pytorch#46516."""
    model, inputs = perceptron(nn.BatchNorm1d(8)).double(), drawn(16, 6).double()
    model(inputs).square().mean().backward()
    whole = model[0].weight.grad.clone()
    model.zero_grad()
    for part in inputs.split(4):
        (model(part).square().mean() / 4).backward()
    assert not torch.allclose(model[0].weight.grad, whole, rtol=0.1)
    assert "NL302" in codes(perceptron(nn.BatchNorm1d(8)), drawn(4, 6), batch_size=4, grad_accumulation=8)
    assert "NL302" not in codes(perceptron(nn.LayerNorm(8)), drawn(4, 6), batch_size=4, grad_accumulation=8)


class Recomputed(nn.Module):
    """Activation checkpointing around a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = perceptron(nn.BatchNorm1d(8))

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.inner, x, use_reentrant=False)


def test_activation_checkpointing_updates_twice() -> None:
    """pytorch#96136, YOLO-Master#262, Samudra#572."""
    model = Recomputed()
    model(drawn(4, 6)).sum().backward()
    assert model.inner[1].num_batches_tracked == 2, "after one batch"
    model = Recomputed()
    assert "NL303" in codes(model, drawn(4, 6))
    assert model.inner[1].num_batches_tracked == 0, "the model is as it was"
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with normlab.watch(model, optimizer, on_finding=lambda _: None) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            model(drawn(4, 6)).sum().backward()
            optimizer.step()
    assert "NL303" in {finding.code for finding in watch.findings}


def test_frozen_norms_drift_after_train() -> None:
    """lightning PR#15063, ultralytics PR#8753."""
    model = images(nn.BatchNorm2d(8))
    model[1].eval().requires_grad_(False)
    model.train()
    before = model[1].running_mean.clone()
    model(drawn(4, 3, 8, 8))
    assert not torch.equal(model[1].running_mean, before)
    assert "NL304" in codes(model, drawn(4, 3, 8, 8))
    frozen, _ = normlab.freeze(model)
    before = frozen[1].running_mean.clone()
    frozen.train()(drawn(4, 3, 8, 8))
    assert torch.equal(frozen[1].running_mean, before)


def test_statistics_beyond_half_precision_and_not_finite() -> None:
    """pytorch#88474, pytorch#115500, pytorch#90342, coreai-torch#54."""
    model = images(nn.BatchNorm2d(8)).eval()
    model[1].running_var[0] = 1e6
    assert copy.deepcopy(model).half()[1].running_var[0].isinf()
    assert "NL305" in codes(model, drawn(4, 3, 8, 8))
    model[1].running_var[0] = torch.nan
    assert model(drawn(4, 3, 8, 8)).isnan().any()
    assert "NL305" in codes(model, drawn(4, 3, 8, 8))
    healed, _ = normlab.recalibrate(model.train(), [drawn(16, 3, 8, 8)])
    assert healed.eval()(drawn(4, 3, 8, 8)).isfinite().all()


def test_sequences_with_features_last() -> None:
    """pytorch#70529: BatchNorm1d takes the second axis of three as channels."""
    wrong = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(5))
    assert wrong(drawn(4, 5, 6)).shape == (4, 5, 8), "it runs: the five steps are taken as channels"
    assert "NL103" in codes(wrong, drawn(4, 5, 6))
    assert "NL103" not in codes(nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8)), drawn(4, 5, 6))


def test_channels_last_is_lost() -> None:
    """pytorch#111824."""
    inputs = drawn(2, 8, 6, 6).to(memory_format=torch.channels_last)
    lost = not nn.InstanceNorm2d(8)(inputs).is_contiguous(memory_format=torch.channels_last)
    model = nn.Sequential(nn.Conv2d(8, 8, 1), nn.InstanceNorm2d(8)).to(memory_format=torch.channels_last)
    assert ("NL104" in codes(model, inputs)) == lost
    assert lost


def test_synchronized_norm_on_one_device_is_none() -> None:
    """pytorch#37930."""
    synchronized, plain = nn.SyncBatchNorm(8), nn.BatchNorm2d(8)
    assert torch.equal(synchronized(drawn(4, 8, 5, 5)), plain(drawn(4, 8, 5, 5)))
    assert "NL402" in codes(images(nn.SyncBatchNorm(8)), drawn(4, 3, 8, 8))


def test_replicas_and_buffers() -> None:
    """pytorch#13711, pytorch#22095: statistics of one replica's part of the batch alone."""
    whole, part = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
    inputs = drawn(8, 8, 3, 3)
    whole(inputs)
    part(inputs[:2])
    assert not torch.allclose(whole.running_mean, part.running_mean, rtol=0.1)
    assert "NL403" in codes(images(nn.BatchNorm2d(8)), drawn(4, 3, 8, 8), ddp=True, batch_size=2)


def test_the_encoder_passes_over_a_norm_that_was_put_in() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    assert "NL401" not in codes(layer, drawn(2, 5, 8))
    layer.norm2 = nn.RMSNorm(8, eps=1e-5)
    with torch.no_grad(), pytest.raises(AttributeError):
        layer.eval()(drawn(2, 5, 8))
    assert "NL401" in codes(layer.train(), drawn(2, 5, 8))


def test_vmap_and_running_statistics() -> None:
    """functorch#867, functorch#384: the engine that trains replicas together carries their statistics itself."""
    with pytest.raises(RuntimeError, match="in place"):
        torch.func.vmap(perceptron(nn.BatchNorm1d(8)))(drawn(2, 4, 6))
    study = {"norms": ["batch"], "seeds": 2, "training.epochs": 1}
    losses = [
        normlab.run("digits", changes=study, engine=engine).metrics()["test_loss_deployed"].to_list()
        for engine in ("sequential", "stacked")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_copies_keep_stale_statistics() -> None:
    """composer#624, ignite#2590: the average of weights has the statistics of the last weights."""
    model, inputs = perceptron(nn.BatchNorm1d(8, momentum=1.0)), 3 + drawn(64, 6)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    for _ in range(2):
        model(inputs)
        averaged.update_parameters(model)
        model[0].weight.data *= 3
    arrives = averaged.module[0](inputs).mean(0)
    assert not torch.allclose(arrives, averaged.module[1].running_mean, rtol=0.2)
    assert "NL408" in codes(averaged, inputs)


def test_averaged_clients_without_buffers() -> None:
    """PFLlib#260."""
    model = perceptron(nn.BatchNorm1d(8))
    parameters = dict(model.named_parameters())
    assert "1.running_mean" not in parameters
    assert "NL409" in codes(model, drawn(4, 6), checkpoint=parameters)


def test_weight_decay_on_gamma_and_beta() -> None:
    model = perceptron(nn.BatchNorm1d(8))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, weight_decay=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = model[1].weight.detach().clone()
    optimizer.step()
    assert torch.allclose(model[1].weight, 0.95 * before), "with no gradient at all"
    assert "NL306" in codes(perceptron(nn.BatchNorm1d(8)), drawn(4, 6), optimizer=_decayed)


def _decayed(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 0.1, weight_decay=0.5)


def test_one_norm_for_two_branches() -> None:
    """keras#8794."""

    class Siamese(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(6)

        def forward(self, one: Tensor, other: Tensor) -> Tensor:
            return self.norm(one) - self.norm(other)

    model = Siamese()
    model(drawn(64, 6), 10 + 5 * drawn(64, 6, seed=1))
    assert model.norm.num_batches_tracked == 2
    gap = model.norm.eval()(drawn(64, 6)).mean().abs()
    assert gap > 0.5, "neither branch is centred in evaluation"
    assert "NL407" in codes(Siamese(), (drawn(64, 6), 10 + 5 * drawn(64, 6, seed=1)))


def test_conventions_of_other_libraries() -> None:
    """examples#289: momentum is the weight of the new statistic here; pytorch#58843; RMSNorm's default eps."""
    layer = nn.BatchNorm1d(8, momentum=0.99)
    layer(100 + drawn(16, 8))
    assert layer.running_mean.min() > 90, "all but the last batch is forgotten"
    assert "NL110" in codes(perceptron(nn.BatchNorm1d(8, momentum=0.99)), drawn(4, 6))
    tracking = nn.InstanceNorm2d(8, track_running_stats=True).eval()
    assert not torch.allclose(tracking(5 + drawn(2, 8, 4, 4)).mean(), torch.zeros(()), atol=1), "as BatchNorm"
    assert "NL109" in codes(images(nn.InstanceNorm2d(8, track_running_stats=True)), drawn(4, 3, 8, 8))
    assert nn.RMSNorm(8).eps is None


def test_a_bias_before_batch_norm_is_wasted() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8))
    before = model(drawn(16, 6))
    model[0].bias.data += 7
    assert torch.allclose(model(drawn(16, 6)), before, atol=1e-4)
    assert "NL106" in codes(model, drawn(16, 6))
    assert "NL106" not in codes(nn.Sequential(nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8)), drawn(16, 6))


def test_pretrained_buffers_that_loading_reset() -> None:
    """transformers#43520."""
    model = perceptron(nn.BatchNorm1d(8))
    for parameter in model.parameters():
        parameter.data += 0.1 * drawn(*parameter.shape)
    assert (model[1].running_mean.eq(0).all(), model[1].running_var.eq(1).all()) == (True, True)
    assert "NL309" in codes(model.eval(), drawn(4, 6))


def test_statistics_are_none_at_export() -> None:
    """pytorch#75252, onnxscript#1791."""
    untracked = perceptron(nn.BatchNorm1d(8, track_running_stats=False))
    assert untracked[1].running_mean is None
    with pytest.raises(ValueError, match="more than 1 value"):
        untracked.eval()(drawn(1, 6))
    assert "NL404" in codes(untracked, drawn(4, 6))


def test_batch_norm_under_sharding_in_half_precision() -> None:
    """torchtitan#674."""
    assert nn.BatchNorm1d(8).to(torch.bfloat16).running_mean.dtype is torch.bfloat16
    assert "NL406" in codes(images(nn.BatchNorm2d(8)), drawn(4, 3, 8, 8), fsdp=True, amp="bf16")


def test_a_norm_that_is_never_called() -> None:
    """A "LayerNorm LSTM" whose norm does nothing."""

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.norm = nn.LSTM(6, 8, batch_first=True), nn.LayerNorm(8)

        def forward(self, x: Tensor) -> Tensor:
            return self.lstm(x)[0]

    model = Named()
    before = model(drawn(2, 5, 6))
    model.norm.weight.data.mul_(100)
    assert torch.equal(model(drawn(2, 5, 6)), before)
    assert "NL112" in codes(Named(), drawn(2, 5, 6))


def test_healthy_models_pass_in_a_test_of_ones_own() -> None:
    normlab.assert_healthy(images(nn.GroupNorm(2, 8)), drawn(4, 3, 8, 8), batch_size=2)
    with pytest.raises(AssertionError, match="NL201"):
        normlab.assert_healthy(perceptron(nn.BatchNorm1d(8)), drawn(4, 6), batch_size=1)


def test_runs_are_paired_by_row_in_place_of_seed() -> None:
    """asi#24, autorank#3, lm-evaluation-harness#3831."""
    losses = {seed: 1.0 + 0.1 * seed for seed in range(12)}
    rows = [{"norm": "a", "seed": seed, "loss": loss} for seed, loss in losses.items()]
    rows += [{"norm": "b", "seed": seed, "loss": 1.01 * losses[seed]} for seed in reversed(losses)]
    by_row = [one["loss"] - other["loss"] for one, other in zip(rows[:12], rows[12:], strict=True)]
    assert min(by_row) < 0 < max(by_row), "by row nothing is seen"
    judged = normlab.judge(rows, arm="norm", seed="seed", metrics="loss:lower")
    (item,) = judged.comparisons
    assert item.better == "a"


def test_wrong_input_is_one_message() -> None:
    with pytest.raises(InputError):
        normlab.doctor("nowhere:nothing")
