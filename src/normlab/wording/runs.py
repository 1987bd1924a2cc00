"""Numbers of runs as text."""

from __future__ import annotations

from normlab.stats.arm_results import ArmResults
from normlab.wording.language import ENGLISH, Language


def runs_text(results: ArmResults, language: Language = ENGLISH) -> str:
    """How many runs of an arm ended how, a line for each end: the number alone if all of them finished."""
    finished = results.count("finished")
    if finished == results.planned:
        return str(finished)
    counts = [language.fill("runs.finished", count=finished)]
    if diverged := results.count("diverged"):
        counts.append(language.fill("runs.diverged", count=diverged))
    if failed := results.count("failed"):
        counts.append(language.fill("runs.failed", count=failed))
    if results.missing:
        counts.append(language.fill("runs.missing", count=results.missing))
    return "\n".join(counts)
