"""Rules about copies of a model: averaged ones, and encoders that follow another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from normlab.diagnosis.case import Case
from normlab.diagnosis.measuring import batch_norms, first_calls
from normlab.diagnosis.spec import Evidence, Rule
from normlab.diagnosis.statistics import is_initial, lag
from normlab.diagnosis.step import training_step
from normlab.diagnosis.twins import averages, twins
from normlab.recognition.distance import distance
from normlab.recognition.find import found_norms

if TYPE_CHECKING:
    from torch import nn

LARGE_LAG = 0.5  # of statistics, in standard deviations


def _stale(case: Case) -> Iterator[Evidence]:
    """Averages of weights without averages of statistics; EMA copies whose statistics never left their start."""
    from torch.optim.swa_utils import AveragedModel

    for name, module in case.model.named_modules():
        if isinstance(module, AveragedModel) and not module.use_buffers and int(module.n_averaged) > 1:
            yield from _averaged(case, name, int(module.n_averaged))
    averaged = averages(case.model)
    for learning, follows in twins(case.model):
        if follows in averaged:
            continue
        name = next(one for one, module in case.model.named_modules() if module is follows)
        sources = {norm.name: norm for norm in found_norms(learning)}
        stale = [
            norm
            for norm in found_norms(follows)
            if norm.running and is_initial(norm) and norm.name in sources and not is_initial(sources[norm.name])
        ]
        if stale:
            yield Evidence(
                name,
                f"{len(stale)} of its norms hold the statistics of a new layer (mean 0, variance 1), those of the part "
                "that it follows do not",
                figures={"layers": len(stale)},
            )
        elif case.knows("inputs"):
            yield from _behind(case, name, learning, follows)


def _behind(case: Case, name: str, learning: nn.Module, follows: nn.Module) -> Iterator[Evidence]:
    """Statistics of a copy that are not those of what comes in, where those of the part that it follows are."""
    inputs = case.entering(learning)
    if inputs is None:
        return
    names = {module: one for one, module in case.modules.items()}
    lags = []
    for part in (follows, learning):
        seen = case.run(training=False, inputs=inputs, part=part)
        norms = [
            norm for norm in batch_norms(case, evaluating=True) if norm.running and norm.module in set(part.modules())
        ]
        calls = first_calls(seen, norms)
        lags.append({norm.name.removeprefix(f"{names[part]}."): lag(norm, call.before) for norm, call in calls})
    late = {one: far for one, far in lags[0].items() if far > max(LARGE_LAG, 2 * lags[1].get(one, far))}
    if late:
        worst = max(late, key=late.__getitem__)
        yield Evidence(
            name,
            f"the statistics of {len(late)} of its norms are of other times: on the same inputs those of {worst!r} lie "
            f"{late[worst]:.3g} standard deviations off, and {lags[1][worst]:.3g} in the part that it follows",
            figures={"layers": len(late), "lag": late[worst]},
        )


def _averaged(case: Case, name: str, averages: int) -> Iterator[Evidence]:
    """Whether the statistics in an averaged model lag behind the given inputs; unsaid where they do not."""
    within = f"{name}." if name else ""
    layers = [norm for norm in batch_norms(case, evaluating=True) if norm.running and norm.name.startswith(within)]
    if not layers:
        return
    message = f"it averages {averages} sets of weights, and {len(layers)} norms keep the statistics of the last one"
    mend = "`AveragedModel(model, use_buffers=True)`, or `normlab.recalibrate(averaged, loader)` before evaluation."
    if not case.knows("inputs"):
        yield Evidence(name, message, mend, {"averages": averages, "layers": len(layers)}, "note")
        return
    lags = {norm.name: lag(norm, call.before) for norm, call in first_calls(case.evaluation, layers)}
    worst = max(lags, key=lags.__getitem__, default="")
    if lags and lags[worst] > LARGE_LAG:
        message += f"; those of {worst!r} lie {lags[worst]:.3g} standard deviations from the given inputs"
        yield Evidence(name, message, mend, {"averages": averages, "layers": len(layers), "lag": lags[worst]})


def _leaking(case: Case) -> Iterator[Evidence]:
    """A copy without gradients that normalizes by the batch: what a sample becomes depends on its neighbours."""
    pairs = list(twins(case.model))
    if not pairs:
        return
    moved = training_step(case.model, case.norms, case.inputs).moved
    for _, follows in pairs:
        name = next(one for one, module in case.model.named_modules() if module is follows)
        layers = [norm for norm in batch_norms(case) if norm.name.startswith(f"{name}.") and moved.get(norm.name)]
        changes = {norm.name: _by_neighbours(case, norm.name) for norm in layers}
        worst = max(changes, key=changes.__getitem__, default="")
        if changes and changes[worst] > 0:
            yield Evidence(
                name,
                f"it learns by following another part, and {len(layers)} of its norms take the batch's statistics: the"
                f" same samples come out of {worst!r} {changes[worst]:.0%} different with other neighbours",
                figures={"layers": len(layers), "change": changes[worst]},
            )


def _by_neighbours(case: Case, name: str) -> float:
    """How far the first half of what a norm got comes out different without the second half."""
    norm = next(one for one in case.norms if one.name == name)
    call = case.training.first(name)
    if call is None or (half := call.before.shape[0] // 2) < 2:
        return 0.0
    together = case.replay(norm, call.before, training=True)[:half]
    return distance([case.replay(norm, call.before[:half], training=True)], [together])


RULES = (
    Rule(
        "NL408",
        "stale-copy",
        "warning",
        "EMA and SWA copies whose weights are averaged and whose running statistics are not",
        "Averaged weights give other activations than the last ones; with statistics that belong to something else a "
        "copy can evaluate worse than what it averages.",
        "https://github.com/mosaicml/composer/issues/624; https://github.com/pytorch/ignite/issues/2590; Izmailov et "
        "al. 2018, arXiv:1803.05407",
        "Copy the buffers at each update, or re-estimate them: `normlab.recalibrate(copy, loader)`.",
        "averaged = AveragedModel(model)\naveraged.update_parameters(model)  # and no update_bn at the end",
        _stale,
    ),
    Rule(
        "NL410",
        "batch-statistics-leak",
        "note",
        "a momentum encoder that normalizes by its batch",
        "A contrastive loss can be lowered by telling from the batch's statistics which samples belong together, "
        "without learning what is in them.",
        "He et al. 2019, arXiv:1911.05722, section 3.3",
        "Shuffle the samples between devices, synchronize, or take a norm that does not depend on the batch: "
        "`normlab.swap(model, 'group')`. Methods without negatives, such as BYOL, live with it.",
        "loss = contrast(query_encoder(one_view), key_encoder(other_view).detach())  # BatchNorm in both",
        _leaking,
        ("inputs",),
    ),
)
