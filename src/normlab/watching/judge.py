"""What is wrong with a layer, or with the loop around the model: one short function for each mistake."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite

import numpy as np

from normlab.diagnosis.measuring import INFINITE_HALF, LARGEST_HALF, makes_up
from normlab.diagnosis.spec import Evidence
from normlab.tables import plural
from normlab.watching.layer import WatchedLayer
from normlab.watching.signals import Counts, holds
from normlab.watching.spec import (
    CHANCE,
    FIRST_STEPS,
    LARGEST_DRIFT,
    LARGEST_GAP,
    SHORTEST,
    SMALLEST_GAMMA,
    SMALLEST_SPREAD,
)

Judged = Iterator[tuple[str, Evidence]]


@dataclass(frozen=True)
class Moment:
    """When and after what layers are judged.

    Arguments:
        since: what happened since the last sample.
        total: what happened since the watch began.
        grad_accumulation: backward passes before a step.
        heard: what happened while the calls of each layer were counted.
        last: whether the watch ends.
    """

    since: Counts
    total: Counts
    grad_accumulation: int
    heard: Counts = field(default_factory=Counts)
    last: bool = False


def judge_layer(layer: WatchedLayer, before: int | None, moment: Moment) -> Judged:
    """All that is wrong with a layer at its latest sample.

    Arguments:
        layer: the layer.
        before: its count of updates at the sample before; None where it keeps none.
        moment: when.
    """
    yield from _not_finite(layer)
    yield from _drifted(layer, moment)
    yield from _dead(layer, moment)
    yield from _moved(layer, moment)
    yield from _updated_again(layer, before, moment)


def _not_finite(layer: WatchedLayer) -> Judged:
    """NL305: buffers that are not finite, or beyond half precision."""
    bad = {name: count for name, values in layer.state.items() if (count := int((~np.isfinite(values)).sum()))}
    if bad:
        listed = ", ".join(f"{count} of {layer.state[name].size} values of {name}" for name, count in bad.items())
        yield (
            "NL305",
            Evidence(
                layer.name,
                f"{listed} are not finite: in evaluation mode the output is not either, and no later batch mends it",
                "Find the batch that overflowed; then re-estimate the statistics with normlab.recalibrate.",
                {f"bad_{name}": float(count) for name, count in bad.items()},
                "error",
            ),
        )
        return
    names = [name for name in layer.found.running if name in layer.state]
    largest = {name: float(np.abs(layer.state[name]).max(initial=0.0)) for name in names}
    for name, value in largest.items():
        if value >= INFINITE_HALF:
            yield (
                "NL305",
                Evidence(
                    layer.name,
                    f"{name} reaches {value:.3g}, and float16 ends at {LARGEST_HALF:.0f}: cast to half precision it is"
                    " infinite, and the channel gives its beta alone",
                    "Keep the buffers in float32, or scale what comes before the layer.",
                    {"largest": value},
                    "warning",
                ),
            )
            return


def _drifted(layer: WatchedLayer, moment: Moment) -> Judged:
    """NL301, NL501: running statistics that are not those of the batches, or batches that differ among themselves."""
    judged = layer.settled or (moment.last and moment.total.steps >= SHORTEST)
    if not layer.by_batch or layer.frozen is not None or not judged:
        return
    drift = layer.drift
    if drift is not None and drift.size > LARGEST_DRIFT:
        share = layer.initial_share
        kept = f"; their initial values still weigh {share:.0%}" if share is not None and share > 0.05 else ""
        yield (
            "NL301",
            Evidence(
                layer.name,
                f"running means are {drift.shift:.2g} standard deviations off those of the latest batches, whose"
                f" variance is {drift.ratio:.2g} times the running one, noise of single batches taken off{kept}",
                figures={"drift": drift.size, "shift": drift.shift, "variance_ratio": drift.ratio},
                severity="warning",
            ),
        )
        return
    gaps = [sample.gap for sample in layer.samples if sample.gap is not None]
    varies = all((sample.spread or 0.0) >= SMALLEST_SPREAD for sample in layer.samples)  # else it is a dead norm
    by_chance = CHANCE * (1.5 / max(layer.rows, 1)) ** 0.5  # what lies further off is no noise of so many samples
    if drift is not None and varies and len(gaps) == 2 and all(LARGEST_GAP < gap <= by_chance for gap in gaps):
        yield (
            "NL501",
            Evidence(
                layer.name,
                f"evaluation mode would change this layer's output by {gaps[-1]:.0%} on the latest batch: the batch has"
                f" {layer.values} values a channel, and running statistics are those of many batches",
                figures={"gap": gaps[-1], "values": float(layer.values)},
            ),
        )


def _dead(layer: WatchedLayer, moment: Moment) -> Judged:
    """NL502: nothing of the input comes through."""
    if moment.total.steps <= FIRST_STEPS or layer.samples[0].step == layer.samples[-1].step:
        return
    gammas = [sample.gamma for sample in layer.samples if sample.gamma is not None]
    if len(gammas) == 2 and gammas[1] <= gammas[0] < SMALLEST_GAMMA:
        yield (
            "NL502",
            Evidence(
                layer.name,
                f"no channel has a gamma above {gammas[1]:.2g}, and it does not grow: the output is beta alone",
                figures={"gamma": gammas[1]},
            ),
        )
        return
    spreads = [sample.spread for sample in layer.samples if sample.spread is not None]
    if len(spreads) == 2 and all(spread < SMALLEST_SPREAD for spread in spreads):
        yield (
            "NL502",
            Evidence(
                layer.name,
                f"the normalized output has a standard deviation of {spreads[1]:.2g} over the batch in the channel"
                " where it is largest, and 1 is the rule: the output is a constant",
                figures={"spread": spreads[1]},
            ),
        )


def _moved(layer: WatchedLayer, moment: Moment) -> Judged:
    """NL304: a frozen layer that changed; whoever moves gammas by hand has done so by the second step.

    Gamma and beta that learn beside statistics that stand are as meant.
    """
    if layer.frozen is None or moment.total.steps < 2 or any(name not in layer.state for name in layer.frozen):
        return
    moved = {
        name: float(np.abs(layer.state[name] - value).max(initial=0.0))
        for name, value in layer.frozen.items()
        if not layer.learns(name) and not np.array_equal(layer.state[name], value, equal_nan=True)
    }
    if not moved or (layer.by_hand and any(name in moved for name in layer.learned)):
        return
    listed = " and ".join(f"{name} moved by up to {value:.2g}" for name, value in moved.items() if isfinite(value))
    mode = ", as it is in training mode" if layer.module.training and set(moved) & set(layer.found.running) else ""
    yield (
        "NL304",
        Evidence(
            layer.name,
            f"the layer is frozen, and {listed or 'not finite values came in'} all the same{mode}",
            figures={f"moved_{name}": value for name, value in moved.items()},
        ),
    )


def _updated_again(layer: WatchedLayer, before: int | None, moment: Moment) -> Judged:
    """NL303 and NL407: running statistics that one batch updates more than once."""
    now = layer.updates
    if now is None or before is None or layer.frozen is not None:
        return
    since, heard = (counts.within(layer.found.names) for counts in (moment.since, moment.heard))
    updates, batches = now - before, since.passes
    if not batches or updates - since.blind <= 1.05 * batches:
        return
    times = updates / batches
    figures = {"updates": float(updates), "batches": float(batches)}
    if layer.recomputed and not makes_up(layer.momentum or 0.0, times):
        yield (
            "NL303",
            Evidence(
                layer.name,
                f"{updates} updates of running statistics in {batches} forward passes, {times:.2g} each: activation"
                f" checkpointing calls the layer again in the backward pass",
                f"Give it the momentum {_halved(layer.momentum)}, which two updates with one batch make the old one, or"
                " leave the layer out of the checkpointed part.",
                figures,
            ),
        )
    elif not layer.recomputed and layer.calls > heard.passes > 0:
        yield (
            "NL407",
            Evidence(
                layer.name,
                f"{updates} updates of running statistics in {batches} forward passes, {times:.2g} each: the model"
                " calls the layer several times in one pass",
                figures=figures,
                severity="note",
            ),
        )


def _halved(momentum: float | None) -> str:
    """The momentum of which two updates weigh as much as one of this: 1 - sqrt(1 - momentum)."""
    return "1 - sqrt(1 - momentum)" if momentum is None else f"{1 - (1 - min(momentum, 1.0)) ** 0.5:.4g}"


def judge_loop(layers: Sequence[WatchedLayer], moment: Moment) -> Judged:
    """All that is wrong with the loop, for the model or the parts that are called, where statistics are updated."""
    if keeping := [layer for layer in layers if layer.updates is not None and layer.frozen is None]:
        yield from _blind(keeping, moment)
        yield from _skipped(keeping, moment)
        yield from _uneven(keeping, moment)


def _blind(keeping: Sequence[WatchedLayer], moment: Moment) -> Judged:
    """NL503: passes in training mode without gradients, such as a validation without ``model.eval()``."""
    for part, passes in moment.total.blind_parts.items():
        if passes and (count := sum(holds(part, layer.found.names) for layer in keeping)):
            yield (
                "NL503",
                Evidence(
                    part,
                    f"{plural(passes, 'forward pass')} in training mode without gradients, beside"
                    f" {moment.total.parts[part]} with them, updated the statistics of {plural(count, 'layer')}",
                    figures={"passes": float(passes), "layers": float(count)},
                ),
            )


def _skipped(keeping: Sequence[WatchedLayer], moment: Moment) -> Judged:
    """NL504: batches of steps that mixed precision skipped."""
    total = moment.total
    if total.skipped:
        yield (
            "NL504",
            Evidence(
                "",
                f"{total.skipped} of {plural(total.steps + total.skipped, 'step')} were skipped, as gradients were not"
                f" finite, and their batches updated the statistics of {plural(len(keeping), 'layer')} all the same",
                figures={"skipped": float(total.skipped), "layers": float(len(keeping))},
                severity="warning" if total.skipped > 0.1 * (total.steps + total.skipped) else None,
            ),
        )


def _uneven(keeping: Sequence[WatchedLayer], moment: Moment) -> Judged:
    """NL505: more passes, or fewer, than the gradients of a step are summed over."""
    since = moment.since
    rounds = since.steps + since.skipped
    for part, passes in since.parts.items() if since.steps > 1 else ():
        count = sum(holds(part, layer.found.names) for layer in keeping)
        if count and round(passes / rounds) != moment.grad_accumulation:
            yield (
                "NL505",
                Evidence(
                    part,
                    f"{passes} forward passes in training mode in {rounds} steps, {passes / rounds:.2g} a step, and"
                    f" `grad_accumulation={moment.grad_accumulation}` was told: each pass updates the statistics of"
                    f" {plural(count, 'layer')}",
                    figures={"passes": float(passes), "steps": float(rounds)},
                ),
            )
