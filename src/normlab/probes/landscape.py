"""How the loss and its gradient change along the gradient: the quantities of Santurkar et al.

S. Santurkar, D. Tsipras, A. Ilyas and A. Madry, 2018, "How does batch normalization help optimization?",
arXiv:1805.11604, section 3.1 and figure 4. With loss L, gradient g at weights w, and
w' = w - eta g for each eta of `STEPS`:

- range: largest minus smallest of L(w) and L(w')
- gradient predictiveness: largest |g(w') - g|
- effective smoothness: largest |g(w') - g| / |w' - w|

Each is the mean over up to four blocks of a batch's size, which are the same for every norm and at every moment.
"""

from __future__ import annotations

from collections.abc import Mapping

from normlab.probes.spec import Probe, Quantity, Snapshot
from normlab.probes.surface import Surface

STEPS = (0.05, 0.1, 0.2, 0.4)  # the paper's steps for a VGG network, from the smallest to the largest
BLOCKS = 4


def measure(now: Snapshot) -> Mapping[str, float]:
    """The series ``loss_range``, ``gradient_predictiveness`` and ``effective_smoothness``, two of them relative too."""
    closeup = now.closeup()
    blocks = closeup.blocks(closeup.batch_size, BLOCKS)
    measured = [along_gradient(closeup.surface(block)) for block in blocks]
    return {name: sum(values[name] for values in measured) / len(measured) for name in measured[0]}


def along_gradient(surface: Surface) -> dict[str, float]:
    """The quantities of one surface at its present weights."""
    loss, gradient = surface.gradient()
    size = float(gradient.norm())
    losses, changes = [loss], [0.0]
    for step in STEPS:
        there, changed = surface.gradient(surface.weights - step * gradient)
        losses.append(there)
        changes.append(float((changed - gradient).norm()))
    loss_range, predictiveness = max(losses) - min(losses), max(changes)
    smoothness = max(change / (step * size) if size else 0.0 for step, change in zip(STEPS, changes[1:], strict=True))
    return {
        "loss_range": loss_range,
        "loss_range_relative": loss_range / loss if loss else 0.0,
        "gradient_predictiveness": predictiveness,
        "gradient_predictiveness_relative": predictiveness / size if size else 0.0,
        "effective_smoothness": smoothness,
    }


LANDSCAPE = Probe(
    "landscape",
    "loss and gradient along the direction of the gradient",
    "epoch",
    measure,
    needs=frozenset({"closeup"}),
    series=(
        Quantity(
            "loss_range",
            "range of the loss along the gradient",
            "largest minus smallest loss of a batch at steps of 0 to 0.4 times the gradient",
        ),
        Quantity(
            "loss_range_relative",
            "relative range of the loss along the gradient",
            "the same over the loss at no step",
        ),
        Quantity(
            "gradient_predictiveness",
            "change of the gradient along it",
            "largest Euclidean distance of the gradient at these steps from that at no step: the lower, the better it "
            "predicts what lies ahead",
        ),
        Quantity(
            "gradient_predictiveness_relative",
            "relative change of the gradient along it",
            "the same over the norm of the gradient at no step",
        ),
        Quantity(
            "effective_smoothness",
            "effective beta-smoothness",
            "largest change of the gradient along it over the distance moved",
        ),
    ),
)
