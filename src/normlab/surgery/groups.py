"""How many groups a layer gets where the number that was asked for does not fit it."""

from __future__ import annotations

from dataclasses import dataclass

from normlab.norms.group import divisors
from normlab.tables import plural


@dataclass(frozen=True)
class GroupCount:
    """A number of groups for one layer.

    Arguments:
        groups: the number; 0 where none leaves two elements in a group.
        note: why it is not the one that was asked for, or that it makes InstanceNorm of it; empty where it is.
    """

    groups: int
    note: str = ""


def choose_groups(wish: int, channels: int, positions: int | None) -> GroupCount:
    """The largest divisor of the channels that is not above the wish and leaves two elements or more in a group.

    With a single element the mean is the element itself and the output is beta, whatever the input. Where the number
    of positions is not known it may be 1, so that two channels must be in a group.

    Arguments:
        wish: the number of groups that was asked for.
        channels: the number of channels.
        positions: the number of positions of a sample; None where it is not known.

    >>> choose_groups(32, 48, positions=49)
    GroupCount(groups=24, note='24 groups, as 32 do not divide 48 channels')
    >>> choose_groups(32, 16, positions=49)
    GroupCount(groups=16, note='16 groups of one channel, which is InstanceNorm, as 32 do not divide 16 channels')
    >>> choose_groups(32, 32, positions=1)
    GroupCount(groups=16, note='16 groups, as 32 of 32 channels and 1 position leave one element in each')
    >>> choose_groups(32, 1, positions=1)
    GroupCount(groups=0, note='1 channel and 1 position are one element: nothing can be normalized')
    """
    least = 1 if positions is not None and positions > 1 else 2  # channels in a group
    fitting = [number for number in divisors(channels) if number <= wish and channels // number >= least]
    at = "an unknown number of positions" if positions is None else plural(positions, "position")
    if not fitting:
        if positions is None:
            return GroupCount(1, "1 group, as there is 1 channel; what is in it are its positions")
        return GroupCount(0, f"{plural(channels, 'channel')} and {at} are one element: nothing can be normalized")
    groups = fitting[-1]
    what = plural(groups, "group")
    alone = f"{what} of one channel, which is InstanceNorm" if groups == channels > 1 else ""
    if groups == wish:
        return GroupCount(groups, alone)
    if channels % wish == 0:
        may = "may leave" if positions is None else "leave"
        return GroupCount(groups, f"{what}, as {wish} of {channels} channels and {at} {may} one element in each")
    return GroupCount(groups, f"{alone or what}, as {wish} do not divide {plural(channels, 'channel')}")
