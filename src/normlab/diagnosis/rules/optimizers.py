"""Rules about what the optimizer does with gamma and beta."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from copy import copy, deepcopy
from math import isfinite
from typing import TYPE_CHECKING, Any

from normlab.diagnosis.case import Case
from normlab.diagnosis.spec import Evidence, Rule
from normlab.tables import plural

if TYPE_CHECKING:
    from torch import Tensor

STEPS = 1000
SHRINKS = 0.01  # in 1000 steps; a weaker decay does nothing that could be seen


def _decayed(case: Case) -> Iterator[Evidence]:
    """Groups with weight decay that hold gammas or betas; gammas that stand as 1 + weight are pulled to 1."""
    gammas = {id(norm.weight): norm for norm in case.norms if norm.weight is not None}
    betas = {id(norm.bias) for norm in case.norms if norm.bias is not None}
    tried: dict[str, float | None] = {}
    for number, group in enumerate(case.optimizer.param_groups):
        decay, rate = group.get("weight_decay", 0) or 0, group.get("lr", 0)
        held = [value for value in group["params"] if value.requires_grad]
        found = [gammas[id(value)] for value in held if id(value) in gammas]
        shrunk = sum(norm.affine.offset == 0 for norm in found)
        beta_count = sum(id(value) in betas for value in held)
        if not shrunk + beta_count:
            continue
        if not rate or not decay:
            continue
        key = repr({name: value for name, value in group.items() if name != "params"})
        if key not in tried:
            tried[key] = _shrinkage(case.optimizer, group)
        shrinks = tried[key]
        message = (
            f"group {number} of the optimizer decays {plural(shrunk, 'gamma')} and {plural(beta_count, 'beta')} with "
            f"rate {float(rate):.3g} and weight_decay {float(decay):.3g}"
        )
        figures = {"gammas": float(shrunk), "betas": float(beta_count)}
        if shrinks is None:
            yield Evidence("", message, figures=figures)
        elif shrinks > SHRINKS:
            steps = f"{STEPS} steps of {type(case.optimizer).__name__} without a gradient"
            message += f": {steps} leave {1 - shrinks:.3g} of 1"
            yield Evidence("", message, figures=figures | {"shrinks": shrinks})


def _shrinkage(optimizer: Any, group: Mapping[str, Any]) -> float | None:
    """What steps of the optimizer without a gradient take from a 1, tried on a number of its own; None if it raises.

    Decay is part of the gradient in Adam and SGD, where moments enlarge it, and beside the gradient in AdamW.
    """
    import torch

    device = group["params"][0].device
    number = torch.ones(1, device="cpu" if device.type == "meta" else device, requires_grad=True)
    trial = copy(optimizer)  # its class makes the steps: a scheduler puts a function of its own on the optimizer
    trial.param_groups, trial.state = [{**deepcopy(dict(group, params=())), "params": [number]}], defaultdict(dict)
    trial._optimizer_step_pre_hooks, trial._optimizer_step_post_hooks = OrderedDict(), OrderedDict()
    try:
        for _ in range(STEPS):
            number.grad = torch.zeros_like(number)
            type(optimizer).step(trial)
    except Exception:
        return None
    left = float(number.detach())
    return 1 - left if isfinite(left) else None


def _lost(case: Case) -> Iterator[Evidence]:
    """Parameters that are in the optimizer and not in the model, and norms that are in the model alone."""
    in_model = {id(parameter) for parameter in case.model.parameters()}
    in_optimizer = {id(value): value for group in case.optimizer.param_groups for value in group["params"]}
    strangers = [value for key, value in in_optimizer.items() if key not in in_model]
    shapes = Counter(tuple(value.shape) for value in strangers)
    for norm in case.norms:
        own = norm.module.parameters(recurse=False)
        if missing := [value for value in own if value.requires_grad and id(value) not in in_optimizer]:
            yield from _missing(case, norm.name, missing, shapes, in_optimizer)
    if strangers and not any(id(value) in in_model for value in in_optimizer.values()):
        yield Evidence(
            "",
            f"none of the {len(strangers)} parameters in the optimizer is the model's",
            "Make the optimizer from `model.parameters()`, after the last change to the model.",
            {"strangers": len(strangers)},
            "error",
        )


def _missing(
    case: Case,
    name: str,
    missing: Sequence[Tensor],
    strangers: Counter[tuple[int, ...]],
    in_optimizer: Mapping[int, Tensor],
) -> Iterator[Evidence]:
    """Parameters of one norm that learn and that the optimizer does not hold.

    Arguments:
        case: the case.
        name: of the norm.
        missing: the parameters.
        strangers: the shapes of what the optimizer holds in their place; those that fit are taken out.
        in_optimizer: all that it holds, by identity.
    """
    count, size = len(missing), sum(value.numel() for value in missing)
    said = f"{count} of its parameters ({size} values) learn, but the optimizer does not hold them"
    figures = {"missing": count, "values": size}
    if replaced := [shape for value in missing if strangers[shape := tuple(value.shape)] > 0]:
        strangers.subtract(replaced)
        text = f"{said}; it holds {len(replaced)} of the same shapes that are no longer the model's"
        yield Evidence(name, text, figures={**figures, "strangers": len(replaced)}, severity="error")
    elif _held_beside(case, name, in_optimizer):
        if all(value.dim() > 1 for value in in_optimizer.values()):  # as Muon has it
            mend = "See that another optimizer holds them."
            yield Evidence(name, f"{said}; it holds matrices alone", mend, figures, "note")
        else:
            yield Evidence(name, f"{said}, though it holds those of the layers beside it", figures=figures)


def _held_beside(case: Case, name: str, in_optimizer: Container[int]) -> bool:
    """Whether the optimizer holds all other parameters of the module that the norm is in."""
    parent = case.modules.get(name.rpartition(".")[0])
    norms = {id(value) for norm in case.norms for value in norm.module.parameters()}
    others = [value for value in parent.parameters() if id(value) not in norms] if parent is not None else []
    learning = [value for value in others if value.requires_grad]
    return bool(learning) and all(id(value) in in_optimizer for value in learning)


RULES = (
    Rule(
        "NL306",
        "decayed-affine",
        "note",
        "weight decay on gamma and beta",
        "Behind a norm the size of the weights does not matter, so that decay sets their effective rate; gamma and "
        "beta have a meaning of their own, and decay takes signal away. Most recipes leave them out.",
        "He et al. 2018, arXiv:1812.01187; https://github.com/karpathy/minGPT/pull/24",
        "Put parameters with fewer than two axes into a group with `weight_decay=0`.",
        "torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)",
        _decayed,
        ("optimizer",),
    ),
    Rule(
        "NL307",
        "optimizer-misses-norms",
        "warning",
        "an optimizer that holds parameters of replaced layers, or misses norms of the model",
        "An optimizer made before layers were swapped goes on training the old ones; the new gammas and betas stay at "
        "their initial values for ever, silently.",
        "https://github.com/mosaicml/composer/issues/553",
        "Give the optimizer to the swap: `normlab.swap(model, to, optimizer=optimizer)`; or make it afterwards.",
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\nmodel.norm = nn.GroupNorm(8, 64)  # not in it",
        _lost,
        ("optimizer",),
    ),
)
