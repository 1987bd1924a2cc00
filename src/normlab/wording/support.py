"""What seeds allow, or how they are added, as a sentence before training."""

from __future__ import annotations

from normlab.stats.support import Support
from normlab.study.policy import Policy
from normlab.wording.language import ENGLISH, Language
from normlab.wording.numbers import number


def support_sentence(support: Support, language: Language = ENGLISH) -> str:
    """The smallest p that the seeds allow and what follows from it; empty where nothing is compared.

    >>> support_sentence(Support(5, 6, 0.0625, 11))
    'With 5 seeds no p can be below 0.0625: too few to decide 6 comparisons; 11 seeds are the least.'
    """
    if not support.comparisons:
        return ""
    return language.sentence(
        language.fill(
            "support.enough" if support.is_enough else "support.too_few",
            seeds=language.counted("count.seed", support.seeds),
            p=number(support.smallest_p),
            comparisons=language.counted("count.comparison", support.comparisons),
            least=language.counted("count.seed", support.least),
        )
    )


def growth_sentence(policy: Policy, language: Language = ENGLISH) -> str:
    """That seeds are added, and up to how many, in the place of what a fixed number of seeds allows.

    >>> growth_sentence(Policy(until_decided=True, max_seeds=64))
    'Seeds are added until every comparison is decided or hopeless, up to 64 seeds.'
    """
    most = language.counted("count.seed", policy.max_seeds)
    return language.sentence(language.fill("support.growth", most=most))
