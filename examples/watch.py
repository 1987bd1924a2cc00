"""A training loop that makes three of the usual mistakes, and what `normlab.watch` says of each.

1. The momentum is TensorFlow's 0.999 brought over as torch's 0.001: running statistics lag far behind.
2. The first norm was frozen by `requires_grad_(False)` alone, which does not stop its running statistics.
3. The validation forgets `model.eval()`: running statistics learn from validation data.
"""

from collections.abc import Callable

import torch
from torch import nn

import normlab


def network(momentum: float) -> nn.Sequential:
    """A small convolutional network."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16, momentum=momentum),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32, momentum=momentum),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 4),
    )


def train(model: nn.Module, validate: Callable[[nn.Module], object], steps: int = 120) -> normlab.Watch:
    """Trains on images whose class is their brightest quarter; the loop is as it would be without the watch."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05, momentum=0.9)
    with normlab.watch(model, optimizer, every=10, on_finding=lambda finding: None) as w:
        for step in range(steps):
            images = torch.randn(32, 3, 16, 16)
            labels = images.unfold(2, 8, 8).unfold(3, 8, 8).mean((1, 4, 5)).flatten(1).argmax(1)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            if step % 20 == 19:
                validate(model)
    return w


def careless(model: nn.Module) -> None:
    """A validation in training mode."""
    with torch.no_grad():
        model(torch.randn(64, 3, 16, 16))


def careful(model: nn.Module) -> None:
    """A validation in evaluation mode."""
    model.eval()
    careless(model)
    model.train()


if __name__ == "__main__":
    torch.manual_seed(0)
    wrong = network(momentum=0.001)
    for parameter in wrong[1].parameters():
        parameter.requires_grad_(False)
    found = train(wrong, careless)
    print(found)
    found.plot().savefig("watch.png")

    print()
    right = network(momentum=0.1)
    print(train(right, careful))
