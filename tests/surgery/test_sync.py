"""BatchNorm <-> SyncBatchNorm: nothing is lost on the way, and shards together are the whole batch."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import normlab
from normlab import norms
from normlab.norms import AnyBatchNorm
from normlab.recognition.find import found_norms


class Super(nn.BatchNorm2d):
    """A norm with an activation, on torch's own forward pass."""

    def forward(self, input: Tensor) -> Tensor:
        return torch.relu(super().forward(input))


class Copied(nn.BatchNorm2d):
    """A norm with children behind it, on a forward pass of its own, as timm writes it."""

    def __init__(self, channels: int, **how: object) -> None:
        super().__init__(channels, **how)  # type: ignore[arg-type]
        self.drop, self.act = nn.Dropout(0.3), nn.ReLU(inplace=True)

    def forward(self, input: Tensor) -> Tensor:
        if self.training:
            self.num_batches_tracked.add_(1)
        state = self.running_mean, self.running_var, self.weight, self.bias, self.training
        return self.act(self.drop(nn.functional.batch_norm(input, *state, self.momentum, self.eps)))


class Sealed(Copied):
    """The same with something behind it that is no child."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * 2.0


class Branched(nn.BatchNorm2d):
    """Torch's forward pass called by its name, past whatever stands in between."""

    def forward(self, input: Tensor) -> Tensor:
        return torch.sigmoid(nn.modules.batchnorm._BatchNorm.forward(self, input))


def layers() -> list[nn.Module]:
    return [
        nn.BatchNorm2d(4, momentum=None),
        nn.BatchNorm2d(4, eps=1e-3, affine=False),
        nn.BatchNorm2d(4, track_running_stats=False),
        Super(4),
        Copied(4),
    ]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), *layers()).train()
    for _ in range(3):
        model(images())
    model[1].eval()
    model[1].weight.requires_grad_(False)
    model[2].qconfig = "a configuration"
    model.append(model[1])
    return model


def images() -> Tensor:
    return torch.randn(6, 3, 5, 5, generator=torch.Generator().manual_seed(1)) * 2 + 1


def same(first: nn.Module, second: nn.Module) -> None:
    """Both compute the same and move the same way, in the mode in which they are."""
    outputs = []
    for model in (first, second):
        torch.manual_seed(5)
        outputs.append(model(images()))
    torch.testing.assert_close(*outputs, rtol=0, atol=0)
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("copied", [True, False])
def test_everything_of_a_layer_is_carried(copied: bool) -> None:
    model = network()
    before = copy.deepcopy(model)
    synced, report = normlab.to_sync(model, copy=copied)
    assert report.layers == ("1", "2", "3", "4", "5")
    assert report.changes[0].also == ("6",)
    assert (synced is model) != copied
    assert all(isinstance(layer, nn.SyncBatchNorm) for layer in synced[1:])
    assert synced[1] is synced[6]
    assert [layer.training for layer in synced.modules()] == [layer.training for layer in before.modules()]
    assert (synced[1].momentum, synced[2].eps, synced[2].qconfig) == (None, 1e-3, "a configuration")
    learned = [(name, value.requires_grad) for name, value in synced.named_parameters()]
    assert learned == [(name, value.requires_grad) for name, value in before.named_parameters()]
    if not copied:
        assert synced[1].weight is model[1].weight
    same(copy.deepcopy(synced).eval(), copy.deepcopy(before).eval())
    same(synced, before)
    assert "no input on the CPU" in report.notes[0]


@pytest.mark.parametrize("copied", [True, False])
def test_the_way_back_is_the_exact_inverse(copied: bool) -> None:
    model = network()
    before = copy.deepcopy(model)
    back, report = normlab.from_sync(normlab.to_sync(model, copy=copied)[0], copy=copied)
    assert report.layers == ("1", "2", "3", "4", "5")
    assert [type(layer) for layer in back.modules()] == [type(layer) for layer in before.modules()]
    assert [sorted(vars(layer)) for layer in back.modules()] == [sorted(vars(layer)) for layer in before.modules()]
    same(back, before)


def test_what_torchs_conversion_loses_is_kept() -> None:
    """What plain PyTorch does, as the reason for another conversion, and what is kept here."""
    calls: list[float] = []

    def model() -> nn.ModuleDict:
        made = nn.ModuleDict({"first": Super(3), "second": nn.BatchNorm2d(3)})
        made["again"] = made["second"]
        made["second"].register_forward_hook(lambda layer, arguments, output: calls.append(1.0))
        made["second"].note = "mine"
        return made

    theirs = nn.SyncBatchNorm.convert_sync_batchnorm(model())
    ours, _ = normlab.to_sync(model())
    for converted, kept in ((theirs, False), (ours, True)):
        calls.clear()
        converted["second"](images())
        assert (float(converted["first"](images()).detach().min()) >= 0.0) == kept
        assert (len(calls), getattr(converted["second"], "note", "")) == ((1, "mine") if kept else (0, ""))
        assert (converted["again"] is converted["second"]) == kept


def test_a_hook_can_still_be_removed() -> None:
    model, calls = nn.Sequential(nn.BatchNorm2d(3)), []
    handle = model[0].register_forward_pre_hook(lambda layer, arguments: calls.append(type(layer).__name__))
    synced, _ = normlab.to_sync(model, copy=False)
    synced(images())
    handle.remove()
    synced(images())
    assert calls == ["SyncBatchNorm"]


def test_the_proof_of_a_subclass_calls_no_hook_and_draws_no_number() -> None:
    model, calls = nn.Sequential(Copied(3)), []
    for part in model.modules():
        part.register_forward_hook(lambda layer, arguments, output: calls.append(layer))
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    synced, _ = normlab.to_sync(model)
    assert isinstance(synced[0], Copied)
    assert not calls
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


@pytest.mark.usefixtures("process_group")
def test_the_proof_of_a_subclass_asks_no_other_process() -> None:
    _, report = normlab.to_sync(nn.Sequential(Super(4), Copied(4), Branched(4)))
    assert report.layers == ("0", "1")


@pytest.mark.parametrize("kind", [Sealed, Branched])
def test_a_subclass_that_cannot_be_proven_is_left(kind: Callable[[int], nn.Module]) -> None:
    model, report = normlab.to_sync(nn.Sequential(kind(4), nn.BatchNorm2d(4)))
    assert report.layers == ("1",)
    assert "no synchronized form can be proven" in report.reason("0")
    assert type(model[0]) is kind


def test_other_layers_are_named() -> None:
    model = nn.Sequential(norms.GhostBatchNorm2d(4, 2), nn.SyncBatchNorm(4), nn.GroupNorm(2, 4))
    _, report = normlab.to_sync(model)
    assert report.layers == ()
    assert [left.reason for left in report.left] == ["torch has no synchronized form of it", "synchronized already"]
    frozen, _ = normlab.freeze(nn.Sequential(nn.BatchNorm2d(4)))
    assert normlab.to_sync(frozen)[1].layers == ()


def test_synchronized_subclasses_are_copied_and_stored_whole() -> None:
    model, _ = normlab.to_sync(network())
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert [type(layer) for layer in again] == [type(layer) for layer in model]
        same(again, copy.deepcopy(model))
        assert [type(layer) for layer in normlab.from_sync(again)[0][1:6]] == [type(layer) for layer in layers()]


@pytest.mark.parametrize("space", [(), (5,), (5, 5), (2, 3, 4)], ids=str)
def test_a_batch_norm_of_any_number_of_axes_is_torchs(space: tuple[int, ...]) -> None:
    kind = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[len(space)]
    first, second = kind(4), normlab.from_sync(nn.SyncBatchNorm(4))[0]
    assert type(second) is AnyBatchNorm
    x = torch.randn(6, 4, *space)
    for _ in range(2):
        torch.testing.assert_close(first(x), second(x), rtol=0, atol=0)
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)
    with pytest.raises(ValueError, match="at least 2 axes"):
        second(torch.zeros(4))


def test_example_inputs_tell_the_number_of_axes() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.SyncBatchNorm(4), nn.Flatten(2), nn.SyncBatchNorm(4))
    before = copy.deepcopy(model.state_dict())
    local, report = normlab.from_sync(model, images())
    assert [change.now for change in report.changes] == ["BatchNorm2d", "BatchNorm1d"]
    torch.testing.assert_close(local.state_dict(), before, rtol=0, atol=0)
    same(local, model)


def test_a_layer_that_gets_input_of_several_kinds_takes_any() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.SyncBatchNorm(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.norm(x).flatten(2))

    local, report = normlab.from_sync(Twice(), images())
    assert report.changes[0].now == "AnyBatchNorm"
    assert [(one.kind, one.running) for one in found_norms(local)] == [("batch", ("running_mean", "running_var"))]
    same(local, Twice())


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("sizes", [(3, 3), (1, 2, 5), (4, 4, 4, 4)], ids=str)
def test_statistics_of_shards_together_are_those_of_the_whole_batch(
    sizes: tuple[int, ...], momentum: float | None
) -> None:
    """What SyncBatchNorm computes: each process its moments, all of them combined, each its share by the result."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(3, momentum=momentum)).double()
    synced, _ = normlab.to_sync(model)
    whole = torch.randn(sum(sizes), 3, 4, 4, dtype=torch.float64) * 3 + 7
    moments = norms.Moments(0, torch.zeros(3).double(), torch.zeros(3).double())
    for shard in whole.split(sizes):
        moments = moments.combined(norms.Moments.of(shard, (0, 2, 3)))
    outputs = []
    for shard in whole.split(sizes):
        process = copy.deepcopy(synced).eval()
        norms.running.store(process[0], moments)
        outputs.append(process(shard))
    torch.testing.assert_close(torch.cat(outputs), model.train()(whole), rtol=1e-12, atol=1e-12)
    unbiased = moments.variance * moments.count / (moments.count - 1)
    weight = 1.0 if momentum is None else momentum
    torch.testing.assert_close(model[0].running_var, 1 + weight * (unbiased - 1), rtol=1e-12, atol=1e-12)
    by_shard = torch.cat([copy.deepcopy(model).train()(shard) for shard in whole.split(sizes)])
    assert not torch.allclose(by_shard, torch.cat(outputs)), "without synchronization it is another result"


def test_frozen_layers_stay_and_are_named() -> None:
    model, _ = normlab.freeze(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    synced, report = normlab.to_sync(model)
    assert report.reason("1") == "it is frozen"
    assert isinstance(synced[1], norms.FrozenNorm)


def test_example_inputs_may_be_shapes_as_everywhere() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.SyncBatchNorm(4))
    assert type(normlab.from_sync(model, "2,3,5,5")[0][1]) is nn.BatchNorm2d
