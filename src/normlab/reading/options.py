"""The options behind a name, and the numbers in them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from normlab.errors import InputError

WHOLE = range(-(2**63), 2**63)  # the whole numbers that a file, an array and a table can hold


def split_options(text: str, known: Iterable[str]) -> tuple[str, str]:
    """A reference and the text of its options.

    Arguments:
        text: ``name:key=value,key=value`` or ``package.module:object:key=value``.
        known: the names of the catalogue, behind which options follow at once.

    >>> split_options("group:groups=8,eps=1e-3", ["group"])
    ('group', 'groups=8,eps=1e-3')
    >>> split_options("mine:OWN", ["group"]), split_options("mine:OWN:size=3", ["group"])
    (('mine:OWN', ''), ('mine:OWN', 'size=3'))
    """
    head, _, rest = text.strip().partition(":")
    attribute, _, options = rest.partition(":")
    if rest and "=" not in attribute and head not in set(known):
        return f"{head}:{attribute}", options
    return head, rest


def option_texts(text: str, whole: str, usage: str, *, lists: bool = False) -> dict[str, str]:
    """The values in ``key=value,key=value``, as texts by key.

    Arguments:
        text: the options alone.
        whole: all that was given, for messages.
        usage: which options there are, for messages.
        lists: whether a value may go on behind a comma.

    Raises:
        InputError: something is no pair, or a key is given twice.

    >>> option_texts("groups=8, eps=1e-3", "group:groups=8, eps=1e-3", "")
    {'groups': '8', 'eps': '1e-3'}
    >>> option_texts("at=0,0.5", "mine:at=0,0.5", "", lists=True)
    {'at': '0,0.5'}
    """
    values: dict[str, str] = {}
    for pair in filter(None, text.split(",")):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if lists and values and not equals:
            values[next(reversed(values))] += f",{pair.strip()}"
            continue
        if not equals:
            raise InputError("an option must be key=value", f"{pair!r} in {whole!r}", usage)
        if key in values:
            raise InputError(f"{key} must be given once", repr(whole), "Remove one of the two.")
        values[key] = value
    return values


def whole_number(text: str) -> int:
    """The whole number in a text.

    Raises:
        ValueError: it is none, or one that 64 bits do not hold.

    >>> whole_number("-12")
    -12
    """
    if not re.fullmatch(r"\s*[+-]?[0-9_]{1,30}\s*", text):
        raise ValueError(f"no whole number of 64 bits: {text[:40]!r}")
    value = int(text)
    if value not in WHOLE:
        raise ValueError(f"no whole number of 64 bits: {text[:40]!r}")
    return value


def truth(text: str) -> bool:
    """Whether a text says yes or no.

    Raises:
        ValueError: it says neither.

    >>> truth("true"), truth("No")
    (True, False)
    """
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.strip().lower() not in words:
        raise ValueError(f"neither true nor false: {text[:40]!r}")
    return words[text.strip().lower()]
