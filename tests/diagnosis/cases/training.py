"""Planted and healthy cases of the rules about the training setup, NL3."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from diagnosis.cases.pair import Arguments, Pair

ARRIVED = 100


def convolutional(norm: Callable[[int], nn.Module] = nn.BatchNorm2d, channels: int = 16) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, channels, 3), norm(channels), nn.ReLU(), nn.Conv2d(channels, channels, 3), norm(channels)
    )


def images(samples: int = 16, mean: float = 0.0, scale: float = 1.0) -> Tensor:
    return mean + scale * torch.randn(samples, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def learned(model: nn.Module) -> nn.Module:
    """Gammas and betas as after training."""
    draw = torch.Generator().manual_seed(2)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.data = 1 + 0.3 * torch.randn(layer.num_features, generator=draw)
            layer.bias.data = 0.3 * torch.randn(layer.num_features, generator=draw)
    return model


def trained(passes: int, batch: Tensor, norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> nn.Module:
    """A model after passes of a batch in training mode, with dropout that must not count.

    After a hundred passes averages have arrived at what they follow: one pass with momentum 1 does the same.
    """
    model = nn.Sequential(*learned(convolutional(norm)), nn.Dropout(0.5))
    layers = [layer for layer in model if isinstance(layer, nn.BatchNorm2d)]
    arrives = passes >= ARRIVED
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 1.0 if arrives else layer.momentum
    with torch.no_grad():
        for _ in range(1 if arrives else passes):
            model(batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.num_batches_tracked.fill_(passes)
    return model.eval()


def partly_frozen(*, keeps: bool) -> Arguments:
    """A backbone whose parameters do not learn, and a head that does."""

    class Backbone(nn.Sequential):
        def train(self, mode: bool = True) -> Backbone:
            return super().train(mode and not keeps)

    model = nn.Sequential(Backbone(*convolutional()).requires_grad_(False), nn.Conv2d(16, 2, 1))
    return {"model": model.train(), "inputs": images()}


def evaluating_layer(*, evaluating: bool) -> Arguments:
    model = convolutional().train()
    model[1].train(not evaluating)
    return {"model": model, "inputs": images(), "select": "NL304"}


class Chain(nn.Module):
    """Two equal blocks, of which the first may be frozen."""

    def __init__(self, frozen: bool) -> None:
        super().__init__()
        self.one, self.other = convolutional(channels=3), convolutional(channels=3)
        self.one.requires_grad_(not frozen)

    def forward(self, x: Tensor) -> Tensor:
        return self.other(self.one(x))  # type: ignore[no-any-return]


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool, around: bool) -> None:
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, 16, 1), convolutional()[1:3]
        self.reentrant, self.around = reentrant, around

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return checkpoint(self.block, x, use_reentrant=self.reentrant) if self.around else self.block(x)  # type: ignore[no-any-return]


def checkpointed(reentrant: bool, around: bool = True) -> Callable[[], Arguments]:
    return lambda: {"model": Checkpointed(reentrant, around), "inputs": images()}


def half_frozen(*, of_statistics: bool, all_of_it: bool) -> Arguments:
    model = convolutional().train()
    if of_statistics:
        model[1].eval()
    if of_statistics and all_of_it:
        model[1].requires_grad_(False)
    if not of_statistics and not all_of_it:
        model[1].weight.requires_grad_(False)
    return {"model": model}


class WideLayerNorm(nn.LayerNorm):
    """As autocast makes LayerNorm on a GPU: float32 comes out."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).float()


def broken(value: float) -> Arguments:
    model = convolutional()
    model[1].running_var[3] = value
    return {"model": model}


def broken_before(value: float) -> Arguments:
    model = convolutional()
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] = value
    return {"model": model}


def overflowing(scale: float) -> Arguments:
    """A linear layer in float16, whose sums are beyond its largest number where the inputs are large."""
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8)).half()
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    return {"model": model, "inputs": torch.full((2, 8), scale, dtype=torch.float16)}


def optimizer_of(*, decayed: bool) -> Arguments:
    model = convolutional()
    one_axis = [value for value in model.parameters() if value.dim() < 2]
    others = [value for value in model.parameters() if value.dim() > 1]
    groups = [{"params": one_axis, "weight_decay": 0.1 if decayed else 0.0}, {"params": others}]
    return {"model": model, "optimizer": torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.1)}


def swapped_behind_the_optimizer(*, again: bool) -> Arguments:
    model = convolutional()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model[1] = nn.GroupNorm(4, 16)
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1) if again else optimizer}


def without_norms(*, of_all: bool) -> Arguments:
    model = convolutional()
    values = [value for name, value in model.named_parameters() if of_all or not name.startswith("1.")]
    return {"model": model, "optimizer": torch.optim.SGD(values, lr=0.1)}


def reset(*, learns: bool, resets: bool = True) -> Arguments:
    model = trained(100, images())
    if not learns:
        model = convolutional()
    for layer in model.modules():
        if resets and isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
    return {"model": model}


def cumulative(count: int) -> Arguments:
    model = trained(3, images(), lambda channels: nn.BatchNorm2d(channels, momentum=None))
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.num_batches_tracked.fill_(count)
    return {"model": model}


def saved(change: Callable[[str], str | None]) -> Arguments:
    """A model with its own state, names changed or left out."""
    model = trained(100, images())
    state = {change(name): value for name, value in model.state_dict().items()}
    return {"model": model, "checkpoint": {name: value for name, value in state.items() if name}}


class FrozenBatchNorm(nn.Module):
    """As in many detectors."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1e-4)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return x * scale[:, None, None] + (self.bias - self.running_mean * scale)[:, None, None]


def with_eps(eps: float) -> Arguments:
    return {"model": nn.Sequential(nn.Conv2d(3, 16, 3), FrozenBatchNorm(16, eps))}


def with_gammas(value: float) -> Arguments:
    model = learned(convolutional())
    model[1].weight.data[:3] = value
    return {"model": model}


PAIRS = (
    Pair(
        "NL301",
        "few-batches",
        lambda: {"model": trained(3, images(mean=2.0, scale=3.0)), "inputs": images(mean=2.0, scale=3.0)},
        lambda: {"model": trained(100, images(mean=2.0, scale=3.0)), "inputs": images(mean=2.0, scale=3.0)},
        says=("of their initial values",),
    ),
    Pair(
        "NL301",
        "other-data",
        lambda: {"model": trained(100, images()), "inputs": images(mean=3.0)},
        lambda: {"model": convolutional(), "inputs": images(mean=3.0)},  # a new model: nothing is stored yet
    ),
    Pair(
        "NL302",
        "eight-small-batches",
        lambda: {"model": convolutional(), "inputs": images(8), "grad_accumulation": 8},
        lambda: {"model": convolutional(lambda channels: nn.GroupNorm(4, channels)), "grad_accumulation": 8},
        says=("0.1 acts as 0.57", "2 layers", "4 of the given samples"),
    ),
    Pair(
        "NL303",
        "reentrant",
        checkpointed(True),
        checkpointed(True, around=False),
        "block.1",
        ("0.1 acts as 0.19", "once again"),
    ),
    Pair("NL303", "not-reentrant", checkpointed(False), checkpointed(False, around=False), "block.1"),
    Pair(
        "NL304",
        "parameters-alone",
        lambda: partly_frozen(keeps=False),
        lambda: partly_frozen(keeps=True),
        "0.1",
        ("do not learn",),
    ),
    Pair(
        "NL304",
        "mode-alone",
        lambda: evaluating_layer(evaluating=True),
        lambda: evaluating_layer(evaluating=False),
        "1",
        ("evaluation mode",),
    ),
    Pair(
        "NL304",
        "one-of-equal-blocks",
        lambda: {"model": Chain(frozen=True), "inputs": "8,3,12,12"},
        lambda: {"model": Chain(frozen=False), "inputs": "8,3,12,12"},
        "one.1",
    ),
    Pair(
        "NL305",
        "in-the-checkpoint",
        lambda: {"model": convolutional(), "checkpoint": broken(1e5)["model"].state_dict()},
        lambda: {"model": convolutional(), "checkpoint": convolutional().state_dict()},
        "1",
        ("`running_var` in the checkpoint",),
    ),
    Pair("NL305", "nan", lambda: broken(float("nan")), lambda: broken(2.0), "1", ("1 of 16", "not finite")),
    Pair("NL305", "nan-before", lambda: broken_before(float("nan")), lambda: broken_before(2.0), "0", ("1 of 432",)),
    Pair("NL305", "overflow-before", lambda: overflowing(1e4), lambda: overflowing(1.0), "1", ("come into it",)),
    Pair("NL305", "beyond-half", lambda: broken(1e5), lambda: broken(65000.0), "1", ("65504", "1e+05")),
    Pair(
        "NL305",
        "buffers-in-bf16",
        lambda: {"model": convolutional().bfloat16()},
        lambda: {"model": convolutional(lambda channels: nn.GroupNorm(4, channels)).bfloat16()},
        "1",
        ("bfloat16",),
    ),
    Pair(
        "NL305",
        "float32-under-autocast",
        lambda: {"model": nn.Sequential(nn.Linear(8, 8), WideLayerNorm(8)), "inputs": torch.randn(4, 8), "amp": "bf16"},
        lambda: {"model": nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8)), "inputs": torch.randn(4, 8), "amp": "bf16"},
        says=("1 of 1 calls", "float32"),
    ),
    Pair(
        "NL306",
        "all-parameters",
        lambda: optimizer_of(decayed=True),
        lambda: optimizer_of(decayed=False),
        says=("2 gammas", "0.905 of 1"),
    ),
    Pair(
        "NL307",
        "made-before-the-swap",
        lambda: swapped_behind_the_optimizer(again=False),
        lambda: swapped_behind_the_optimizer(again=True),
        "1",
        ("no longer the model's",),
    ),
    Pair("NL307", "left-out", lambda: without_norms(of_all=False), lambda: without_norms(of_all=True), "1"),
    Pair(
        "NL308",
        "statistics-alone",
        lambda: half_frozen(of_statistics=True, all_of_it=False),
        lambda: half_frozen(of_statistics=True, all_of_it=True),
        "1",
        ("32 values",),
    ),
    Pair(
        "NL308",
        "gamma-alone",
        lambda: half_frozen(of_statistics=False, all_of_it=False),
        lambda: half_frozen(of_statistics=False, all_of_it=True),
        "1",
        ("beta learns and gamma does not",),
    ),
    Pair("NL309", "reset", lambda: reset(learns=True), lambda: reset(learns=False), "1", ("16 channels",)),
    Pair("NL309", "kept", lambda: reset(learns=True), lambda: reset(learns=True, resets=False), "1"),
    Pair("NL309", "count-of-0", lambda: cumulative(0), lambda: cumulative(3), "1", ("momentum is None",)),
    Pair(
        "NL310",
        "prefix",
        lambda: saved(lambda name: f"module.{name}"),
        lambda: saved(lambda name: name),
        says=("'module.'",),
    ),
    Pair(
        "NL310",
        "one-layer-missing",
        lambda: saved(lambda name: None if name.startswith("1.") else name),
        lambda: saved(lambda name: name),
        "1",
        ("`running_mean`",),
    ),
    Pair("NL310", "eps-0", lambda: with_eps(0.0), lambda: with_eps(1e-5), "1", ("16 of 16",)),
    Pair("NL311", "dead", lambda: with_gammas(1e-6), lambda: with_gammas(0.5), "1", ("3 of 16 channels are dead",)),
    Pair("NL311", "extreme", lambda: with_gammas(1e3), lambda: with_gammas(2.0), "1", ("3 of 16 gammas",)),
    Pair(
        "NL409",
        "parameters-alone",
        lambda: saved(lambda name: name if name.endswith(("weight", "bias")) else None),
        lambda: saved(lambda name: name),
        says=("64 values",),
    ),
)
