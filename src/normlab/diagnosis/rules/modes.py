"""Rules about training mode, evaluation mode and freezing."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from normlab.diagnosis.case import Case
from normlab.diagnosis.measuring import batch_norms, first_calls
from normlab.diagnosis.rules.stored import trained
from normlab.diagnosis.spec import Evidence, Rule
from normlab.diagnosis.statistics import is_initial, lag
from normlab.diagnosis.step import evaluated, training_step
from normlab.diagnosis.twins import averages, twins
from normlab.recognition.distance import distance
from normlab.recognition.spec import FoundNorm

LARGE_GAP = 0.1  # of the outputs, relative
LARGE_LAG = 0.5  # in standard deviations
INITIAL_SHARE = 0.1  # of the initial values in running statistics


def _gap_between_modes(case: Case) -> Iterator[Evidence]:
    """The gap that norms alone make, where their statistics are not those of a new layer and lag beyond chance."""
    layers = [norm for norm in batch_norms(case) if norm.running and not is_initial(norm)]
    if not layers or case.evaluation.error is not None:
        return
    difference = distance(evaluated(case.model, case.inputs), evaluated(case.model, case.inputs, training=layers))
    lags = {norm.name: lag(norm, call.before) for norm, call in first_calls(case.evaluation, layers)}
    worst = max(lags, key=lags.__getitem__, default="")
    shares = [share for norm in layers if (share := _initial_share(norm)) > INITIAL_SHARE]
    if not LARGE_GAP <= difference < inf or not lags or not (lags[worst] > LARGE_LAG or shares):
        return
    message = (
        f"at the given inputs the outputs of evaluation mode lie {difference:.0%} from those by batch statistics, "
        f"dropout off in both: the running statistics of {worst!r} are {lags[worst]:.3g} standard deviations away"
    )
    if shares:
        message += f"; {len(shares)} of {len(layers)} layers still hold up to {max(shares):.0%} of their initial values"
    mend = "" if case.loader is not None else "First make sure that the inputs are real, preprocessed data. "
    yield Evidence(
        "",
        message,
        f"{mend}Re-estimate: `normlab.recalibrate(model, loader)`." if mend else "",
        {"gap": difference, "lag": lags[worst], "initial_share": max(shares, default=0.0)},
        None if case.loader is None else "warning",
    )


def _initial_share(norm: FoundNorm) -> float:
    """How much of its initial values is still in the averages of a learned layer after the batches that they saw."""
    batches, momentum = getattr(norm.module, "num_batches_tracked", None), norm.momentum
    learned = trained(norm.weight, norm.bias)
    if not learned or batches is None or not momentum or not int(batches) or momentum >= 1:
        return 0.0
    return float((1 - momentum) ** int(batches))


def _drifting(case: Case) -> Iterator[Evidence]:
    """Layers that somebody froze, by their parameters or their mode, and that a pass in training mode moves."""
    if all(not parameter.requires_grad for parameter in case.model.parameters()) and not case.model.training:
        return  # nobody trains it
    if case.model in averages(case.model):
        return
    came_in_training = case.model.training
    targets = {id(module) for _, frozen in twins(case.model) for module in frozen.modules()}
    modes = {norm.name: norm.module.training for norm in case.norms}
    step = training_step(case.model, case.norms, case.inputs)
    for norm in batch_norms(case):
        moved = step.moved.get(norm.name, 0.0)
        if not moved or id(norm.module) in targets:
            continue
        parameters = list(norm.module.parameters())
        by_parameters = bool(parameters) and not any(parameter.requires_grad for parameter in parameters)
        by_mode = came_in_training and not modes[norm.name]
        if by_parameters or by_mode:
            how = "its parameters do not learn" if by_parameters else "it is in evaluation mode while the model trains"
            yield Evidence(
                norm.name,
                f"{how}, but after `model.train()` one forward pass moved its running statistics by {100 * moved:.2g}%",
                figures={"moved": moved},
            )


def _half_frozen(case: Case) -> Iterator[Evidence]:
    """Statistics that stand while gamma and beta learn, or only one of gamma and beta that learns."""
    if not case.model.training:
        return
    for norm in case.norms:
        learns = {
            what: value.requires_grad
            for what, value in (("gamma", norm.weight), ("beta", norm.bias))
            if value is not None
        }
        if len(set(learns.values())) > 1:
            moving = next(what for what, does in learns.items() if does)
            still = next(what for what, does in learns.items() if not does)
            yield Evidence(norm.name, f"{moving} learns and {still} does not", figures={})
        elif norm.running and not norm.frozen and not norm.module.training and any(learns.values()):
            sizes = [value.numel() for value in (norm.weight, norm.bias) if value is not None]
            yield Evidence(
                norm.name,
                f"its statistics stand, and {sum(sizes)} values of {' and '.join(learns)} learn",
                figures={"values": float(sum(sizes))},
            )


RULES = (
    Rule(
        "NL301",
        "train-eval-gap",
        "note",
        "running statistics that lag behind, so that evaluation computes something else than training",
        "In evaluation BatchNorm takes its running statistics; where they are not those of the data, what was trained "
        "is not what is evaluated.",
        "https://github.com/pytorch/pytorch/issues/4741; Wu and Johnson 2021, arXiv:2105.07576",
        "Re-estimate the statistics: `normlab.recalibrate(model, loader)`; or take a norm without them: "
        "`normlab.swap(model, 'group')`.",
        "model.train()\nfor batch in few_batches:  # the running averages have not arrived\n    step(model, batch)\n"
        "model.eval()",
        _gap_between_modes,
        ("inputs",),
    ),
    Rule(
        "NL304",
        "frozen-norm-drifts",
        "warning",
        "frozen layers whose running statistics move in training mode",
        "`requires_grad_(False)` does not stop running statistics, and the next `model.train()` takes back a layer's "
        "`eval()`; the features that were to stay fixed drift.",
        "https://github.com/Lightning-AI/pytorch-lightning/pull/15063; "
        "https://github.com/ultralytics/ultralytics/pull/8753",
        "Freeze the part in a way that survives `.train()`: `part, report = normlab.freeze(part)`.",
        "for parameter in model.backbone.parameters():\n    parameter.requires_grad_(False)\nmodel.train()",
        _drifting,
        ("inputs",),
    ),
    Rule(
        "NL308",
        "half-frozen-norm",
        "note",
        "norms of which a part learns and a part stands still",
        "With fixed statistics gamma and beta are a free scale and shift that nothing normalizes; that is seldom what "
        "'frozen' was to mean.",
        "https://github.com/open-mmlab/mmdetection/issues/453",
        "Freeze all of it: `part, report = normlab.freeze(part, affine=True)`; or let all of it learn: "
        "`layer.train()` and `requires_grad_(True)`.",
        "model.train()\nmodel.norm.eval()  # gamma and beta still learn",
        _half_frozen,
    ),
)
