"""Points in the plane, whose decision boundaries can be looked at: moons, circles and spirals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from normlab.seeding import stream
from normlab.tasks.data import Data, Part
from normlab.tasks.mlp import perceptron
from normlab.tasks.spec import Task

SAMPLES = 500
Points = NDArray[np.float64]
Curve = Callable[[Points, NDArray[np.int64]], Points]


def moons(along: Points, classes: NDArray[np.int64]) -> Points:
    """Two half circles of radius 1, the second turned over and moved into the first by (1, 1/2).

    >>> moons(np.array([0.0, 0.5]), np.array([0, 1])).round(6).tolist()
    [[1.0, 0.0], [1.0, -0.5]]
    """
    angle = np.pi * along
    x, y = np.cos(angle), np.sin(angle)
    return np.stack([np.where(classes == 0, x, 1 - x), np.where(classes == 0, y, 0.5 - y)], axis=1)


def circles(along: Points, classes: NDArray[np.int64]) -> Points:
    """Two circles around the origin, of radius 1 and 1/2."""
    angle, radius = 2 * np.pi * along, np.where(classes == 0, 1.0, 0.5)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def spirals(along: Points, classes: NDArray[np.int64]) -> Points:
    """Two arms that wind once and a half around the origin, a half turn apart; radius in proportion to the angle.

    The root spreads the points evenly along the arms.
    """
    angle, radius = 3 * np.pi * np.sqrt(along), np.sqrt(along)
    angle = angle + np.pi * classes
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def planar(name: str, title: str, curve: Curve, noise: float, hidden: tuple[int, ...], samples: int = SAMPLES) -> Task:
    """The task of telling two noisy curves in the plane apart by a perceptron.

    Half of the points belong to each curve; where along it they lie is uniform. Each seed of a study has a draw of
    its own.

    Arguments:
        name, title: as for `Task`.
        curve: points from where along the curve they lie (0..1) and which curve it is (0 or 1).
        noise: standard deviation of the normal noise on both coordinates.
        hidden: widths of the hidden layers by default.
        samples: points to train on; as many are held out.
    """

    def part(rng: np.random.Generator) -> Part:
        classes = rng.permutation(np.arange(samples) % 2)
        points = curve(rng.random(samples), classes) + noise * rng.standard_normal((samples, 2))
        return Part(points, classes)

    def data(study_seed: int, seed: int) -> Data:
        rng = stream(study_seed, "draw", name, seed)
        return Data(part(rng), {"test": part(rng)})

    return perceptron(
        name,
        title,
        data=data,
        inputs=2,
        classes=2,
        hidden=hidden,
        training_samples=samples,
        fixed=False,
        baseline={"accuracy": 0.5},
    )


MOONS = planar("moons", f"Two moons in the plane ({SAMPLES} points)", moons, 0.15, (16, 16))
CIRCLES = planar("circles", f"Two circles in the plane ({SAMPLES} points)", circles, 0.1, (16, 16))
SPIRALS = planar("spirals", f"Two spirals in the plane ({SAMPLES} points)", spirals, 0.02, (32, 32))
