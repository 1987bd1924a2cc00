"""The built-in claims."""

from __future__ import annotations

from collections.abc import Iterable

from normlab.claims.article import ARTICLE_A, ARTICLE_B, ARTICLE_C, ARTICLE_D
from normlab.claims.spec import Claim
from normlab.reading import find
from normlab.records import digest

CLAIMS: tuple[Claim, ...] = (ARTICLE_A, ARTICLE_B, ARTICLE_C, ARTICLE_D)


def find_claim(reference: str) -> Claim:
    """The claim of that id, or the user's behind ``package.module:object``.

    Raises:
        InputError: there is none.

    >>> find_claim("article-b").sources_of
    'batch'
    """
    return find(reference, "claim", CLAIMS, Claim)


def claims_digest(references: Iterable[str]) -> str:
    """The hash of the claims of a study as they are defined now; it is kept with the runs."""
    return digest([find_claim(reference).as_dict() for reference in references])
