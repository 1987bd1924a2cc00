"""Numbers and names as text for tables and messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from normlab.profiling.spec import Spread
from normlab.tables import in_digits

FEW, ALL = 3, 1_000  # how many names are listed


def in_milliseconds(spread: Spread) -> str:
    """The median in milliseconds, with the quartiles behind it.

    >>> in_milliseconds(Spread(0.002, 0.00195, 0.0021))
    '2.00 (1.95-2.10)'
    """
    return f"{in_digits(1e3 * spread.median)} ({in_digits(1e3 * spread.low)}-{in_digits(1e3 * spread.high)})"


def group_names(remarks: Iterable[tuple[str, str]], most: int = FEW) -> Iterator[tuple[str, str]]:
    """Each remark once, behind the names that it is about; of more than ``most`` names, the count and the first few.

    >>> list(group_names([("a", "too small"), ("b", "too large"), ("c", "too small")]))
    [('a, c', 'too small'), ('b', 'too large')]
    >>> list(group_names((name, "too small") for name in "abcde"))
    [('5 norms (a, b, c, ...)', 'too small')]
    """
    names: dict[str, list[str]] = {}
    for name, remark in remarks:
        names.setdefault(remark, []).append(name)
    for remark, group in names.items():
        yield ", ".join(group) if len(group) <= most else f"{len(group)} norms ({', '.join(group[:FEW])}, ...)", remark


def split_reasons(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The name and the reason in texts such as ``layer1.norm: too small``."""
    for text in texts:
        name, _, reason = text.partition(": ")
        yield name, reason
