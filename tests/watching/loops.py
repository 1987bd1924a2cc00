"""Small training loops, in the ways people write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from normlab.diagnosis.spec import Finding
from normlab.watching.watch import Watch, watch

Around = Callable[[int, nn.Module, Tensor], object]


def net(features: int = 8, width: int = 16, norm: Callable[[int], nn.Module] = nn.BatchNorm1d) -> nn.Sequential:
    """A perceptron with two norms, 1 and 4."""
    torch.manual_seed(0)
    parts = (nn.Linear(features, width), norm(width), nn.ReLU(), nn.Linear(width, width), norm(width), nn.ReLU())
    return nn.Sequential(*parts, nn.Linear(width, 1))


def batch(step: int, size: int = 64, features: int = 8) -> tuple[Tensor, Tensor]:
    """A batch of its own for each step."""
    x = torch.randn(size, features, generator=torch.Generator().manual_seed(step))
    return x, x[:, :1].sin() + x[:, 1:2]


def nothing(step: int, model: nn.Module, x: Tensor) -> None:
    """Nothing beside the training."""


def trained(
    model: nn.Module,
    *,
    steps: int = 40,
    size: int = 64,
    lr: float = 0.02,
    before: Around = nothing,
    after: Around = nothing,
    optimizer: torch.optim.Optimizer | None = None,
    forward: Callable[[Tensor], Tensor] | None = None,
    **given: Any,
) -> Watch:
    """Trains under watch, and gives the watch.

    Arguments:
        before: is done at the beginning of each step.
        after: is done at its end.
        forward: in place of the model's call.
        given: to `watch`.
    """
    optimizer = optimizer or torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr, momentum=0.9)
    with watch(model, optimizer, **{"every": 5, "on_finding": ignore, **given}) as w:
        for step in range(steps):
            x, y = batch(step, size)
            before(step, model, x)
            optimizer.zero_grad()
            (forward or model)(x).sub(y).square().mean().backward()
            optimizer.step()
            after(step, model, x)
    return w


def ignore(finding: Finding) -> None:
    """Says nothing."""


def codes(w: Watch) -> set[str]:
    """What was found."""
    return {finding.code for finding in w.findings}


def of(w: Watch, code: str) -> list[Finding]:
    """The findings of one rule."""
    return [finding for finding in w.findings if finding.code == code]
