"""Rules on options whose meaning is another than it seems: NL107, NL109, NL110."""

from __future__ import annotations

from collections.abc import Iterator

from normlab.diagnosis.case import Case
from normlab.diagnosis.measuring import batch_norms, first_calls, shape_text
from normlab.diagnosis.spec import Evidence, Rule
from normlab.norms.copying import unwatched
from normlab.recognition.distance import distance

LOUD, BRIEF = 0.01, 0.8  # the least share of eps in a mean square, and the least momentum that looks reversed
GAP = 0.05  # between the modes, as a share of the output
LARGE = 300.0  # whose square fp16 does not hold


def silent_eps(case: Case) -> Iterator[Evidence]:
    """RMSNorm with eps None: what torch adds then depends on the type of the input."""
    import torch

    for norm, call in first_calls(case, case.of_kind("rms")):
        dtype = case.amp or call.before.dtype
        if getattr(norm.module, "eps", 0.0) is None:
            eps = torch.finfo(dtype).eps
            square = float(call.before.double().square().mean(-1).median())
            share = eps / (eps + square)
            if share > LOUD or dtype in (torch.float16, torch.bfloat16):
                text = (
                    f"eps is None, which in {str(dtype).removeprefix('torch.')} means {eps:.1e}: {share:.1%} of what "
                    f"is under its root (the input's mean square is {square:.2g}); in float32 it would be 1.2e-07"
                )
                yield Evidence(norm.name, text, figures={"eps": eps, "share": share})
    yield from _half(case)


def _half(case: Case) -> Iterator[Evidence]:
    """Norms that sum squares in 16 bits."""
    import torch

    for norm, call in first_calls(case, case.of_kind("rms", "layer", "group", "layer2d", "instance")):
        dtype = case.amp or call.before.dtype
        if dtype is not torch.float16:
            continue
        large = call.before.double()
        large = (large / large.std(correction=0).clamp_min(1e-12) * LARGE).clamp(-6e4, 6e4)
        copy = unwatched(norm.module)
        exact = copy.double()(large)
        narrow = copy.half()(large.half()).double()
        apart = distance([narrow.nan_to_num(0.0)], [exact])
        if apart > GAP or not narrow.isfinite().all():
            text = f"in float16 an input of deviation {LARGE:.0f} comes out wrong by {apart:.0%}: its squares overflow"
            if case.amp:  # what it does on the user's GPU is not seen here
                text += "; under autocast GPUs take x.pow(2) in float32, but not x * x"
            mend = "Take the statistics in float32: x.float() before the square, back to x.dtype behind it."
            yield Evidence(norm.name, text, mend, {"apart": apart}, "warning" if case.amp else "error")


def tracking_instance(case: Case) -> Iterator[Evidence]:
    """InstanceNorm with running statistics normalizes each sample in training and by the average in evaluation."""
    for norm, call in first_calls(case, case.of_kind("instance")):
        if norm.running and not norm.frozen and call.before.dim() > 2:
            training, evaluation = (case.replay(norm, call.before, training=mode) for mode in (True, False))
            apart = distance([evaluation], [training])
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
        calls = case.training.calls.get(norm.name, ())
        if calls:
            copy = unwatched(norm.module).train()
            mean = copy.get_buffer(norm.running[0])
            mean.zero_()
            copy(calls[0].before)
            batch = calls[0].before.movedim(1, 0).flatten(1).mean(1)
            share = float((mean * batch).sum() / batch.square().sum().clamp_min(1e-30))
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
        "RMSNorm whose eps is torch's own choice, or norms that overflow in half types",
        "nn.RMSNorm has eps=None by default, which is the rounding of the input's type: 1.2e-7 in float32, 1e-3 in "
        "float16, 8e-3 in bfloat16. The same weights then compute something else in another type.",
        "https://docs.pytorch.org/docs/stable/generated/torch.nn.RMSNorm.html",
        "Say it: nn.RMSNorm(features, eps=1e-6).",
        "nn.Sequential(nn.Linear(8, 8), nn.RMSNorm(8)).bfloat16()  # eps=None",
        silent_eps,
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
