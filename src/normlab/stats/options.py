"""What a user may choose about the statistics."""

from __future__ import annotations

from dataclasses import dataclass

from normlab.errors import InputError


@dataclass(frozen=True)
class Options:
    """How statistics are computed.

    Arguments:
        alpha: the level at which a family of comparisons is judged, after Holm's correction.
        confidence: of intervals, each on its own: they are not widened for the size of the family.
        resamples: of the bootstrap.
        power: with which the seeds that are said to be needed would find an effect of the observed size.
        flips: random sign flips beyond 32 pairs.
        full_level_seeds: from so many seeds on the level is ``alpha``; fewer are held to less in proportion, so that
            verdicts last when seeds are added. 1 for a study that does not grow or that plans its looks.

    Raises:
        InputError: a probability is not between 0 and 1, or a number is below 1.

    >>> Options(confidence=0.9).confidence
    0.9
    """

    alpha: float = 0.05
    confidence: float = 0.95
    resamples: int = 10_000
    power: float = 0.8
    flips: int = 100_000
    full_level_seeds: int = 64

    def __post_init__(self) -> None:
        for name, share in {"alpha": self.alpha, "confidence": self.confidence, "power": self.power}.items():
            if not 0 < share < 1:
                raise InputError(f"{name} must be between 0 and 1", share, "Give a probability.")
        advices = {"resamples": "10,000 or more are usual.", "flips": "10,000 or more are usual."}
        for name in ("resamples", "flips", "full_level_seeds"):
            if (count := getattr(self, name)) < 1:
                raise InputError(f"{name} must be at least 1", count, advices.get(name, "1 asks for alpha throughout."))
