"""Watch, doctor, swap and synchronization in several processes, on the CPU."""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

import normlab
from normlab.watching.watch import Watch
from watching.loops import batch, codes, ignore, net

PROCESSES = 2

pytestmark = pytest.mark.slow


def in_each(work: Callable[[int], None], folder: Path) -> None:
    """Runs a function of the rank in each process; its errors are raised here."""
    torch.multiprocessing.spawn(_begin, (work, str(folder / "meeting")), nprocs=PROCESSES)  # type: ignore[no-untyped-call]


def _begin(rank: int, work: Callable[[int], None], meeting: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=PROCESSES)
    faulthandler.enable()  # a signal shows where it struck
    work(rank)
    torch.distributed.destroy_process_group()
    # The mesh of `fully_shard` keeps the group, and its threads, past this. One that lets go of a tensor while
    # the interpreter ends is unwound by Python, which C++ answers with SIGABRT; so the interpreter does not end here.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def wrapped() -> nn.Module:
    return DistributedDataParallel(net())


def sharded(model: nn.Module | None = None, **policy: MixedPrecisionPolicy) -> nn.Module:
    model = model or net()
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=torch.distributed.init_device_mesh("cpu", (PROCESSES,)), **policy)
    fully_shard(model, mesh=torch.distributed.init_device_mesh("cpu", (PROCESSES,)), **policy)
    return model


def flattened() -> nn.Module:
    """Its parameters are parts of one, without memory of their own between passes."""
    return FullyShardedDataParallel(net(), device_id=torch.device("cpu"))


def train(model: nn.Module, rank: int, *, watched: bool = True, fails: int | None = None) -> Watch | None:
    """Twenty steps; the gradients of one may be infinite, and it is left out."""
    optimizer = torch.optim.SGD(model.parameters(), 0.02)
    w = normlab.watch(model, optimizer, every=2, on_finding=ignore, strict=True) if watched else None
    with w or torch.enable_grad():
        for step in range(20):
            x, y = batch(100 * rank + step)
            optimizer.zero_grad()
            (model(x).sub(y).square().mean() * (float("inf") if step == fails else 1)).backward()
            if step != fails:
                optimizer.step()
    return w


def _watched(rank: int) -> None:
    states = []
    for watched in (True, False):
        model = wrapped()
        train(model, rank, watched=watched)
        states.append(torch.cat([value.flatten().double() for value in model.state_dict().values()]))
    assert torch.equal(*states), "the training is the same to the last bit"
    for make in (wrapped, sharded, flattened):
        w = train(make(), rank)
        assert w is not None
        assert not w.findings
        assert not w.notes
        assert all(list(samples)[-1].gap is not None for samples in w.history.values()), make
    train(sharded(), rank, watched=rank == 0)  # no other process is waited for
    for make in (wrapped, sharded):
        w = train(make(), rank, fails=7)
        assert w is not None
        assert codes(w) == {"NL504"}
    w = train(DistributedDataParallel(_frozen()), rank)
    assert w is not None
    assert codes(w) == {"NL304"}


def _frozen() -> nn.Module:
    model = net()
    model[1].requires_grad_(False)
    return model


def test_a_watch_sees_the_same_in_wrapped_and_sharded_models(tmp_path: Path) -> None:
    in_each(_watched, tmp_path)


def _examined(rank: int) -> None:
    wrong = net()
    variance = wrong[1].running_var
    assert isinstance(variance, torch.Tensor)
    variance[3] = float("inf")
    shards = sharded(wrong)
    found = normlab.doctor(shards, "16,8", select="NL1,NL3")
    assert not found.crashed
    assert [finding.where for finding in found.of("NL305")] == ["1"]
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16)
    narrow = normlab.doctor(sharded(mp_policy=policy), "16,8", fsdp=True, amp="bf16")
    assert [(finding.where, finding.severity) for finding in narrow.of("NL406")] == [("1", "error")]
    with pytest.raises(normlab.errors.InputError, match="before it is wrapped"):
        normlab.doctor(flattened(), "16,8")

    model = wrapped()
    if rank == 0:  # no other process is waited for
        assert "NL403" in normlab.doctor(model, "4,8").codes
    with pytest.raises(normlab.errors.InputError, match="wrap what comes back"):
        normlab.swap(model, "group")
    swapped, _ = normlab.swap(model.module, "group:groups=4")
    train(DistributedDataParallel(swapped), rank)
    values = torch.cat([value.detach().flatten() for value in swapped.parameters()])
    theirs = values.clone()
    torch.distributed.broadcast(theirs, 0)
    assert torch.equal(values, theirs)

    together, report = normlab.to_sync(net())
    assert report.notes
    with pytest.raises(ValueError, match="GPU"):
        together(batch(0)[0])
    with pytest.raises(ValueError, match="GPU"):
        DistributedDataParallel(together)
    alone, _ = normlab.from_sync(together)
    DistributedDataParallel(alone)(batch(0)[0])


def test_the_doctor_and_swaps_in_wrapped_and_sharded_models(tmp_path: Path) -> None:
    in_each(_examined, tmp_path)
