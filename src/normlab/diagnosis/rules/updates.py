"""Rules about what moves running statistics, and how often."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp, isnan, nan

from normlab.diagnosis.case import Case, is_measurable
from normlab.diagnosis.measuring import batch_norms, makes_up
from normlab.diagnosis.spec import OUTPUTS, CannotTell, Evidence, Rule
from normlab.diagnosis.statistics import apart
from normlab.diagnosis.step import evaluated, sliced, training_step
from normlab.recognition.distance import distance
from normlab.recognition.inputs import samples_in
from normlab.recognition.spec import FoundNorm
from normlab.tables import plural

LARGE_DIFFERENCE = 0.5  # of the means of two calls in standard deviations, or of the logs of their deviations
CHANCE, DOUBT = 0.005, 0.1  # of a difference between two calls, up to which it is taken for one, and is mentioned
SMALL_GAP = 0.05  # of outputs between half a batch and a whole one, of which nothing is lost
FEW, ENOUGH, MORE = 4, 8, 32  # samples below which no difference can be told from chance, a large one, and most


def _accumulated(case: Case) -> Iterator[Evidence]:
    """The same samples in half a batch and in a whole one, and the momentum of all updates of a step together."""
    layers = list(batch_norms(case))
    if not layers:
        return
    batches = case.grad_accumulation
    figures: dict[str, float] = {"layers": len(layers), "batches": batches}
    message = f"the statistics of {plural(len(layers), 'layer')} are of each of the {batches} batches of a step alone"
    momenta = [momentum for norm in layers if norm.running and (momentum := norm.momentum)]
    if momenta:
        figures["momentum"], figures["momentum_of_step"] = momenta[0], 1 - (1 - momenta[0]) ** batches
        message += (
            f", and running statistics move {batches} times a step: momentum {momenta[0]:.3g} acts as "
            f"{figures['momentum_of_step']:.3g}"
        )
    half = samples_in(case.inputs) // 2
    if half > 1:
        try:
            figures["gap"] = _of_half(case, layers, half)
        except Exception:  # a model for this number of samples alone, or one that does not evaluate
            half = 0
    if isnan(figures.get("gap", 0.0)):  # of outputs that are not finite, or no floating numbers
        del figures["gap"]
    if "gap" in figures:
        message += (
            f"; the outputs of {half} of the given samples change by {figures['gap']:.1%} when twice as many are "
            "normalized together"
        )
    small = "gap" in figures and figures["gap"] < SMALL_GAP
    yield Evidence("", message, figures=figures, severity="note" if small else None)


def _of_half(case: Case, layers: Sequence[FoundNorm], half: int) -> float:
    """How far outputs of the first half of the samples are from those of the same samples in the whole batch.

    NaN where there are none to compare.
    """
    alone = evaluated(case.model, sliced(case.inputs, half), training=layers)
    together = evaluated(case.model, case.inputs, training=layers)
    return distance([value[:half] if value.dim() else value for value in together], alone) if alone else nan


def _updated_twice(case: Case) -> Iterator[Evidence]:
    """Layers that ran again in the backward pass and moved their running statistics again."""
    step = training_step(case.model, case.norms, case.inputs)
    if step.moved and not step.has_outputs:
        raise CannotTell(OUTPUTS)
    for norm in case.norms:
        again, moved = step.backward.get(norm.name, 0), step.moved_again.get(norm.name, 0.0)
        if not again or not moved:
            continue
        momentum = norm.momentum or 0.0
        calls = step.forward.get(norm.name, 0)
        times = 1 + again / max(1, calls)
        if makes_up(momentum, times):
            continue
        message = (
            f"it ran {_times(calls)} in the forward pass and {_times(again)} again in the backward pass, which moved "
            f"its running statistics by another {100 * moved:.2g}%"
        )
        mend = ""
        if momentum:
            acts, less = 1 - (1 - momentum) ** times, 1 - (1 - momentum) ** (1 / times)
            message += f"; momentum {momentum:.3g} acts as {acts:.3g}"
            mend = f"Set its momentum to {less:.4f}, or take a norm without running statistics: "
            mend += f"`normlab.swap(model, 'group', where={norm.name!r})`."
        yield Evidence(norm.name, message, mend, {"moved_again": moved, "calls": calls, "again": again})


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _shared(case: Case) -> Iterator[Evidence]:
    """Layers that are called several times in a forward pass, with inputs of other statistics than the first call's."""
    too_few = False
    for norm in batch_norms(case):
        calls = [call for call in case.training.calls.get(norm.name, ()) if is_measurable(call.before)]
        if len(calls) < 2 or not norm.running:
            continue
        too_few = too_few or len(calls[0].before) < ENOUGH
        some = [found for call in calls[1:] if (found := apart(norm, call.before, calls[0].before)) is not None]
        far = [one for one in some if max(one.means, one.logs) >= LARGE_DIFFERENCE]
        sure = [one for one in far if one.chance <= CHANCE]
        samples = len(calls[0].before)
        doubtful = [one for one in far if one.chance <= DOUBT or samples < FEW]
        if not doubtful:
            continue
        means, logs = (max(values) for values in zip(*((one.means, one.logs) for one in sure or doubtful), strict=True))
        message = (
            f"it normalizes {len(calls)} inputs in a forward pass, whose means lie up to {means:.3g} standard "
            f"deviations apart and whose deviations differ by a factor of up to {exp(logs):.3g}"
        )
        figures = {"calls": len(calls), "means": means, "log_deviations": logs}
        if sure:
            yield Evidence(norm.name, f"{message}; its running statistics are one mixture of them", figures=figures)
        else:
            message += f"; {samples} samples do not tell whether by chance"
            yield Evidence(norm.name, message, f"Look again with {MORE} samples or more.", figures, "note")
    if too_few:
        raise CannotTell(f"{ENOUGH} samples or more in `inputs`")


RULES = (
    Rule(
        "NL302",
        "accumulation-is-no-large-batch",
        "warning",
        "gradient accumulation with norms that take their statistics from each small batch",
        "Accumulation adds up gradients, not statistics: BatchNorm still sees the small batch, and its running "
        "statistics move several times a step.",
        "https://github.com/pytorch/pytorch/issues/46516",
        "Take a norm that does not depend on the batch: `normlab.swap(model, 'group')`; or choose the batch size for "
        "BatchNorm and lower its momentum.",
        "for batch in small_batches:  # BatchNorm sees each alone\n    loss(model(batch)).backward()\noptimizer.step()",
        _accumulated,
        ("grad_accumulation",),
    ),
    Rule(
        "NL303",
        "updated-twice",
        "warning",
        "norms whose running statistics move again when activations are computed again in the backward pass",
        "Activation checkpointing runs the layer twice in a step, with the same batch: its running statistics follow "
        "single batches almost twice as closely as the momentum says.",
        "https://github.com/pytorch/pytorch/issues/96136",
        "Lower the momentum to 1 - sqrt(1 - momentum), leave the norm out of the checkpointed part, or take one "
        "without running statistics.",
        "def forward(self, x):\n    return checkpoint(self.block_with_batch_norm, x, use_reentrant=False)",
        _updated_twice,
        ("inputs",),
    ),
    Rule(
        "NL407",
        "shared-by-branches",
        "warning",
        "one norm for several inputs of a forward pass with different statistics",
        "In training each call takes the statistics of its own input, in evaluation all take one mixture, which is "
        "right for none of them.",
        "https://github.com/keras-team/keras/issues/8794; Cooijmans et al. 2016, arXiv:1603.09025",
        "Give each branch, level or time step a norm of its own, or take one without running statistics: "
        "`normlab.swap(model, 'group', where=name)`.",
        "def forward(self, photo, sketch):  # one BatchNorm inside\n    return self.net(photo), self.net(sketch)",
        _shared,
        ("inputs",),
    ),
)
