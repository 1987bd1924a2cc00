"""Rules on parameters that do nothing: NL106, NL108."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from normlab.diagnosis.case import SEED, Case
from normlab.diagnosis.spec import OUTPUTS, CannotTell, Evidence, Rule
from normlab.recognition.distance import distance
from normlab.recognition.inputs import run_model
from normlab.recognition.spec import FoundNorm
from normlab.tensors import tensors_of

if TYPE_CHECKING:
    from torch import Tensor, nn

CENTRING = ("batch", "sync-batch", "ghost", "instance")  # take the mean of each channel out
SAME = 1e-3  # relative difference of outputs that rounding may make


def wasted_bias(case: Case) -> Iterator[Evidence]:
    """Biases that can be shifted by a standard deviation of their layer's output without a change of the output."""
    before = case.training
    if before.error:
        return
    candidates = {norm.name: (norm, layer, name) for norm, layer, name in _biased(case)}
    if candidates and not any(tensor.is_floating_point() for tensor in before.tensors):
        raise CannotTell(OUTPUTS)
    proven = _without_effect(case, candidates)
    for norm, layer, name in (candidates[key] for key in proven):
        assert layer.bias is not None
        count = layer.bias.numel()
        text = (
            f"the {count} biases of {name} are taken out again with the mean: shifted by a standard deviation of their "
            f"channels, they move the model's output in training by less than {SAME:g} of its size"
        )
        beta = "" if norm.bias is None else "; beta does what its bias would do"
        mend = f"Make {name} with bias=False{beta}."
        yield Evidence(norm.name, text, mend, {"parameters": count, "moved": proven[norm.name]})


def _biased(case: Case) -> Iterator[tuple[FoundNorm, nn.Linear | nn.Conv2d, str]]:
    """Norms that centre each channel, with the layer before them, where that learns a bias for each channel."""
    from torch import nn

    for norm in case.of_kind(*CENTRING):
        uses = case.uses.get(norm.name, ())
        names = {use.before for use in uses}
        layer = case.modules.get(uses[0].before) if len(names) == 1 and uses[0].before else None
        if norm.frozen or not isinstance(layer, nn.Linear | nn.modules.conv._ConvNd) or layer.bias is None:
            continue
        if layer.bias.requires_grad and case.training.first(norm.name):
            yield norm, layer, uses[0].before  # type: ignore[misc]


def _without_effect(
    case: Case, candidates: Mapping[str, tuple[FoundNorm, nn.Linear | nn.Conv2d, str]]
) -> dict[str, float]:
    """Those whose bias does nothing, with the relative change; all at once, and by halves where that fails."""
    moved = _moved(case, list(candidates.values())) if candidates else 1.0
    if moved < SAME:
        return dict.fromkeys(candidates, moved)
    names = list(candidates)
    halves = (names[: len(names) // 2], names[len(names) // 2 :]) if len(names) > 1 else ()
    return {
        name: moved
        for half in halves
        for name, moved in _without_effect(case, {name: candidates[name] for name in half}).items()
    }


def _moved(case: Case, some: list[tuple[FoundNorm, nn.Linear | nn.Conv2d, str]]) -> float:
    """How far the output in training moves when biases are shifted."""
    import torch

    originals = [(layer.bias, layer.bias.detach().clone()) for _, layer, _ in some if layer.bias is not None]
    try:
        with torch.no_grad():
            for (norm, _, _), (bias, _) in zip(some, originals, strict=True):
                call = case.training.first(norm.name)
                assert call is not None
                bias += call.before.std(correction=0)
        after = case.run(training=True)
    finally:
        with torch.no_grad():
            for bias, original in originals:
                bias.copy_(original)
    pairs = zip(case.training.tensors, after.tensors, strict=False)
    return max((distance([other], [one]) for one, other in pairs if one.is_floating_point()), default=1.0)


def dead(case: Case) -> Iterator[Evidence]:
    """Norms whose gamma is 0 everywhere and that no gradient can wake."""
    zero = [
        (norm, gamma)
        for norm in case.of_kind()
        if (gamma := norm.weight) is not None
        and norm.name in case.uses
        and not (norm.affine.offset or _has_value(gamma))
    ]
    if not zero or case.training.error:
        return
    gammas = [gamma for _, gamma in zero]
    learning = [gamma for gamma in gammas if gamma.requires_grad]
    awake = _awake(case, learning) if learning else []
    if awake is None:
        raise CannotTell("outputs of the model that have a gradient")
    for norm, gamma in zero:
        if not any(gamma is one for one in awake):
            frozen = "" if gamma.requires_grad else " (it does not learn)"
            text = (
                f"all {gamma.numel()} values of gamma are 0 and no gradient reaches them{frozen}: it gives beta for "
                "every input, and stays so"
            )
            yield Evidence(norm.name, text, figures={"channels": gamma.numel(), "gradient": 0.0})


def _awake(case: Case, gammas: list[Tensor]) -> list[Tensor] | None:
    """Those that a gradient reaches, now or once others have moved that one reaches; None where the output has none."""
    awake: list[Tensor] = []
    while True:
        slopes = _slopes(case, gammas, awake)
        if slopes is None:
            return None
        known = {id(gamma) for gamma in awake}
        news = [gamma for gamma in gammas if slopes[id(gamma)] != 0 and id(gamma) not in known]
        if not news:
            return awake
        awake += news


def _slopes(case: Case, gammas: list[Tensor], begun: list[Tensor]) -> dict[int, float] | None:
    """The largest gradient of each, by identity, where some have begun to move; None where the output has none."""
    import torch

    with torch.enable_grad(), _begun(case.model, begun):
        torch.manual_seed(SEED)
        case.model.train()
        output = run_model(case.model, case.inputs)
        total = sum((_weighed(tensor) for tensor in tensors_of(output) if tensor.requires_grad), torch.zeros(()))
        if not total.requires_grad:
            return None
        slopes = torch.autograd.grad(total, gammas, allow_unused=True)
    return {
        id(gamma): 0.0 if slope is None else float(slope.abs().max())
        for gamma, slope in zip(gammas, slopes, strict=True)
    }


@contextmanager
def _begun(model: nn.Module, others: list[Tensor]) -> Iterator[None]:
    """Matrices that learn and begin at 0, as of a head, get small values, as after a step: gradients pass them then.

    Arguments:
        model: the model.
        others: further tensors that get such.
    """
    import torch

    zero: list[Tensor] = [
        one for one in model.parameters() if one.requires_grad and one.dim() > 1 and not one.detach().any()
    ]
    zero += others
    originals = [one.detach().clone() for one in zero]  # a zero may have a sign
    try:
        with torch.no_grad():
            for one in zero:
                one.normal_(std=0.02)
        yield
    finally:
        with torch.no_grad():
            for one, original in zip(zero, originals, strict=True):
                one.copy_(original)


def _has_value(gamma: Tensor) -> bool:
    return not gamma.numel() or bool(gamma.detach().any())  # of a shard without values nothing is known


def _weighed(tensor: Tensor) -> Tensor:
    import torch

    return (tensor * torch.randn_like(tensor)).sum()


RULES = (
    Rule(
        "NL106",
        "wasted-bias",
        "note",
        "a bias before a norm that takes it out again",
        "What is the same for a whole channel goes with the channel's mean. The bias costs memory, optimizer state and "
        "time, and weight decay moves it for nothing.",
        "Ioffe and Szegedy 2015, arXiv:1502.03167, section 3.2",
        "Make the layer with bias=False.",
        "nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64))  # bias=True is the default",
        wasted_bias,
        ("inputs",),
    ),
    Rule(
        "NL108",
        "dead-norm",
        "error",
        "a norm whose gamma is 0 and cannot learn",
        "A gamma of 0 at the end of a residual branch is a good start, for its gradient is not 0. Where none reaches "
        "it, the layer passes on a constant for ever.",
        "Goyal and others 2017, arXiv:1706.02677, section 5.1 (of zero-initialized gamma that learns)",
        "Begin with gamma = 1, nn.init.ones_(norm.weight), or let it learn behind a shortcut.",
        "nn.Sequential(nn.Linear(8, 8), norm := nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)); "
        "nn.init.zeros_(norm.weight)",
        dead,
        ("inputs",),
    ),
)
