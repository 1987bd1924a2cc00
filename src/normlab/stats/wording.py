"""Figures in words, the same in the console, the page and the claims."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, isfinite, isnan

from normlab.stats.paired import Comparison


def number(value: float) -> str:
    """Three significant digits, or what there is instead of a number.

    >>> number(0.046312), number(1234.5), number(float("nan")), number(0.0)
    ('0.0463', '1234', '-', '0')
    """
    if isnan(value):
        return "-"
    if not isfinite(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.2e}" if abs(value) < 1e-4 else f"{value:.3g}"


def effect_text(item: Comparison, label: Callable[[str], str] = str) -> str:
    """The effect of a comparison in words: a ratio for losses, a difference for accuracies."""
    a, b = label(item.a), label(item.b)
    if isnan(item.difference):
        return f"{a} against {b}: no finite pair"
    if item.scale == "ratio":
        return f"{a} is {_factor(item.difference)} {b}"
    return f"{a} minus {b} is {item.difference:+.3g}"


def _factor(difference: float) -> str:
    ratio = exp(min(difference, 700))
    if ratio >= 2:
        return f"{number(ratio)} times"
    share = ratio - 1
    return "equal to" if share == 0 else f"{abs(share):.1%} {'above' if share > 0 else 'below'}"


def interval_text(item: Comparison) -> str:
    """The interval of a comparison on the scale of its effect, with its confidence."""
    return f"{item.confidence:.0%} interval {interval_range(item)}"


def interval_range(item: Comparison) -> str:
    """The interval of a comparison on the scale of its effect."""
    low, high = item.ci
    if isnan(low):
        return "unknown"
    if item.scale == "ratio":
        return " to ".join(_percent(exp(min(bound, 700)) - 1) for bound in (low, high))
    return f"{low:+.3g} to {high:+.3g}"


def _percent(share: float) -> str:
    if not isfinite(share):
        return "∞" if share > 0 else "-∞"
    return f"{share:+.1%}" if share < 10 else f"times {share + 1:.3g}"
