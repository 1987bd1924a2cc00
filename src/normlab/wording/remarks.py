"""What was left out of a plan, and what to know of it, in sentences."""

from __future__ import annotations

from normlab.plan import Remark
from normlab.wording.language import ENGLISH, Language


def skipped_sentence(remark: Remark, language: Language = ENGLISH) -> str:
    """A combination that is not trained, and why.

    >>> skipped_sentence(Remark("batch on article", "it has one sample in a batch"))
    'Skipped batch on article: it has one sample in a batch.'
    """
    return language.sentence(language.fill("remark.skipped", what=remark.what, reason=remark.reason.rstrip(".")))


def note_sentence(remark: Remark, language: Language = ENGLISH) -> str:
    """What a reader must know of a combination that is trained."""
    return language.sentence(language.fill("remark.note", what=remark.what, reason=remark.reason.rstrip(".")))
