"""Rules on axes and the order of memory: NL103, NL104, NL105."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from normlab.diagnosis.case import Case
from normlab.diagnosis.measuring import batch_norms, first_calls, shape_text, swap_call
from normlab.diagnosis.spec import Evidence, Rule
from normlab.recognition.distance import distance
from normlab.recognition.spec import FoundNorm

if TYPE_CHECKING:
    from torch import Tensor, nn

PADDED, MOVED = 0.05, 0.05  # the least share of padding, and by how many deviations of a channel it moves the mean
CHANNELS_FIRST = ("batch", "sync-batch", "instance", "group")


def wrong_axes(case: Case) -> Iterator[Evidence]:
    """Norms that take another axis for the channels than the layer before them makes."""
    yield from _stopped(case)
    for norm, call in first_calls(case.training, case.norms):
        shape = tuple(call.before.shape)
        made = _features_axis(_before(case, norm), len(shape))
        if norm.kind == "instance" and len(shape) == 2 and not _is_convolution(_before(case, norm)):
            yield _unbatched(case, norm, call.before)
        elif norm.kind in CHANNELS_FIRST and len(shape) == 3 and made == 2:
            text = (
                f"its {shape_text(shape)} input has the features of {_uses(case, norm)} on the last axis, and it takes "
                f"the {shape[1]} positions for channels: {_spread(case, norm, call.before, 2)}"
            )
            mend = "Move the features to axis 1 around it (x.transpose(1, 2)), or use LayerNorm on the last axis."
            yield Evidence(norm.name, text, mend, {"positions": shape[1], "features": shape[2]})
        elif norm.kind in ("layer", "rms") and norm.order != "all" and len(shape) > 2 and made == 1:
            features = getattr(norm.module, "normalized_shape", (0,))
            if len(features) == 1:
                apart = _from_channels(case, norm, call.before)
                text = (
                    f"its {shape_text(shape)} input has the {shape[1]} channels of {_uses(case, norm)} on axis 1, and "
                    f"it takes statistics along the last axis, which is space: over the channels it would make "
                    f"something that differs by {apart:.0%}"
                )
                mend = f"Over the channels: {swap_call(norm, 'layer2d', traced=True)}"
                figures = {"channels": shape[1], "width": shape[-1], "apart": apart}
                is_image = len(shape) == 3 or shape[-1] == shape[-2]  # the last axis of a spectrogram may be meant
                yield Evidence(norm.name, text, mend, figures, None if is_image else "note")
    yield from _padding(case)


def _stopped(case: Case) -> Iterator[Evidence]:
    """A norm that raises, because the features that it was made for are on the last axis and not on axis 1."""
    if not case.training.stopped:
        return
    name, before = case.training.stopped
    norm = next(norm for norm in case.norms if norm.name == name)
    shape = tuple(before.shape)
    if norm.kind not in CHANNELS_FIRST or len(shape) < 3 or not norm.channels or shape[1] == norm.channels:
        return
    if shape[-1] == norm.channels:
        text = f"it wants its {norm.channels} channels on axis 1, and they are on the last one of {shape_text(shape)}"
        mend = "Move the features to axis 1 around it (x.transpose(1, 2)), or use LayerNorm on the last axis."
        figures = {"channels": norm.channels, "axis_1": shape[1]}
        yield Evidence(name, f"{text}: it raises {type(case.training.error).__name__}", mend, figures, "error")


def _unbatched(case: Case, norm: FoundNorm, before: Tensor) -> Evidence:
    after = case.replay(norm, before, training=True, plain=True).double()
    mean = float(after.mean(1).abs().max())
    text = (
        f"it takes a {shape_text(before.shape)} batch for one sample of {before.shape[0]} channels and "
        f"{before.shape[1]} positions: each sample is normalized over its features (their means are at most "
        f"{mean:.1e}), as LayerNorm does"
    )
    return Evidence(norm.name, text, swap_call(norm, "layer"), {"mean": mean})


def _before(case: Case, norm: FoundNorm) -> nn.Module | None:
    return case.modules.get(name) if (name := _uses(case, norm)) else None


def _uses(case: Case, norm: FoundNorm) -> str:
    """The name of the layer whose output comes in, also through activations and dropout of one call each."""
    name = case.uses[norm.name][0].before if norm.name in case.uses else ""
    while isinstance(case.modules.get(name), _elementwise()) and len(case.uses[name]) == 1:
        name = case.uses[name][0].before
    return name


def _elementwise() -> tuple[type[nn.Module], ...]:
    from torch import nn

    rectifiers = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.Softplus)
    return (*rectifiers, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Tanh, nn.Sigmoid, nn.Identity, nn.Dropout)


def _features_axis(layer: nn.Module | None, axes: int) -> int | None:
    """The axis on which a layer puts its features, where that can be told."""
    from torch import nn

    if isinstance(layer, nn.Linear | nn.Embedding):
        return axes - 1
    return 1 if _is_convolution(layer) else None


def _is_convolution(layer: nn.Module | None) -> bool:
    from torch import nn

    return isinstance(layer, nn.modules.conv._ConvNd)


def _spread(case: Case, norm: FoundNorm, before: Tensor, features: int) -> str:
    """How far the means of the true features lie apart after it, in words."""
    after = case.replay(norm, before, training=True, plain=True).double()
    means = after.movedim(features, 0).flatten(1).mean(1)
    return f"the means of the features still lie {float(means.std(correction=0)):.2g} apart behind it"


def _from_channels(case: Case, norm: FoundNorm, before: Tensor) -> float:
    """How far a norm along the last axis is from the same one over the channels of axis 1."""
    return distance([case.replay(norm, before, training=True, plain=True)], [_over_channels(norm, before)])


def _over_channels(norm: FoundNorm, before: Tensor) -> Tensor:
    """A norm without gamma and beta over the channels of each position, which are on axis 1."""
    from torch.nn import functional

    over = functional.rms_norm if norm.kind == "rms" else functional.layer_norm
    return over(before.movedim(1, -1), (before.shape[1],), eps=norm.eps or 1e-5).movedim(-1, 1)


def _padding(case: Case) -> Iterator[Evidence]:
    """Batch statistics that padded positions are part of."""
    real = _real_positions(case)
    if real is None:
        return
    share = 1 - float(real.double().mean())
    for norm, call in first_calls(case.training, batch_norms(case)):
        before = call.before.double()
        if before.dim() != 3 or before.shape[0] != real.shape[0] or before.shape[2] != real.shape[1]:
            continue
        kept = before.transpose(1, 2)[real]
        every = before.transpose(1, 2).flatten(0, 1)
        deviations = (kept.var(0, correction=0) + (norm.eps or 1e-5)).sqrt()  # what the layer divides by
        moved = (every.mean(0) - kept.mean(0)).abs() / deviations
        worst = float(moved.max())
        if worst > MOVED:
            text = (
                f"{share:.0%} of the positions in its batch are padding, which moves the mean of a channel by up to "
                f"{worst:.2f} of its standard deviation: statistics depend on how long the other samples are"
            )
            alone = swap_call(norm, "layer2d", traced=True)
            mend = f"Normalize each position by itself, {alone}, or leave padded positions out."
            yield Evidence(norm.name, text, mend, {"padded": share, "moved": worst})


def _real_positions(case: Case) -> Tensor | None:
    """Which positions of which sample are no padding: a mask says it, the number of an embedding for it, or zeros."""
    import torch

    inputs: Any = case.inputs
    known = (getattr(module, "padding_idx", None) for module in case.modules.values())
    fillers = {number for number in known if number is not None}
    named = inputs if isinstance(inputs, Mapping) else dict(enumerate(inputs))
    for name, value in named.items():
        if not isinstance(value, torch.Tensor) or value.is_nested or value.dim() not in (2, 3):
            continue
        is_mask = value.dim() == 2 and (value.dtype is torch.bool or "attention_mask" in str(name))
        if is_mask:
            real = value.bool()
            real = real if bool(real[:, 0].all()) else ~real  # torch's key_padding_mask marks the padding
        elif value.dim() == 2 and not value.is_floating_point() and len(fillers) == 1:
            real = value.ne(next(iter(fillers)))
        elif value.dim() == 3:
            axis = 1 if (value == 0).all(1).any() else 2
            real = ~(value == 0).all(axis)
        else:
            continue
        ends = real.int().diff(dim=1) <= 0  # padding lies behind what is real
        if bool(ends.all()) and 0 < float(real.double().mean()) < 1 - PADDED and bool(real[:, 0].all()):
            return real
    return None


def order_of_memory(case: Case) -> Iterator[Evidence]:
    """channels_last goes in and does not come out."""
    import torch

    for norm, call in first_calls(case.evaluation, case.norms):
        before = call.before
        if before.dim() != 4 or before.is_contiguous() or call.after.shape != before.shape:
            continue
        if before.is_contiguous(memory_format=torch.channels_last) and not call.channels_last:
            size = before.numel() * before.element_size() / 2**20
            text = (
                f"its {shape_text(before.shape)} input lies in memory as channels_last and its output does not: "
                f"the layers behind it copy {size:.3g} MiB back or run in the slower order"
            )
            yield Evidence(norm.name, text, figures={"mebibytes": size})


def one_group(case: Case) -> Iterator[Evidence]:
    """GroupNorm(1) behind a depthwise convolution, where ConvNeXt-like blocks normalize over channels alone."""
    from torch import nn

    for norm, call in first_calls(case.training, case.norms):
        layer = _before(case, norm)
        one = int(getattr(norm.module, "num_groups", 0)) == 1 and call.before.dim() == 4
        depthwise = isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1 and layer.kernel_size[0] > 3
        if not one or not depthwise:
            continue
        ours = case.replay(norm, call.before, training=True, plain=True)
        apart = distance([ours], [_over_channels(norm, call.before)])
        if apart > 0.01:
            text = (
                f"GroupNorm(1) behind the depthwise {_uses(case, norm)} shares one mean over channels and space; "
                f"LayerNorm over the channels of each position differs from it by {apart:.0%} here"
            )
            yield Evidence(
                norm.name, text, f"Where that is meant: {swap_call(norm, 'layer2d', traced=True)}", {"apart": apart}
            )


RULES = (
    Rule(
        "NL103",
        "wrong-axes",
        "warning",
        "another axis is normalized than the one that holds the features, or padding is normalized with it",
        "BatchNorm1d, InstanceNorm1d and GroupNorm take N,C,L and LayerNorm takes N,L,C: where the sizes happen to fit "
        "nothing raises, and statistics are taken over the wrong elements. Padding counts in batch statistics.",
        "https://github.com/pytorch/pytorch/issues/70529",
        "Say which axis holds the features, and normalize along it.",
        "nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(10))  # on 4,10,8: the 10 positions are normalized",
        wrong_axes,
        ("inputs",),
    ),
    Rule(
        "NL104",
        "channels-last-lost",
        "warning",
        "channels_last is lost in the norm",
        "A convolution behind it copies its input back into the order that it wants, or falls back to a slower kernel.",
        "https://github.com/pytorch/pytorch/issues/111824",
        "Measure it: normlab.profile_model(model, memory_format='channels_last'). Where it does not pay, leave "
        "channels_last; .contiguous(memory_format=torch.channels_last) behind it helps what follows, at one copy.",
        "nn.Sequential(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8)).to(memory_format=torch.channels_last)",
        order_of_memory,
        ("inputs",),
    ),
    Rule(
        "NL105",
        "one-group-for-layer-norm",
        "note",
        "GroupNorm(1) is not LayerNorm over channels",
        "GroupNorm with one group takes its statistics over channels and space, ConvNeXt's LayerNorm2d over the "
        "channels of each position. Both are called LayerNorm, weights do not carry over, results differ.",
        "https://github.com/facebookresearch/ConvNeXt/issues/19",
        'For LayerNorm over channels: normlab.swap(model, "layer2d").',
        "nn.Sequential(nn.Conv2d(16, 16, 7, padding=3, groups=16), nn.GroupNorm(1, 16), nn.Conv2d(16, 64, 1))",
        one_group,
        ("inputs",),
    ),
)
