"""Rules on how many elements share a statistic: NL101, NL102, NL111."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

from normlab.diagnosis.case import Case
from normlab.diagnosis.measuring import first_calls, shape_text, swap_call, values_per_statistic
from normlab.diagnosis.spec import Evidence, Rule
from normlab.recognition.distance import distance
from normlab.recognition.spec import FoundNorm

PER_SAMPLE = ("group", "standardized-group", "instance", "layer", "layer-chw", "layer2d", "rms")
NOTHING = 1e-2  # a greatest output below it, of a norm that should give about 1
GROUP_NORM = "Wu and He 2018, arXiv:1803.08494"


def one_element(case: Case) -> Iterator[Evidence]:
    """A norm whose every statistic is of one element gives beta, whatever comes in."""
    for norm, call in first_calls(case.training, case.of_kind(*PER_SAMPLE)):
        if norm.kind == "rms" or values_per_statistic(norm, call.before.shape) != 1:
            continue
        greatest = float(case.replay(norm, call.before, training=True, plain=True).abs().max())
        if greatest < NOTHING:
            spread = float(call.before.double().std(correction=0))
            text = (
                f"each of the {call.before.numel()} elements of its {shape_text(call.before.shape)} input is "
                f"normalized by itself: of values with standard deviation {spread:.2g} it makes {greatest:.2g} at most "
                "before gamma and beta, so the input is lost"
            )
            figures = {"elements": 1, "greatest": greatest, "input_std": spread}
            yield Evidence(norm.name, text, _mend(norm, call.before.shape), figures)
    if case.training.stopped:
        name, before = case.training.stopped
        norm = next(norm for norm in case.norms if norm.name == name)
        if norm.kind == "instance" and before.dim() > 2 and values_per_statistic(norm, before.shape) == 1:
            text = f"its {shape_text(before.shape)} input has one element a channel and sample: {case.training.error}"
            yield Evidence(name, text, figures={"elements": 1})


def two_elements(case: Case) -> Iterator[Evidence]:
    """Of two elements a norm leaves the sign of their difference; an RMSNorm of one element leaves its sign."""
    for norm, call in first_calls(case.training, case.of_kind(*PER_SAMPLE)):
        count = values_per_statistic(norm, call.before.shape)
        if count != (1 if norm.kind == "rms" else 2):
            continue
        after = case.replay(norm, call.before, training=True, plain=True).double().abs()
        share = float((after > 0.9).double().mean())
        if share > 0.5:
            noun = "one element" if count == 1 else "two elements"
            text = (
                f"each statistic of its {shape_text(call.before.shape)} input is of {noun}: {share:.0%} of what it "
                f"makes is +-{float(after.median()):.2f}, only the sign is left of the input"
            )
            figures = {"elements": count, "share_of_signs": share}
            yield Evidence(norm.name, text, _mend(norm, call.before.shape), figures)


def _mend(norm: FoundNorm, shape: Sequence[int]) -> str:
    """One group where that has more elements, else no norm."""
    enough = norm.order == "first" and prod(shape[1:]) > 2
    return swap_call(norm, "group:groups=1" if enough else "none")


def one_channel_groups(case: Case) -> Iterator[Evidence]:
    """Groups of one channel are InstanceNorm."""
    import torch

    for norm, call in first_calls(case.training, case.of_kind("group")):
        channels, groups = call.before.shape[1], int(getattr(norm.module, "num_groups", 0))
        if groups != channels or channels == 1 or values_per_statistic(norm, call.before.shape) in (None, 1):
            continue
        ours = case.replay(norm, call.before, training=True, plain=True)
        instance = torch.nn.functional.instance_norm(call.before, eps=norm.eps or 1e-5)
        apart = distance([ours], [instance])
        if apart < 1e-3:
            text = (
                f"{groups} groups of {channels} channels are one channel each: it computes InstanceNorm (they differ "
                "by less than 0.1%), which takes the mean and contrast of each channel out of each sample"
            )
            mend = f"Where that is not meant: {swap_call(norm, f'group:groups={fewer(channels)}')}"
            yield Evidence(norm.name, text, mend, {"groups": groups, "channels": channels, "apart": apart})


def fewer(channels: int) -> int:
    """The largest number of groups of at least 16 channels that divides the channels, or one that leaves two.

    >>> fewer(64), fewer(24), fewer(7)
    (4, 1, 1)
    """
    return max(groups for groups in range(1, max(1, channels // 16) + 1) if channels % groups == 0)


RULES = (
    Rule(
        "NL101",
        "one-element-statistics",
        "error",
        "statistics of one element: the output does not depend on the input",
        "A mean over one element is that element, and x - mean is 0. The layer passes on beta alone, no gradient goes "
        "back through it, and nothing raises.",
        "https://github.com/pytorch/opacus/issues/567",
        'Give each statistic more elements, such as normlab.swap(model, "group:groups=1"), or leave the norm out here.',
        "nn.Sequential(nn.Linear(8, 64), nn.GroupNorm(64, 64))  # one channel a group, no space",
        one_element,
        ("inputs",),
    ),
    Rule(
        "NL102",
        "two-element-statistics",
        "warning",
        "statistics of two elements: only signs are left",
        "Two values normalized by their own mean and deviation are always +1 and -1, so all that passes is which one "
        "is larger. An RMSNorm of one element passes its sign.",
        "https://github.com/pytorch/pytorch/issues/4534",
        'Give each statistic more elements, such as normlab.swap(model, "group:groups=1"), or leave the norm out here.',
        "nn.Sequential(nn.Linear(8, 64), nn.GroupNorm(32, 64))  # two channels a group, no space",
        two_elements,
        ("inputs",),
    ),
    Rule(
        "NL111",
        "one-channel-groups",
        "note",
        "groups of one channel: GroupNorm is InstanceNorm",
        "With as many groups as channels GroupNorm is InstanceNorm: the differences between channels, which group "
        "statistics keep, are gone. It is often a mistake in the order of the arguments (num_groups comes first).",
        f"https://github.com/pytorch/vision/issues/1929; {GROUP_NORM}",
        "Say how many groups are meant: 32, or 16 channels a group, are what the paper uses.",
        "nn.Sequential(nn.Conv2d(3, 32, 3), nn.GroupNorm(32, 32))",
        one_channel_groups,
        ("inputs",),
    ),
)
