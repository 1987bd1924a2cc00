"""What takes a norm's place: a norm's text, a norm, the user's own class or function, or the norm itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from normlab import reading
from normlab.errors import InputError
from normlab.norms.assignment import SAME
from normlab.norms.catalog import BY_NAME, parse
from normlab.norms.layouts import LAYOUTS
from normlab.norms.spec import Norm, NormSpec, unclaimed, with_options
from normlab.reading.options import option_texts, split_options

_ADVICE = "Give a norm such as 'group:groups=8', 'same', a NormSpec, or a class or function of the number of channels."


@dataclass(frozen=True)
class Target:
    """What takes the place of a norm.

    Arguments:
        norm: the norm; None where the layer stays as it is.
        stated: the options that were asked for; the others may be carried over from the layer that is replaced.
    """

    norm: Norm | None
    stated: frozenset[str] = field(default_factory=frozenset)

    def __str__(self) -> str:
        return SAME if self.norm is None else str(self.norm)


def target_of(thing: Any) -> Target:
    """What is meant by a text, a norm, or a class or function of the number of channels.

    Raises:
        InputError: it cannot be used, or a text names no norm or option.

    >>> target_of("group:groups=8").stated, str(target_of("same"))
    (frozenset({'groups'}), 'same')
    """
    if isinstance(thing, Target):
        return thing
    if isinstance(thing, str):
        return _of_text(thing)
    if isinstance(thing, Norm):
        return Target(thing, thing.changed_options)
    if isinstance(thing, NormSpec):
        return Target(with_options(thing.name, thing, "", thing.name))
    if callable(thing) and not _is_module(thing):
        return Target(_own(thing))
    raise InputError("`to` must say what takes a norm's place", repr(thing), _ADVICE)


def _of_text(text: str) -> Target:
    if text.strip() == SAME:
        return Target(None)
    norm = parse(text)
    _, options = split_options(text, BY_NAME)
    return Target(norm, frozenset(option_texts(options, text, "")))


def _own(make: Callable[[int], Any]) -> Norm:
    """The norm of a class or function of the user's, called with the number of channels."""
    from torch import nn

    name = getattr(make, "__qualname__", type(make).__name__)

    def build(channels: int) -> nn.Module:
        try:
            layer = make(channels)
        except Exception as error:
            given = f"{name}({channels}), which raised {reading.described(error)}"
            advice = "Give a function of the channels, such as `lambda channels: MyNorm(4, channels)`."
            rule = "a class or function in `to` must make a layer of the number of channels"
            raise InputError(rule, given, advice) from error
        if not isinstance(layer, nn.Module):
            rule = "a class or function in `to` must make a torch.nn.Module"
            raise InputError(rule, f"{name}({channels}), a {type(layer).__name__}", "Return the layer.")
        return layer

    reference = f"{getattr(make, '__module__', '')}:{name}"
    return Norm(reference, unclaimed(reference, build, LAYOUTS))


def _is_module(thing: Any) -> bool:
    from torch import nn

    return isinstance(thing, nn.Module)
