"""The published study as it was published: three trainings, one chart.

python3 benchmarks/published.py [FILE]   (FILE: the chart, published.png by default)
"""

import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    """Linear(10,50) -> norm -> ReLU -> Linear(50,2)."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.fc1 = nn.Linear(10, 50)
        self.norm = norm
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(50, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.norm(self.fc1(x)))
        return self.fc2(x)  # type: ignore[no-any-return]


def train(model: nn.Module, loader: DataLoader[tuple[torch.Tensor, ...]], epochs: int = 50) -> list[float]:
    """The training loss of every step."""
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=0.001)
    losses = []
    for _ in range(epochs):
        for inputs, targets in loader:
            model.train()
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def main(chart: str) -> None:
    """Data, three trainings, one chart."""
    np.random.seed(42)  # noqa: NPY002
    features = np.random.rand(1000, 10)  # noqa: NPY002
    labels = (features.sum(axis=1) > 5).astype(int)
    dataset = TensorDataset(torch.tensor(features, dtype=torch.float32), torch.tensor(labels, dtype=torch.long))
    loader = DataLoader(dataset, batch_size=64, shuffle=True)

    batch_norm = train(Net(nn.BatchNorm1d(50)), loader)
    layer_norm = train(Net(nn.LayerNorm(50)), loader)
    group_norm = train(Net(nn.GroupNorm(5, 50)), loader)

    plt.figure(figsize=(10, 6))
    plt.plot(batch_norm, color="blue", label="batch norm")
    plt.plot(layer_norm, color="orange", label="layer norm")
    plt.plot(group_norm, color="green", label="group norm")
    plt.xlabel("Iteration")
    plt.ylabel("Loss")
    plt.title("Normalization Techniques Comparison")
    plt.legend()
    plt.savefig(chart)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "published.png")
