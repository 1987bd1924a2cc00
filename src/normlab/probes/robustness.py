"""How a deployed model stands changes of its input: random noise, and the worst change of one gradient step.

- noise: Gaussian, of half the standard deviation of the training inputs, from a stream of its own
- FGSM: x + epsilon sign(dL/dx) with epsilon a tenth of that deviation (I. Goodfellow, J. Shlens and C. Szegedy, 2014,
  arXiv:1412.6572, section 4), with the gradient of the loss itself, in evaluation mode with running statistics
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from normlab.probes.closeup import Closeup, tensor_like
from normlab.probes.spec import Probe, Quantity, Snapshot
from normlab.tasks.data import TRAINING
from normlab.tasks.samples import outputs_of

if TYPE_CHECKING:
    from torch import Tensor, nn

NOISE, EPSILON = 0.5, 0.1  # in standard deviations of the training inputs


def measure(now: Snapshot) -> Mapping[str, float]:
    """The series ``test_loss_noise``, ``test_accuracy_fgsm`` and so on; none where inputs are no real numbers."""
    import torch

    closeup = now.closeup()
    training = closeup.parts[TRAINING][0]
    if closeup.main is None or not isinstance(training, torch.Tensor) or not training.is_floating_point():
        return {}
    inputs, targets = closeup.parts[closeup.main]
    assert isinstance(inputs, torch.Tensor)
    scale, model = float(training.std(correction=0)), closeup.deployed()
    noise = tensor_like(closeup.stream("probe robustness").standard_normal(tuple(inputs.shape)), inputs)
    changed = {
        "noise": inputs + NOISE * scale * noise,
        "fgsm": inputs + EPSILON * scale * input_gradient(closeup, model, inputs, targets).sign(),
    }
    values = {}
    for change, there in changed.items():
        with torch.no_grad():
            outputs = outputs_of(model, (there, targets))
        values[f"{closeup.main}_loss_{change}"] = float(closeup.loss.compute(outputs, targets))
        for score in closeup.task.scores:
            values[f"{closeup.main}_{score.name}_{change}"] = float(score.compute(outputs, targets))
    return values


def input_gradient(closeup: Closeup, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """The gradient of the loss with respect to the inputs."""
    import torch

    asked = inputs.detach().clone().requires_grad_()
    loss = closeup.loss.compute(outputs_of(model, (asked, targets)), targets)
    (gradient,) = torch.autograd.grad(loss, asked, materialize_grads=True)
    return gradient


_CHANGES = {
    "noise": "Gaussian noise of half the standard deviation of the inputs added",
    "fgsm": "inputs moved by a tenth of their standard deviation in the direction of the sign of the gradient (FGSM)",
}
ROBUSTNESS = Probe(
    "robustness",
    "loss and scores of a deployed model on held-out data that is disturbed",
    "shares",
    measure,
    needs=frozenset({"closeup"}),
    shares=(1.0,),
    series=tuple(
        Quantity(
            f"{{part}}_{what}_{change}",
            f"{{part}} {what} under {'noise' if change == 'noise' else 'attack'}",
            f"{what} on the held-out {{part}} set with running statistics and {how}",
            scale="ratio" if what == "loss" else "difference",
            higher_is_better=what != "loss",
        )
        for change, how in _CHANGES.items()
        for what in ("loss", "accuracy")
    ),
)
