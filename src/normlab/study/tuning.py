"""What a study tunes for each norm, as plain data: kept with its plan, so that reading results needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from normlab.study.arm import Arm


@dataclass(frozen=True)
class Tuning:
    """The runs beside those that are compared in a study that tunes.

    Arguments:
        candidates: every norm at every value of the grids, in each condition; trained on the tuning seeds.
        common: every norm at the study's own values; trained on the test seeds, as the arms that are compared.
        usual: every norm at the values that the library has by default; trained on the test seeds.
        is_settled: whether all candidates are trained and no grid grows any more, so that the plan's arms are tuned.
    """

    candidates: tuple[Arm, ...]
    common: tuple[Arm, ...]
    usual: tuple[Arm, ...]
    is_settled: bool = False

    @classmethod
    def united(cls, tunings: Sequence[Tuning]) -> Tuning:
        """The tunings of the same kind of study on several machines, each arm once."""
        arms = {
            name: tuple(dict.fromkeys(arm for tuning in tunings for arm in getattr(tuning, name)))
            for name in ("candidates", "common", "usual")
        }
        return cls(**arms, is_settled=all(tuning.is_settled for tuning in tunings))

    def as_dict(self) -> dict[str, Any]:
        """The tuning as plain data."""
        arms = {name: [arm.as_dict() for arm in getattr(self, name)] for name in ("candidates", "common", "usual")}
        return {**arms, "is_settled": self.is_settled}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Tuning:
        """The tuning that ``as_dict`` gave."""
        arms = {name: tuple(Arm.from_dict(arm) for arm in content[name]) for name in ("candidates", "common", "usual")}
        return cls(**arms, is_settled=content["is_settled"])
