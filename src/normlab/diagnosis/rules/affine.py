"""Rules about the values that gamma took."""

from __future__ import annotations

from collections.abc import Iterator

from normlab.diagnosis.case import Case
from normlab.diagnosis.measuring import with_numbers
from normlab.diagnosis.rules.stored import trained
from normlab.diagnosis.spec import Evidence, Rule

TINY, EXTREME = 1e-4, 100.0  # relative to the median of a layer's gammas
FEW = 8  # channels, below which a median says little


def _extremes(case: Case) -> Iterator[Evidence]:
    """Channels of learned norms whose gamma is a ten-thousandth of the usual one, or a hundred times as large."""
    for norm in with_numbers(case):
        weight, bias = norm.weight, norm.bias
        if weight is None or weight.numel() < FEW or not (trained(weight, bias) or (bias is None and _varied(weight))):
            continue
        gamma = (weight.detach().double() + norm.affine.offset).abs().flatten()
        if not gamma.isfinite().all():
            continue
        usual, name = float(gamma.median()), "median"
        if not usual:
            usual, name = float(gamma.max()), "largest"
        dead, extreme = int((gamma < TINY * usual).sum()), int((gamma > EXTREME * usual).sum())
        count = gamma.numel()
        if dead:
            yield Evidence(
                norm.name,
                f"{dead} of {count} channels are dead: |gamma| is below a ten-thousandth of the {name}, {usual:.3g}, "
                "so that they give beta whatever comes in",
                figures={"dead": dead, "channels": count, "share": dead / count},
                severity="warning" if dead > count / 2 else None,
            )
        if extreme:
            yield Evidence(
                norm.name,
                f"{extreme} of {count} gammas are more than {EXTREME:g} times the layer's median, {usual:.3g}, up to "
                f"{float(gamma.max()):.3g}",
                "Look at these channels before 8-bit or fp16 inference: they set the range of all others.",
                {"extreme": extreme, "channels": count, "largest": float(gamma.max())},
            )


def _varied(weight: object) -> bool:
    import torch

    assert isinstance(weight, torch.Tensor)
    return float(weight.detach().double().std()) > 0.05  # beyond what a draw at random around 1 starts with


RULES = (
    Rule(
        "NL311",
        "extreme-gamma",
        "note",
        "channels that gamma has switched off, or that it lets outshine all others",
        "A channel whose gamma is next to 0 costs its time and says nothing, and little gradient brings it back; one "
        "that is a hundred times larger sets the range of 16-bit and 8-bit numbers.",
        "Liu et al. 2017, arXiv:1708.06519; Frankle et al. 2021, arXiv:2003.00152",
        "Prune dead channels, or keep weight decay off gamma and try again.",
        "torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-2)  # gamma decays to 0",
        _extremes,
    ),
)
