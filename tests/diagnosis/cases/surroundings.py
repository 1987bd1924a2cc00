"""Planted and healthy cases of the rules about what surrounds the training, NL4."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from diagnosis.cases.pair import Arguments, Pair
from diagnosis.cases.training import convolutional, images, trained


class FeatureBatchNorm(nn.BatchNorm1d):
    """BatchNorm on N,L,C, with gamma, beta and eps where LayerNorm has them."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


def encoder(norm: Callable[[int], nn.Module], batch_first: bool = True) -> Arguments:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=batch_first)
    layer.norm1, layer.norm2 = norm(16), norm(16)  # type: ignore[assignment]
    return {"model": nn.Sequential(nn.Linear(4, 16), layer)}


def synchronized(**more: object) -> Arguments:
    return {"model": nn.SyncBatchNorm.convert_sync_batchnorm(convolutional()), "inputs": images(), **more}


class Siamese(nn.Module):
    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.one = convolutional()
        self.other = self.one if shared else convolutional()

    def forward(self, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        return self.one(one), self.other(other)


def siamese(shared: bool, mean: float) -> Callable[[], Arguments]:
    return lambda: {"model": Siamese(shared), "inputs": (images(), images(mean=mean, scale=2.0 if mean else 1.0))}


class Mirror(nn.Module):
    """A net whose two calls get the same samples, the second time in another order, and changed."""

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.one, self.scale, self.shift = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16)), scale, shift

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.one(x) - self.one(self.scale * x.flip(0) + self.shift))


def mirrored(samples: int, scale: float, shift: float) -> Callable[[], Arguments]:
    return lambda: {"model": Mirror(scale, shift), "inputs": f"{samples},8"}


def averaged(use_buffers: bool, inputs: Tensor) -> Arguments:
    source = trained(100, images())
    model = AveragedModel(source, use_buffers=use_buffers)
    for _ in range(3):
        model.update_parameters(source)
    return {"model": model, "inputs": inputs}


class Momentum(nn.Module):
    def __init__(self, norm: Callable[[int], nn.Module], copied: bool = True) -> None:
        super().__init__()
        self.query, self.key = convolutional(norm), convolutional(norm)
        self.key.requires_grad_(False)
        if copied:
            self.key.load_state_dict(self.query.state_dict())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.query(x), self.key(x)


def followed(*, buffers: bool) -> Arguments:
    model = Momentum(nn.BatchNorm2d)
    with torch.no_grad():
        model.query(images())
    if buffers:
        model.key.load_state_dict(model.query.state_dict())
    return {"model": model}


def aged(*, by: float) -> Arguments:
    """A teacher whose statistics are of earlier times, in which what came in had another mean."""
    model = Momentum(nn.BatchNorm2d)
    model.query = trained(100, images())
    model.key = deepcopy(model.query).requires_grad_(False)
    for layer in model.key:
        layer.momentum = 1.0
    with torch.no_grad():
        model.key.train()(images(mean=by))
    return {"model": model, "inputs": images()}


def hooked(*, in_place: bool) -> Arguments:
    model = convolutional()
    model[2] = nn.ReLU(inplace=in_place)
    model[1].register_full_backward_hook(lambda *_: None)
    return {"model": model, "inputs": images()}


def untracked() -> Arguments:
    return {"model": convolutional(lambda channels: nn.BatchNorm2d(channels, track_running_stats=False))}


def group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(4, channels)


PAIRS = (
    Pair("NL401", "rms-raises", lambda: encoder(nn.RMSNorm), lambda: encoder(nn.LayerNorm), "1", ("AttributeError",)),
    Pair(
        "NL401",
        "batch-norm-silently",
        lambda: encoder(FeatureBatchNorm),
        lambda: encoder(FeatureBatchNorm, batch_first=False),  # which has no fast path
        "1",
        ("computes LayerNorm in place of FeatureBatchNorm",),
    ),
    Pair(
        "NL402",
        "alone",
        synchronized,
        lambda: {"model": convolutional(), "inputs": images()},
        "1",
        ("1 process on cpu",),
    ),
    Pair("NL402", "on-the-cpu", lambda: synchronized(ddp=True), lambda: {"model": convolutional(), "ddp": True}, "1"),
    Pair(
        "NL403",
        "four-on-each-device",
        lambda: {"model": convolutional(), "inputs": images(4), "ddp": True},
        lambda: {"model": convolutional(group_norm), "inputs": images(4), "ddp": True},
        says=("own 4 samples",),
    ),
    Pair(
        "NL403",
        "two-passes",
        lambda: {"model": convolutional(), "inputs": images(4), "ddp": True, "batch_size": 64},
        lambda: {"model": convolutional(), "inputs": images(4)},
        says=("64 values", "RuntimeError"),
    ),
    Pair(
        "NL404",
        "untracked",
        untracked,
        lambda: {"model": convolutional(nn.InstanceNorm2d)},  # which needs none
        "1",
        ("a single sample raises ValueError",),
    ),
    Pair(
        "NL406",
        "bf16-shards",
        lambda: {"model": convolutional(), "fsdp": True, "amp": "bf16"},
        lambda: {"model": convolutional(group_norm), "fsdp": True, "amp": "bf16"},
        says=("of '1' ends 1.96% short", "2 layers in all", "RuntimeError"),
    ),
    Pair("NL407", "two-domains", siamese(True, 3.0), siamese(False, 3.0), "one.1", ("2 inputs",)),
    Pair("NL407", "many-samples", mirrored(32, 2, 1), mirrored(32, 1, 0), "one.1", ("are one mixture",)),
    Pair("NL407", "two-samples", mirrored(2, 2, 1), mirrored(2, 1, 0), "one.1", ("2 samples do not tell",)),
    Pair("NL407", "or-two-alike", siamese(True, 3.0), siamese(True, 0.0), "one.1"),
    Pair(
        "NL408",
        "averaged-model",
        lambda: averaged(False, images(mean=3.0)),
        lambda: averaged(True, images(mean=3.0)),
        says=("averages 3 sets",),
    ),
    Pair("NL408", "but-fits", lambda: averaged(False, images(mean=3.0)), lambda: averaged(False, images())),
    Pair(
        "NL408", "momentum-copy", lambda: followed(buffers=False), lambda: followed(buffers=True), "key", ("2 of its",)
    ),
    Pair("NL408", "of-earlier-times", lambda: aged(by=3.0), lambda: aged(by=0.0), "key", ("of other times",)),
    Pair(
        "NL410",
        "momentum-encoder",
        lambda: {"model": Momentum(nn.BatchNorm2d), "inputs": images()},
        lambda: {"model": Momentum(group_norm), "inputs": images()},
        "key",
    ),
    Pair("NL411", "relu-in-place", lambda: hooked(in_place=True), lambda: hooked(in_place=False), "1"),
)
