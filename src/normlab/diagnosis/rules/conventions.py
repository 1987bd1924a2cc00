"""Rules on options whose meaning is another than it seems: NL107, NL109, NL110."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING

from normlab.diagnosis.case import SEED, Case
from normlab.diagnosis.measuring import batch_norms, first_calls, shape_text
from normlab.diagnosis.spec import Evidence, Rule, Severity
from normlab.norms.copying import unwatched
from normlab.recognition.distance import distance
from normlab.recognition.spec import FoundNorm

if TYPE_CHECKING:
    from torch import Tensor

BRIEF = 0.8  # the least momentum that looks reversed
GAP = 0.05  # between two outputs, as a share of one
USUAL_EPS = (1e-6, 1e-5)  # of RMSNorm in model code
QUIET = 3e-4  # a value whose square is less than any eps but float64's, and that float16 holds
LITTLE = 0.01  # mean square of the output of a norm, which is 1 of all but constants
LARGE, NARROW = 300.0, 256.0  # a value whose square fp16 does not hold, and from where on it does not


def eps_and_half_types(case: Case) -> Iterator[Evidence]:
    """What norms add and square, in the types in which they get their inputs: under autocast where `amp` says so."""
    import torch

    seen = case.training if case.mixed.error else case.mixed
    for norm, call in first_calls(seen, case.of_kind("rms")):
        if getattr(norm.module, "eps", 0.0) is None:
            yield from _silent_eps(case, norm, call.before)
    for norm, call in first_calls(seen, case.of_kind("rms", "layer", "group", "layer2d", "instance")):
        if call.before.dtype is torch.float16:
            yield from _overflowing(case, norm, call.before)


def _silent_eps(case: Case, norm: FoundNorm, before: Tensor) -> Iterator[Evidence]:
    """RMSNorm with eps None, on inputs so small that another implementation's eps gives another output."""
    ours = case.replay(norm, before, training=True, plain=True, mixed=True)
    usual = [_with_eps(case, norm, before, eps) for eps in USUAL_EPS]
    moved = [distance([other], [ours]) for other in usual]
    if not moved[0] > GAP:
        return
    same = before.new_full(before.shape, QUIET)
    after = case.replay(norm, same, training=True, plain=True, mixed=True)
    quiet = float(same.double().square().mean())
    added = quiet / float(after.double().square().mean()) - quiet
    square = float(before.double().square().mean(-1).median())
    text = (
        f"eps is None, for which torch adds {added:.1e} to the mean square of its "
        f"{str(before.dtype).removeprefix('torch.')} input, {square:.1e} in the median; with eps=1e-6 its output would "
        f"differ by {moved[0]:.0%}, with eps=1e-5 by {moved[1]:.0%}"
    )
    yield Evidence(norm.name, text, figures={"eps": added, "square": square, "moved": moved[0]})


def _with_eps(case: Case, norm: FoundNorm, before: Tensor, eps: float) -> Tensor:
    copy = unwatched(norm.module)
    copy.eps = eps  # type: ignore[assignment]
    return case.replay(replace(norm, module=copy), before, training=True, plain=True, mixed=True)


def _overflowing(case: Case, norm: FoundNorm, before: Tensor) -> Iterator[Evidence]:
    """A norm that sums squares in float16: tried on what came in, and on an input that is larger."""
    import torch

    largest = float(before.abs().max())
    apart = _off(case, norm, before) if largest > NARROW else 0.0
    severity: Severity = "error"
    text = f"in float16 its input of up to {largest:.3g} comes out wrong by {apart:.0%}: its squares overflow"
    if apart <= GAP:
        draw = torch.Generator().manual_seed(SEED)
        apart = _off(case, norm, (LARGE * torch.randn(before.shape, generator=draw)).to(before))
        text = f"in float16 an input of deviation {LARGE:.0f} comes out wrong by {apart:.0%}: its squares overflow"
        severity = "warning"
    if apart > GAP:
        if case.amp:  # what it does on the user's GPU is not seen here
            text += "; under autocast GPUs take x.pow(2) in float32, but not x * x"
            severity = "warning"
        mend = "Take the statistics in float32: x.float() before the square, back to x.dtype behind it."
        yield Evidence(norm.name, text, mend, {"apart": apart}, severity)


def _off(case: Case, norm: FoundNorm, before: Tensor) -> float:
    """How far what a norm makes of a tensor is from what it makes of the same one in float32; 0 of constants."""
    wide = replace(norm, module=unwatched(norm.module).float())
    exact = case.replay(wide, before.float(), training=True, plain=True)
    if float(exact.square().mean()) < LITTLE:
        return 0.0
    narrow = case.replay(norm, before, training=True, plain=True, mixed=True).float()
    return distance([narrow.nan_to_num(0.0, 0.0, 0.0)], [exact])


def tracking_instance(case: Case) -> Iterator[Evidence]:
    """InstanceNorm with running statistics normalizes each sample in training and by the average in evaluation."""
    for norm, call in first_calls(case.training, case.of_kind("instance")):
        if norm.running and not norm.frozen and call.before.dim() > 2:
            training, evaluation = (case.replay(norm, call.before, training=mode) for mode in (True, False))
            apart = distance([training], [evaluation])  # of a constant training makes 0
            text = (
                "it keeps running statistics, so evaluation normalizes all samples by the same mean and variance, as "
                f"BatchNorm does: on the same {shape_text(call.before.shape)} input the modes differ by {apart:.0%}"
            )
            if apart > GAP:
                yield Evidence(norm.name, text, figures={"apart": apart})


def reversed_momentum(case: Case) -> Iterator[Evidence]:
    """A momentum that makes a running statistic forget all but the last batch."""
    for norm in batch_norms(case):
        momentum = norm.momentum
        if not norm.running or momentum is None or not BRIEF <= momentum < 1:
            continue
        left = f"after one batch {momentum:.1%} of the running mean is that batch's, {1 - momentum:.1%} is what it was"
        figures = {"momentum": momentum}
        if call := case.training.first(norm.name):
            copy = unwatched(norm.module).double().train()  # means may be next to 0
            mean = copy.get_buffer(norm.running[0])
            mean.zero_()
            copy(call.before.double())
            batch = call.before.double().movedim(1, 0).flatten(1).mean(1)
            share = float((mean * batch).sum() / batch.square().sum())
            if isfinite(share):  # no mean of zeros, none that overflows
                figures["measured"] = share
                left = f"one batch of these inputs makes up {share:.1%} of the running mean"
        text = f"momentum is {momentum:g}: {left}; in TensorFlow's convention it means the opposite"
        mend = f"Where {momentum:g} is TensorFlow's: momentum={1 - momentum:.3g}."
        yield Evidence(norm.name, text, mend, figures)


RULES = (
    Rule(
        "NL107",
        "eps-and-half-types",
        "warning",
        "RMSNorm whose eps is torch's own choice on small inputs, or norms that overflow in float16",
        "nn.RMSNorm has eps=None by default, for which torch adds the rounding of the type that it reckons in: 1.2e-7, "
        "in half types too, where before version 2.7 it was 1e-3 and 8e-3; in float64 2e-16. Model code and other "
        "engines mostly mean 1e-6 or 1e-5: of small inputs the same weights make something else there.",
        "https://github.com/pytorch/pytorch/pull/142848",
        "Say the eps that the weights are used with everywhere: nn.RMSNorm(features, eps=1e-6).",
        "nn.Sequential(nn.Embedding(1000, 64).apply(lambda e: nn.init.normal_(e.weight, std=1e-3)), nn.RMSNorm(64))",
        eps_and_half_types,
        ("inputs",),
    ),
    Rule(
        "NL109",
        "instance-norm-tracks",
        "warning",
        "InstanceNorm with running statistics is another function in evaluation",
        "With track_running_stats=True it normalizes by the sample in training and by averages over samples in "
        "evaluation. The very thing that it is used for, taking the style of a sample out, is then gone.",
        "https://github.com/pytorch/pytorch/issues/58843",
        "Make it with track_running_stats=False, the default.",
        "nn.Sequential(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, track_running_stats=True))",
        tracking_instance,
        ("inputs",),
    ),
    Rule(
        "NL110",
        "reversed-momentum",
        "warning",
        "a momentum that looks like TensorFlow's",
        "Torch's momentum is the share of the new batch, TensorFlow's the share of what is kept: 0.99 there is 0.01 "
        "here. Copied as it is, evaluation uses the statistics of the last batch alone.",
        "https://github.com/pytorch/examples/issues/289",
        "Give 1 minus TensorFlow's momentum.",
        "nn.BatchNorm2d(64, momentum=0.99)",
        reversed_momentum,
    ),
)
