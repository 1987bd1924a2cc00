"""Rules about what evaluation, exports and hooks do with a norm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from normlab.diagnosis.case import Case
from normlab.diagnosis.measuring import group_call
from normlab.diagnosis.spec import OUTPUTS, CannotTell, Evidence, Rule
from normlab.diagnosis.step import training_step
from normlab.errors import describe_error
from normlab.recognition.distance import distance
from normlab.recognition.spec import FoundNorm

if TYPE_CHECKING:
    from torch import nn

SAMPLES, SPACE = 8, 4


def _untracked(case: Case) -> Iterator[Evidence]:
    """BatchNorm without running statistics: in evaluation mode too, an output depends on the other samples."""
    for norm in case.of_kind("batch", "sync-batch"):
        if norm.frozen or getattr(norm.module, "running_mean", 0) is not None or not norm.channels:
            continue
        if (changes := _by_neighbours(case, norm)) <= 0:
            continue
        message = (
            f"it keeps no running statistics: in evaluation mode too, the same 4 samples come out {changes:.0%} "
            "different beside 4 others, and an export has nothing to normalize by"
        )
        if (error := _of_one(case, norm)) is not None:
            message += f"; a single sample raises {describe_error(error)}"
        swap = group_call(norm, (SAMPLES, norm.channels, *[SPACE] * (norm.spatial or 0)))
        mend = f"Make it with track_running_stats=True; or take a norm that does not depend on the batch: {swap}."
        yield Evidence(norm.name, message, mend, {"change": changes})


def _by_neighbours(case: Case, norm: FoundNorm) -> float:
    import torch

    like = next(norm.module.parameters(), torch.empty(0))
    draw = torch.Generator().manual_seed(0)
    value = torch.randn(SAMPLES, norm.channels, *[SPACE] * (norm.spatial or 0), generator=draw)
    value = value.to(like.device, like.dtype)
    together = case.replay(norm, value, training=False)[: SAMPLES // 2]
    return distance([case.replay(norm, value[: SAMPLES // 2], training=False)], [together])


def _of_one(case: Case, norm: FoundNorm) -> Exception | None:
    """What a single sample without extent raises, as behind global pooling."""
    import torch

    like = next(norm.module.parameters(), torch.empty(0))
    try:
        case.replay(norm, like.new_ones(1, norm.channels, *[1] * (norm.spatial or 0)), training=False)
    except Exception as error:
        return error
    return None


def _hooked(case: Case) -> Iterator[Evidence]:
    """Activations in place behind norms with full backward hooks: a step raises, and one without them does not."""
    hooked = [norm for norm in case.norms if norm.module._backward_hooks or norm.module._backward_pre_hooks]
    if not hooked:
        return
    step = training_step(case.model, case.norms, case.inputs)
    if not step.has_outputs:
        raise CannotTell(OUTPUTS)
    error = step.error
    if error is None or "modified inplace" not in str(error):
        return
    with _out_of_place(case.model) as activations:
        mended = training_step(case.model, case.norms, case.inputs).error is None
    if mended and activations:
        yield Evidence(
            hooked[0].name,
            f"{len(hooked)} norms have full backward hooks and {len(activations)} activations work in place: a step "
            f"raises {describe_error(error)}; with `inplace=False` it does not",
            figures={"hooked": len(hooked), "activations": len(activations)},
        )


@contextmanager
def _out_of_place(model: nn.Module) -> Iterator[list[nn.Module]]:
    """Turns off `inplace` of all activations; gives those that had it on."""
    activations = [module for module in model.modules() if getattr(module, "inplace", False) is True]
    try:
        for module in activations:
            module.inplace = False  # type: ignore[assignment]
        yield activations
    finally:
        for module in activations:
            module.inplace = True  # type: ignore[assignment]


RULES = (
    Rule(
        "NL404",
        "no-running-statistics",
        "warning",
        "BatchNorm without running statistics, which evaluates by the batch",
        "What the model says of a sample depends on which others are asked with it; exports write a BatchNorm in "
        "training mode, or fail.",
        "https://github.com/pytorch/pytorch/issues/75252; https://github.com/microsoft/onnxscript/issues/1791",
        "Make it with track_running_stats=True; or take a norm that does not depend on the batch: "
        "`normlab.swap(model, 'group')`.",
        "nn.BatchNorm2d(64, track_running_stats=False)",
        _untracked,
    ),
    Rule(
        "NL411",
        "in-place-behind-hooked-norm",
        "error",
        "activations in place behind norms with full backward hooks",
        "A full backward hook makes the norm's output a view that must not be written to; per-sample gradients and "
        "attribution tools set such hooks.",
        "https://github.com/pytorch/opacus/issues/828",
        "Set `inplace=False` on the activations.",
        "norm.register_full_backward_hook(hook)  # and nn.ReLU(inplace=True) behind it",
        _hooked,
        ("inputs",),
    ),
)
