"""The options of norms: their values, and the text that means them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite

from normlab.errors import InputError
from normlab.reading import truth, whole_number

OptionValue = int | float | bool


@dataclass(frozen=True)
class Option:
    """One option of a norm: ``name=value`` in a norm's text, of the same type as ``default``."""

    name: str
    default: OptionValue
    meaning: str
    at_least: float | None = None
    at_most: float = float("inf")
    above: float = float("-inf")
    infinite: bool = False

    def parse(self, text: str, whole: str) -> OptionValue:
        """The value behind ``text``; ``whole`` is the norm's text, for the message."""
        kind = type(self.default)
        rule = f"{self.name} must be {_KINDS[kind]}"
        bounds = [f"of at least {self.at_least:g}"] if self.at_least is not None else []
        bounds += [f"above {self.above:g}"] if isfinite(self.above) else []
        bounds += [f"at most {self.at_most:g}"] if isfinite(self.at_most) else []
        rule = " ".join([rule, " and ".join(bounds)]) if bounds else rule
        problem = InputError(rule, f"{text!r} in {whole!r}", f"{self.name}: {self.meaning}.")
        try:
            value = _READERS[kind](text)
        except ValueError:
            raise problem from None
        least = self.at_least if self.at_least is not None else value
        allowed = isfinite(value) or (self.infinite and value == self.at_most)
        if not allowed or not least <= value <= self.at_most or value <= self.above:
            raise problem
        return value


_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}
_READERS: Mapping[type, Callable[[str], OptionValue]] = {int: whole_number, float: float, bool: truth}


def value_text(value: OptionValue) -> str:
    """The value of an option as it is written in a norm's text.

    Floats have all of their digits, so that the text means the same norm.

    >>> value_text(True), value_text(1e-5), value_text(3.0), value_text(0.1234567), value_text(32)
    ('true', '1e-05', '3', '0.1234567', '32')
    """
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
