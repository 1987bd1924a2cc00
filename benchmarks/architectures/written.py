"""Models as people write them: residual nets, U-Nets, recurrent nets, generators, shared and fused norms."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from architectures.spec import Architecture

Model = tuple[nn.Module, tuple[Tensor, ...]]


class Residual(nn.Module):
    """Two convolutions and a shortcut; the last norm starts at gamma 0."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU(inplace=True)
        nn.init.zeros_(self.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.relu(self.bn2(self.conv2(y)) + self.shortcut(x))
        return out


class UNet(nn.Module):
    """One step down and up, with a skip connection."""

    def __init__(self) -> None:
        super().__init__()

        def double(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(
                *(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()),
                *(nn.Conv2d(outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()),
            )

        self.down, self.bottom, self.up = double(1, 8), double(8, 16), double(16, 8)
        self.pool, self.grow, self.out = nn.MaxPool2d(2), nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down(x)
        deep = self.grow(self.bottom(self.pool(skip)))
        out: Tensor = self.out(self.up(torch.cat([skip, deep], 1)))
        return out


class Recurrent(nn.Module):
    """An LSTM cell with LayerNorm on the gates and on the cell state."""

    def __init__(self) -> None:
        super().__init__()
        self.gates, self.norm, self.cell_norm = nn.Linear(6 + 8, 32), nn.LayerNorm(32), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        state = cell = x.new_zeros(len(x), 8)
        for step in x.unbind(1):
            take, keep, give, new = self.norm(self.gates(torch.cat([step, state], 1))).chunk(4, 1)
            cell = keep.sigmoid() * cell + take.sigmoid() * new.tanh()
            state = give.sigmoid() * self.cell_norm(cell).tanh()
        return state


class Siamese(nn.Module):
    """Two branches that share a norm, which has two names, beside one of their own."""

    def __init__(self) -> None:
        super().__init__()
        shared = nn.BatchNorm1d(8)
        self.left = nn.Sequential(nn.Linear(6, 8), shared, nn.ReLU())
        self.right = nn.Sequential(nn.Linear(6, 8), shared, nn.ReLU())
        self.head = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 3))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        out: Tensor = self.head(torch.cat([self.left(x), self.right(y)], 1))
        return out


class NormRelu(nn.BatchNorm2d):
    """A norm and an activation in one."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


class Fused(nn.Module):
    """Fused norms, of which one is used twice, beside plain ones."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.fused, self.shared, self.plain = NormRelu(8), NormRelu(8), nn.GroupNorm(2, 8)
        self.again = self.shared

    def forward(self, x: Tensor) -> Tensor:
        y = self.shared(self.second(self.fused(self.first(x))))
        out: Tensor = self.plain(self.again(self.second(y)))
        return out


class Listed(nn.Module):
    """Norms in a ModuleList and in a ModuleDict."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.norms = nn.ModuleList([nn.LayerNorm(8), nn.RMSNorm(8), nn.LayerNorm(8, elementwise_affine=False)])
        self.named = nn.ModuleDict({"in": nn.LayerNorm(8), "out": nn.LayerNorm(8, bias=False)})

    def forward(self, x: Tensor) -> Tensor:
        x = self.named["in"](x)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = x + layer(norm(x)).relu()
        out: Tensor = self.named["out"](x)
        return out


class ChannelsLast(nn.Module):
    """LayerNorm on N,H,W,C, as in ConvNeXt."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.out = nn.Conv2d(3, 8, 3), nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.norm(self.conv(x).permute(0, 2, 3, 1)))
        return out


class QueryKey(nn.Module):
    """Attention with norms of queries and keys on B,H,L,D."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(32, 96), nn.Linear(32, 32)
        self.q_norm, self.k_norm = nn.RMSNorm(8, eps=1e-6), nn.RMSNorm(8, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 4, 8)).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


def _images(model: nn.Module, channels: int = 3, size: int = 16) -> Model:
    return model, (torch.randn(2, channels, size, size),)


def _resnet() -> Model:
    stem = (nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    tail = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
    return _images(nn.Sequential(*stem, Residual(8, 16), Residual(16, 16), *tail))


def _perceptron() -> Model:
    layers = (nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(16, 3)), (torch.randn(8, 6),)


def _generator() -> Model:
    layers = (nn.Unflatten(1, (16, 1, 1)), nn.ConvTranspose2d(16, 16, 4), nn.BatchNorm2d(16), nn.ReLU(True))
    more = (nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU(True))
    return nn.Sequential(*layers, *more, nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh()), (torch.randn(4, 16),)


def _discriminator(wrap: Callable[[nn.Module], nn.Module]) -> Model:
    layers = (wrap(nn.Conv2d(3, 8, 4, 2, 1)), nn.LeakyReLU(0.2, True), wrap(nn.Conv2d(8, 16, 4, 2, 1)))
    tail = (nn.InstanceNorm2d(16, affine=True), nn.LeakyReLU(0.2), wrap(nn.Conv2d(16, 1, 4)))
    return _images(nn.Sequential(*layers, *tail))


def _volumes() -> Model:
    layers = (nn.Conv3d(1, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU(), nn.Conv3d(8, 8, 3), nn.GroupNorm(4, 8))
    return nn.Sequential(*layers), (torch.randn(2, 1, 6, 6, 6),)


def _signals() -> Model:
    layers = (nn.Conv1d(2, 8, 5), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 8, 5), nn.InstanceNorm1d(8))
    return nn.Sequential(*layers, nn.Conv1d(8, 4, 1)), (torch.randn(2, 2, 24),)


def _whole_samples() -> Model:
    layers = (nn.Conv2d(3, 8, 3, 2, 1), nn.LayerNorm([8, 8, 8]), nn.SiLU(), nn.Conv2d(8, 8, 3, 2, 1))
    return _images(nn.Sequential(*layers, nn.LayerNorm([8, 4, 4])))


def _local_response() -> Model:
    layers = (nn.Conv2d(3, 8, 3), nn.ReLU(), nn.LocalResponseNorm(3), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))
    return _images(nn.Sequential(*layers))


def _siamese() -> Model:
    return Siamese(), (torch.randn(4, 6), torch.randn(4, 6))


ARCHITECTURES = (
    Architecture("perceptron", "written", _perceptron),
    Architecture("residual-net", "written", _resnet),
    Architecture("u-net", "written", lambda: _images(UNet(), 1)),
    Architecture("lstm-layer", "written", lambda: (Recurrent(), (torch.randn(3, 5, 6),))),
    Architecture("gan-generator", "written", _generator),
    Architecture("gan-discriminator", "written", lambda: _discriminator(lambda layer: layer)),
    Architecture(
        "gan-discriminator-spectral", "written", lambda: _discriminator(nn.utils.parametrizations.spectral_norm)
    ),
    Architecture("siamese-shared", "written", _siamese),
    Architecture("fused-and-shared", "written", lambda: _images(Fused())),
    Architecture("list-and-dict", "written", lambda: (Listed(), (torch.randn(2, 5, 8),))),
    Architecture("channels-last", "written", lambda: _images(ChannelsLast())),
    Architecture("query-key", "written", lambda: (QueryKey(), (torch.randn(2, 9, 32),))),
    Architecture("volumes", "written", _volumes),
    Architecture("signals", "written", _signals),
    Architecture("whole-samples", "written", _whole_samples),
    Architecture("local-response", "written", _local_response, (("LocalResponseNorm", "neighbouring channels"),)),
)
