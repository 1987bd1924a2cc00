"""Figures as text, the same in every sentence and table."""

from __future__ import annotations

from math import exp, isfinite, isnan

MOST_EXPONENT = 700  # exp of more is no number
ROUNDING = 1e-12  # as a share of the mean, a standard deviation below this is what sums in float64 leave of 0


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


def spread(deviation: float, mean: float) -> str:
    """A standard deviation behind its mean; 0 where it is rounding alone.

    >>> spread(0.0254, 0.0693), spread(6.41e-17, 1.0), spread(float("nan"), 1.0)
    ('± 0.0254', '± 0', '± -')
    """
    return f"± {number(0.0 if deviation <= ROUNDING * abs(mean) else deviation)}"


def percent(share: float) -> str:
    """A share in percent, with one decimal below 100% and none from there on.

    >>> percent(0.0832), percent(0.95), percent(-0.5), percent(1.24), percent(0.0004)
    ('8.3%', '95.0%', '-50.0%', '124%', '0.04%')
    """
    if not isfinite(share):
        return number(share)
    size = abs(share)
    if 0 < size < 0.001:
        return f"{100 * share:.1g}%"
    return f"{share:.1%}" if size < 0.9995 else f"{share:.0%}"


def about_percent(share: float) -> str:
    """A rough share in percent.

    >>> about_percent(0.0832), about_percent(0.121), about_percent(0.004)
    ('8%', '12%', '0.4%')
    """
    return f"{share:.0%}" if abs(share) >= 0.01 or not share else percent(share)


def ratio(log: float) -> float:
    """exp, without an overflow."""
    return exp(min(log, MOST_EXPONENT)) if log != float("inf") else log
