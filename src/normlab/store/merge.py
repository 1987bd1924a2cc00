"""Folders that were filled on several machines become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from normlab.errors import InputError
from normlab.files import write_whole
from normlab.plan import Plan, Remark
from normlab.store.directory import RUNS, create, load, name_of
from normlab.study.arm import Arm, Condition
from normlab.study.study import Study
from normlab.study.tuning import Tuning


@dataclass(frozen=True)
class Merged:
    """What was brought together.

    Arguments:
        runs: the runs that the folder holds now.
        copied: files that were copied into it.
        twice: runs that several folders had; each counts once.
        damaged: files that were left out, because their content does not match their name.
        study: the study that the folder is shown for.
    """

    runs: int
    copied: int
    twice: int
    damaged: tuple[str, ...]
    study: Study


def merge(sources: Sequence[Path], target: Path) -> Merged:
    """Copies the runs of ``sources`` into ``target``, which may hold runs already; the sources stay as they are.

    The study of the merged folder is that of the first folder that has one, with the norms, tasks and seeds of all
    whose study is the same but for these, its claims and its analysis; runs of other studies are kept beside.

    Raises:
        InputError: there is no source, one is not such a folder, or the target cannot be written.
    """
    if not sources:
        raise InputError("merge needs folders to bring together", "none", "Name two or more.")
    stores = [load(path) for path in sources]
    plans = [store.plan() for store in stores]
    occupied = (target / RUNS).exists()
    merged = create(target)
    before = [merged.plan()] if occupied else []
    copied, damaged = 0, []
    for store in stores:
        if store.path.resolve() == target.resolve():
            continue
        for file in store.files():
            content = file.read_bytes()
            if name_of(content) != file.stem:
                damaged.append(str(file))
            elif not (target / RUNS / file.name).exists():
                write_whole(target / RUNS / file.name, content)
                copied += 1
    plan = _union([plan for plan, _ in (*before, *plans)])
    merged.keep_plan(plan, [_as_defined(claim) for _, claims in (*before, *plans)[:1] for claim in claims])
    every = [set(store.statuses()) for store in stores]
    runs = len(merged.statuses())
    return Merged(runs, copied, sum(map(len, every)) - len(set().union(*every)), tuple(damaged), plan.study)


def _as_defined(claim: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in claim.items() if name not in {"hash", "since", "runs_before"}}


def _union(plans: list[Plan]) -> Plan:
    """The first plan, with what those of the same kind of study add."""
    first = plans[0]
    same = [plan for plan in plans if _kind(plan.study) == _kind(first.study)]
    arms: dict[tuple[Condition, str], Arm] = {}  # of a norm that was tuned in several folders, the first one's
    for condition in dict.fromkeys(arm.condition for plan in same for arm in plan.arms):
        for arm in (arm for plan in same for arm in plan.arms if arm.condition == condition):
            arms.setdefault((condition, arm.norm), arm)
    study = first.study.with_changes(
        {
            "norms": list(dict.fromkeys(norm for plan in same for norm in plan.study.norms)),
            "tasks": list(dict.fromkeys(task for plan in same for task in plan.study.tasks)),
            "seeds": max(plan.study.seeds for plan in same),
        }
    )
    skipped: dict[Remark, None] = dict.fromkeys(remark for plan in same for remark in plan.skipped)
    notes: dict[Remark, None] = dict.fromkeys(remark for plan in same for remark in plan.notes)
    tunings = [plan.tuning for plan in same if plan.tuning is not None]
    tuning = Tuning.united(tunings) if len(tunings) == len(same) else None
    return Plan(study, tuple(arms.values()), tuple(skipped), tuple(notes), tuning=tuning)


def _kind(study: Study) -> dict[str, object]:
    apart = {"name", "title", "norms", "tasks", "seeds", "claims", "analysis"}
    return {name: value for name, value in study.as_dict().items() if name not in apart}
