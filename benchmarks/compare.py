"""Four norms in a convolutional net and in a small transformer of a user's, ten seeds, within a memory budget.

    python benchmarks/compare.py

Prints the time of each comparison (of the processor too, for a busy machine), what each norm got of the memory, and the
answer.
"""

from __future__ import annotations

from time import perf_counter, process_time

import numpy as np
from sklearn.datasets import load_digits
from torch import Tensor, nn

import normlab

NORMS = {
    "net": ["batch", "group:groups=8", "layer2d", "none"],
    "transformer": ["layer", "rms", "dyt", "none"],
}
EPOCHS, SEEDS, RATE = 20, 10, 3e-3
SYMBOLS, LENGTH, WIDTH = 8, 8, 32


def net() -> nn.Module:
    """Three convolutions with batch normalization."""
    layers: list[nn.Module] = []
    for before, after, stride in ((1, 16, 1), (16, 32, 2), (32, 32, 2)):
        layers += [nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits as images."""
    images, labels = load_digits(return_X_y=True)
    return (images / 16).reshape(-1, 1, 8, 8).astype(np.float32), labels


class Transformer(nn.Module):
    """Two encoder layers of torch's over symbols and positions."""

    def __init__(self) -> None:
        super().__init__()
        self.symbols = nn.Embedding(SYMBOLS, WIDTH)
        self.positions = nn.Embedding(LENGTH, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, 0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, SYMBOLS)

    def forward(self, symbols: Tensor) -> Tensor:
        hidden = self.symbols(symbols) + self.positions.weight
        return self.head(self.encoder(hidden))  # type: ignore[no-any-return]


def reversals() -> tuple[np.ndarray, np.ndarray]:
    """Sequences of symbols, and the same in reversed order."""
    symbols = np.random.default_rng(0).integers(SYMBOLS, size=(1500, LENGTH))
    return symbols, symbols[:, ::-1].copy()


def main() -> None:
    """Both comparisons."""
    cases = (("net", net, digits, "2MB"), ("transformer", Transformer, reversals, "3MB"))
    for name, build, data, memory in cases:
        began, used = perf_counter(), process_time()
        results = normlab.compare(
            build, data, NORMS[name], name=name, memory=memory, seeds=SEEDS, epochs=EPOCHS, learning_rate=RATE
        )
        took, used = perf_counter() - began, process_time() - used
        runs = f"{len(results.outcomes)} runs of {EPOCHS} epochs in {memory}"
        print(f"{name}: {took:.0f} s, {used:.0f} s of processor time, for {runs}", flush=True)
        for engine in dict.fromkeys(outcome.environment["engine"] for outcome in results.outcomes):
            print(f"  engine {engine}")
        for note in results.plan.notes:
            print(f"  {note.reason}")
        print(f"  {results.answer}\n")


if __name__ == "__main__":
    main()
