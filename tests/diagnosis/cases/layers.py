"""Planted and healthy cases of the rules about layers, NL1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from diagnosis.cases.pair import Arguments, Pair


def behind(*layers: nn.Module, inputs: Any = "6,8", **more: Any) -> Callable[[], Arguments]:
    """A model of these layers; what is drawn comes from the same seed each time."""

    def make() -> Arguments:
        torch.manual_seed(0)
        for layer in nn.Sequential(*layers).modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
        return {"model": nn.Sequential(*layers), "inputs": inputs, **more}

    return make


class Called(nn.Module):
    """A layer between two, whose norm is called or not."""

    def __init__(self, calls: bool) -> None:
        super().__init__()
        self.linear, self.norm, self.calls = nn.Linear(8, 8), nn.LayerNorm(8), calls

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        return self.norm(x) if self.calls else x


class ByFunction(Called):
    """A norm whose parameters are used without a call of the layer."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(self.linear(x), (8,), self.norm.weight, self.norm.bias)


class ByForward(Called):
    """A norm without numbers and one with statistics alone, of which hooks see nothing."""

    def __init__(self, calls: bool) -> None:
        super().__init__(calls)
        self.norm = nn.LayerNorm(8, elementwise_affine=False)
        self.second = nn.BatchNorm1d(8, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm.forward(self.linear(x))
        return self.second.forward(x) if self.calls else x


class LayerNormLSTM(nn.Module):
    """A recurrent layer that is normalized in name only, or in truth."""

    def __init__(self, normalized: bool) -> None:
        super().__init__()
        self.cell, self.normalized = nn.LSTMCell(8, 8), normalized

    def forward(self, x: Tensor) -> Tensor:
        hidden = cell = x.new_zeros(x.shape[0], 8)
        for step in x.unbind(1):
            step = nn.functional.layer_norm(step, (8,)) if self.normalized else step
            hidden, cell = self.cell(step, (hidden, cell))
        return hidden


class HalfNorm(nn.Module):
    """A layer called a norm that passes half of its input on, or that normalizes it."""

    def __init__(self, normalizes: bool) -> None:
        super().__init__()
        self.normalizes = normalizes

    def forward(self, x: Tensor) -> Tensor:
        return x / x.norm(dim=-1, keepdim=True).clamp_min(1e-6) if self.normalizes else 0.5 * x


class NarrowRMSNorm(nn.Module):
    """RMSNorm that squares in the type of its input, or in float32."""

    def __init__(self, features: int, wide: bool) -> None:
        super().__init__()
        self.weight, self.wide, self.eps = nn.Parameter(torch.ones(features)), wide, 1e-6

    def forward(self, x: Tensor) -> Tensor:
        values = x.float() if self.wide and x.dtype is torch.float16 else x
        scaled = values * torch.rsqrt(values.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * scaled.to(x.dtype)


class Residual(nn.Module):
    """A branch whose last gamma begins at 0, with a shortcut around it."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.BatchNorm1d(8))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


def headed() -> nn.Linear:
    """A last layer that begins at 0."""
    head = nn.Linear(8, 2)
    nn.init.zeros_(head.weight)
    return head


class FrozenBatchNorm2d(nn.Module):
    """As torchvision writes it: gamma and beta are buffers."""

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.register_buffer("weight", torch.full((6,), gamma))
        for name, value in (("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((6,), value))
        self.eps = 1e-5

    def forward(self, x: Tensor) -> Tensor:
        factors, shift = self.weight * (self.running_var + self.eps).rsqrt(), self.bias
        return x * factors[:, None, None] + (shift - self.running_mean * factors)[:, None, None]


def frozen(gamma: float) -> Callable[[], Arguments]:
    return behind(nn.Conv2d(3, 6, 3), FrozenBatchNorm2d(gamma), inputs=SPACE)


def zeroed(model: nn.Module, name: str) -> Callable[[], Arguments]:
    nn.init.zeros_(model.get_parameter(f"{name}.weight"))
    return lambda: {"model": model, "inputs": "6,8"}


def channels_last(norm: nn.Module) -> Callable[[], Arguments]:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), norm).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs = torch.randn(2, 3, 9, 9).contiguous(memory_format=torch.channels_last)
    return lambda: {"model": model, "inputs": (inputs,)}


def padded(norm: nn.Module, share: float) -> Callable[[], Arguments]:
    """Sequences N,C,L that end in zeros."""
    torch.manual_seed(0)
    inputs = 3 + torch.randn(4, 8, 20)
    for sample, length in enumerate((20, int(20 * (1 - share)), 19, int(20 * (1 - share)))):
        inputs[sample, :, length:] = 0
    return lambda: {"model": nn.Sequential(norm), "inputs": (inputs,)}


class Tokens(nn.Module):
    """An embedding that knows its padding, with BatchNorm behind it, and nothing else that tells of padding."""

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.embedding, self.norm = nn.Embedding(50, 8, padding_idx=padding), nn.BatchNorm1d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.norm(self.embedding(x).transpose(1, 2)))


def tokens(padding: int) -> torch.Tensor:
    """Four sentences of twelve words from 1 on, of which two end in six numbers for padding."""
    words = torch.randint(1, 50, (4, 12), generator=torch.Generator().manual_seed(0))
    words[2:, 6:] = padding
    return words


class PerSample(nn.Module):
    """LayerNorm over the channels of N,C,L, which other positions do not matter to."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


def depthwise(norm: nn.Module) -> Callable[[], Arguments]:
    return behind(nn.Conv2d(16, 16, 7, padding=3, groups=16), norm, nn.Conv2d(16, 32, 1), inputs="2,16,9,9")


class Transposed(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.transpose(1, 2)).transpose(1, 2)


def small_embedding(deviation: float, norm: nn.Module) -> Callable[[], Arguments]:
    """Word vectors of a small deviation, with a norm behind them."""
    torch.manual_seed(0)
    vectors = nn.Embedding(50, 8)
    nn.init.normal_(vectors.weight, std=deviation)
    return lambda: {"model": nn.Sequential(vectors, norm), "inputs": "4,6:50"}


SPACE = "4,3,9,9"
PAIRS = (
    Pair(
        "NL101",
        "group-norm-of-features",
        behind(nn.Linear(8, 6), nn.GroupNorm(6, 6)),
        behind(nn.Linear(8, 6), nn.GroupNorm(2, 6)),
        "1",
        ("normalized by itself",),
    ),
    Pair(
        "NL101",
        "layer-norm-of-one",
        behind(nn.Linear(8, 1), nn.LayerNorm(1)),
        behind(nn.Linear(8, 4), nn.LayerNorm(4)),
        "1",
    ),
    Pair(
        "NL101",
        "instance-norm-of-a-pooled-map",
        behind(nn.Conv2d(3, 6, 9), nn.InstanceNorm2d(6), inputs=SPACE),
        behind(nn.Conv2d(3, 6, 5), nn.InstanceNorm2d(6), inputs=SPACE),
        "1",
    ),
    Pair(
        "NL102",
        "two-channels-a-group",
        behind(nn.Linear(8, 6), nn.GroupNorm(3, 6)),
        behind(nn.Linear(8, 6), nn.GroupNorm(1, 6)),
        "1",
        ("two elements", "100%"),
    ),
    Pair(
        "NL102",
        "rms-norm-of-one",
        behind(nn.Linear(8, 1), nn.RMSNorm(1, eps=1e-6)),
        behind(nn.Linear(8, 4), nn.RMSNorm(4, eps=1e-6)),
        "1",
        ("one element",),
    ),
    Pair(
        "NL103",
        "positions-for-channels",
        behind(nn.Linear(8, 6), nn.BatchNorm1d(10), inputs="4,10,8"),
        behind(nn.Linear(8, 6), Transposed(nn.BatchNorm1d(6)), inputs="4,10,8"),
        "1",
        ("takes the 10 positions for channels",),
    ),
    Pair(
        "NL103",
        "behind-an-activation",
        behind(nn.Linear(8, 6), nn.ReLU(), nn.Dropout(0.1), nn.BatchNorm1d(10), inputs="4,10,8"),
        behind(nn.Conv1d(10, 6, 1), nn.ReLU(), nn.Dropout(0.1), nn.BatchNorm1d(6), inputs="4,10,8"),
        "3",
        ("features of 0 on the last axis",),
    ),
    Pair(
        "NL103",
        "padded-tokens",
        lambda: {"model": Tokens(0), "inputs": (tokens(padding=0),)},
        lambda: {"model": Tokens(0), "inputs": (tokens(padding=7),)},
        "norm",
        ("25% of the positions",),
    ),
    Pair(
        "NL103",
        "features-last-raise",
        behind(nn.Linear(8, 6), nn.BatchNorm1d(6), inputs="4,10,8"),
        behind(nn.Linear(8, 6), nn.BatchNorm1d(6), inputs="4,8"),
        "1",
        ("it raises",),
    ),
    Pair(
        "NL103",
        "layer-norm-along-the-width",
        behind(nn.Conv2d(3, 6, 3), nn.LayerNorm(7), inputs=SPACE),
        behind(nn.Conv2d(3, 6, 3), nn.LayerNorm((6, 7, 7)), inputs=SPACE),
        "1",
        ("which is space",),
    ),
    Pair(
        "NL103",
        "instance-norm-of-two-axes",
        behind(nn.Linear(8, 6), nn.InstanceNorm1d(6), inputs="6,8"),
        behind(nn.Conv1d(8, 6, 1), nn.InstanceNorm1d(6), inputs="6,8,5"),
        "1",
        ("as LayerNorm does",),
    ),
    Pair("NL103", "padding", padded(nn.BatchNorm1d(8), 0.5), padded(PerSample(), 0.5), "0", ("padding",)),
    Pair("NL103", "no-padding", padded(nn.BatchNorm1d(8), 0.5), padded(nn.BatchNorm1d(8), 0.0), "0"),
    Pair(
        "NL104",
        "lost-in-instance-norm",
        channels_last(nn.InstanceNorm2d(8)),
        channels_last(nn.BatchNorm2d(8)),
        "1",
        ("MiB",),
    ),
    Pair("NL105", "convnext", depthwise(nn.GroupNorm(1, 16)), depthwise(nn.GroupNorm(4, 16)), "1", ("differs",)),
    Pair(
        "NL106",
        "convolution",
        behind(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), inputs=SPACE),
        behind(nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), inputs=SPACE),
        "1",
        ("6 biases",),
    ),
    Pair(
        "NL106",
        "not-behind-an-activation",
        behind(nn.Linear(8, 6), nn.BatchNorm1d(6)),
        behind(nn.Linear(8, 6), nn.ReLU(), nn.BatchNorm1d(6)),
        "1",
    ),
    Pair(
        "NL106",
        "not-in-groups",
        behind(nn.Conv2d(3, 6, 3), nn.InstanceNorm2d(6), inputs=SPACE),
        behind(nn.Conv2d(3, 6, 3), nn.GroupNorm(2, 6), inputs=SPACE),
        "1",
    ),
    Pair(
        "NL107",
        "eps-of-the-type",
        small_embedding(1e-3, nn.RMSNorm(8)),
        small_embedding(1e-3, nn.RMSNorm(8, eps=1e-6)),
        "1",
        ("adds 1.2e-07", "float32 input"),
    ),
    Pair(
        "NL107",
        "eps-under-autocast",
        behind(nn.Linear(8, 8), nn.Hardtanh(-1e-3, 1e-3), nn.RMSNorm(8), amp="bf16"),
        behind(nn.Linear(8, 8), nn.RMSNorm(8), amp="bf16"),
        "2",
        ("adds 1.2e-07", "bfloat16 input"),
    ),
    Pair(
        "NL107",
        "squares-in-float16",
        behind(nn.Linear(8, 8), NarrowRMSNorm(8, False), amp="fp16"),
        behind(nn.Linear(8, 8), NarrowRMSNorm(8, True), amp="fp16"),
        "1",
        ("overflow",),
    ),
    Pair(
        "NL108",
        "no-gradient",
        zeroed(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)), "1"),
        zeroed(nn.Sequential(Residual(), nn.Linear(8, 2)), "0.branch.3"),
        "1",
        ("no gradient reaches",),
    ),
    Pair(
        "NL108",
        "behind-a-head-of-zeros",
        zeroed(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), headed()), "1"),
        zeroed(nn.Sequential(Residual(), headed()), "0.branch.3"),
        "1",
    ),
    Pair("NL108", "buffers", frozen(0.0), frozen(1.0), "1", ("does not learn",)),
    Pair(
        "NL109",
        "tracking",
        behind(nn.Conv2d(3, 6, 3), nn.InstanceNorm2d(6, track_running_stats=True), inputs=SPACE),
        behind(nn.Conv2d(3, 6, 3), nn.InstanceNorm2d(6, affine=True), inputs=SPACE),
        "1",
        ("the modes differ",),
    ),
    Pair(
        "NL110",
        "of-tensorflow",
        behind(nn.Linear(8, 6), nn.BatchNorm1d(6, momentum=0.99)),
        behind(nn.Linear(8, 6), nn.BatchNorm1d(6, momentum=0.01)),
        "1",
        ("99.0%", "TensorFlow"),
    ),
    Pair(
        "NL111",
        "as-many-groups-as-channels",
        behind(nn.Conv2d(3, 32, 3), nn.GroupNorm(32, 32), inputs=SPACE),
        behind(nn.Conv2d(3, 32, 3), nn.GroupNorm(8, 32), inputs=SPACE),
        "1",
        ("InstanceNorm",),
    ),
    Pair("NL112", "forgotten", behind(Called(False)), behind(Called(True)), "0.norm", ("16 parameters",)),
    Pair("NL112", "used-by-a-function", behind(Called(False)), behind(ByFunction(False)), "0.norm"),
    Pair("NL112", "without-numbers", behind(ByForward(False)), behind(ByForward(True)), "0.second"),
    Pair(
        "NL112",
        "recurrent",
        behind(LayerNormLSTM(False), inputs="4,5,8"),
        behind(LayerNormLSTM(True), inputs="4,5,8"),
        "0",
        ("plain recurrent layer",),
    ),
    Pair("NL113", "half", behind(HalfNorm(False)), behind(HalfNorm(True)), "0", ("30 times",)),
)
