"""What the terminal says around its tables."""

from __future__ import annotations

from normlab.wording.language import ENGLISH, Language


def table_title(name: str, condition: str, language: Language = ENGLISH) -> str:
    """The title of a table about one condition.

    >>> table_title("comparisons", "digits")
    'digits: comparisons'
    """
    return language.fill(f"table.{name}", condition=condition)


def wins_meaning(metric: str, language: Language = ENGLISH) -> str:
    """What the column of wins counts.

    >>> wins_meaning("test loss")
    'wins: comparisons in test loss that a norm wins, of all that it is in'
    """
    return language.fill("console.wins", metric=metric)


def map_signs(language: Language = ENGLISH) -> str:
    """What the signs in the cells of a map mean."""
    return language.templates["console.map_signs"]


def see_page(conditions: int, language: Language = ENGLISH) -> str:
    """That there are too many conditions for a terminal, and where to see them."""
    return language.fill("console.see_page", conditions=language.counted("count.condition", conditions))


def comparisons_left_out(count: int, language: Language = ENGLISH) -> str:
    """That there are comparisons in other metrics, and what shows them."""
    comparisons = language.counted("count.comparison", count)
    return language.counted("console.comparisons_left_out", count, comparisons=comparisons)


def more_remarks(count: int, language: Language = ENGLISH) -> str:
    """That not all remarks are shown."""
    return language.counted("console.more_remarks", count)
