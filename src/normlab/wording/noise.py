"""What is to know of the noise of the batch loss late in training, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from normlab.stats.arm_results import ArmResults
from normlab.stats.noise import CONCENTRATED, largest_steps
from normlab.wording.language import ENGLISH, Language
from normlab.wording.numbers import number

RAISING = ("batch_statistics", "dropout")  # the sources that raise the batch loss and do not only scatter it


def noise_sentences(arms: Iterable[ArmResults], language: Language = ENGLISH) -> tuple[str, ...]:
    """By how much noise raises the batch loss of each norm, and whether a few jumps make its fluctuation."""
    return tuple(
        language.sentence(text) for item in arms for text in (*_raised(item, language), *_jumps(item, language))
    )


def _raised(item: ArmResults, language: Language) -> Iterator[str]:
    """The mean of a source beside its fluctuation, against the canonical loss."""
    canonical = item.finite("mean_iterate")
    for source in RAISING:
        means = item.finite(f"mean_{source}")
        if len(means) and means.mean() and canonical.mean():
            yield language.fill(
                f"noise.{source}",
                norm=item.label,
                mean=number(float(means.mean())),
                canonical=number(float(canonical.mean())),
                share=f"{number(float(100 * means.mean() / canonical.mean()))}%",
            )


def _jumps(item: ArmResults, language: Language) -> Iterator[str]:
    shares = item.finite("concentration_total")
    if len(shares) and item.curves is not None and np.median(shares) > CONCENTRATED:
        steps = len(item.curves.series["noise_training"].steps)
        yield language.fill(
            "noise.jumps",
            norm=item.label,
            largest=largest_steps(steps),
            steps=steps,
            share=f"{np.median(shares):.0%}",
        )
