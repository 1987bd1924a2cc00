"""Numbers, names and errors in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from normlab.profiling.spec import Spread

FEW, ALL = 3, 1_000  # names that are listed


def in_digits(value: float) -> str:
    """Three significant digits, without an exponent.

    >>> in_digits(1234.5), in_digits(12.345), in_digits(0.00012345)
    ('1234', '12.3', '0.000123')
    """
    if value >= 100 or value == 0:
        return f"{value:.0f}"
    return f"{value:#.3g}" if value >= 1e-4 else f"{value:.6f}"


def in_bytes(count: int) -> str:
    """
    >>> in_bytes(64 * 2**20), in_bytes(1088)
    ('64.0 MiB', '1.06 KiB')
    """
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{in_digits(count / size)} {unit}"
    return f"{count} B"


def in_milliseconds(spread: Spread) -> str:
    """
    >>> in_milliseconds(Spread(0.002, 0.00195, 0.0021))
    '2.00 (1.95-2.10)'
    """
    return f"{in_digits(1e3 * spread.median)} ({in_digits(1e3 * spread.low)}-{in_digits(1e3 * spread.high)})"


def counted(count: int, noun: str) -> str:
    """
    >>> counted(1, "round"), counted(2, "torch thread")
    ('1 round', '2 torch threads')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def together(remarks: Iterable[tuple[str, str]], most: int = FEW) -> Iterator[tuple[str, str]]:
    """Each remark once, with the names of what it is about; of more than ``most``, the first few and the count.

    >>> list(together([("a", "too small"), ("b", "too large"), ("c", "too small")]))
    [('a, c', 'too small'), ('b', 'too large')]
    >>> list(together((name, "too small") for name in "abcde"))
    [('5 norms (a, b, c, ...)', 'too small')]
    """
    names: dict[str, list[str]] = {}
    for name, remark in remarks:
        names.setdefault(remark, []).append(name)
    for remark, own in names.items():
        yield ", ".join(own) if len(own) <= most else f"{len(own)} norms ({', '.join(own[:FEW])}, ...)", remark


def places(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The name and the reason in texts such as ``layer1.norm: too small``."""
    for text in texts:
        name, _, reason = text.partition(": ")
        yield name, reason


def first_line(error: Exception) -> str:
    """The kind of an error, and the first line of what it says.

    >>> first_line(KeyError("weird")), first_line(RuntimeError("Too large.\\nMore.")), first_line(StopIteration())
    ("KeyError: 'weird'", 'RuntimeError: Too large', 'StopIteration')
    """
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('. ')}" if lines else type(error).__name__
