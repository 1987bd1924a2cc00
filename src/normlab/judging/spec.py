"""What is asked of a table of runs: which metric in which direction, and which differences are too small to matter."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from normlab.errors import InputError, nearest
from normlab.stats.pairing import Family

Direction = Literal["lower", "higher"]
Margins = str | float | Mapping[str, str | float] | None

DIRECTIONS = ("lower", "higher")
_OTHER_WORDS = {"up", "down", "low", "high", "less", "more", "min", "max", "minimize", "maximize", "asc", "desc"}
LOWER = {"loss", "nll", "ce", "bce", "mse", "rmse", "mae", "error", "err", "perplexity", "ppl", "bpc", "wer", "cer"}
HIGHER = {"acc", "accuracy", "top1", "top5", "f1", "auc", "auroc", "map", "iou", "miou", "dice", "bleu", "r2", "psnr"}


@dataclass(frozen=True)
class Wanted:
    """A metric that runs are judged by.

    Arguments:
        name: of its column, or of its tag in a long table.
        direction: whether lower or higher is better.
        guessed: whether the direction was told from the name.
        family: ``primary`` for the first one, which verdicts are given in, else ``exploratory``.
        margin: differences too small to matter; NaN for none.
        relative: whether the margin is a share of the value, or else in the metric's own unit; None without one.

    >>> Wanted("val_loss", "lower").higher_is_better
    False
    """

    name: str
    direction: Direction
    guessed: bool = False
    family: Family = "primary"
    margin: float = math.nan
    relative: bool | None = None

    @property
    def higher_is_better(self) -> bool:
        """Whether more is better."""
        return self.direction == "higher"


def wanted_metrics(metrics: str | Sequence[str], margin: Margins = None) -> tuple[Wanted, ...]:
    """The metrics that are asked for, the first of which is the primary one.

    Arguments:
        metrics: ``name:lower`` or ``name:higher``, or a name that says its direction.
        margin: of the primary metric, or by name: ``"2%"`` is a share, ``0.01`` is in the metric's unit.

    Raises:
        InputError: none is given, one is given twice, a direction is unclear, or a margin is none.

    >>> [(item.name, item.direction, item.margin) for item in wanted_metrics(["val_loss:lower", "acc"], "2%")]
    [('val_loss', 'lower', 0.02), ('acc', 'higher', nan)]
    """
    texts = [metrics] if isinstance(metrics, str) else list(metrics)
    if not texts:
        raise InputError("a metric must be given", "none", "Try `metrics=val_loss:lower`.")
    found = [_metric(text) for text in texts]
    names = [name for name, _, _ in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError("each metric must be given once", repr(twice[0]), "Leave the others out.")
    margins = dict(margin) if isinstance(margin, Mapping) else {} if margin is None else {names[0]: margin}
    if unknown := [name for name in margins if name not in names]:
        raise InputError("a margin must be of a metric that is judged", repr(unknown[0]), nearest(unknown[0], names))
    read = {name: read_margin(value) for name, value in margins.items()}
    return tuple(
        Wanted(name, direction, guessed, "exploratory" if place else "primary", *read.get(name, (math.nan, None)))
        for place, (name, direction, guessed) in enumerate(found)
    )


def read_margin(value: str | float) -> tuple[float, bool]:
    """A margin and whether it is a share.

    Raises:
        InputError: it is no number above 0.

    >>> read_margin("2%"), read_margin(0.01)
    ((0.02, True), (0.01, False))
    """
    text = str(value).strip()
    try:
        size = float(text.removesuffix("%"))
    except ValueError:
        size = math.nan
    if not (math.isfinite(size) and size > 0):
        advice = "Give a share such as 2%, or a difference in the metric's own unit such as 0.01."
        raise InputError("`margin` must be a size above 0", repr(value), advice)
    return (size / 100, True) if text.endswith("%") else (size, False)


def _metric(text: str) -> tuple[str, Direction, bool]:
    name, _, ending = text.strip().rpartition(":")
    if name and ending == "lower":
        return name, "lower", False
    if name and ending == "higher":
        return name, "higher", False
    rule = "a metric must say whether lower or higher is better"
    if name and ending.lower() in _OTHER_WORDS:
        raise InputError(rule, repr(text), f"Write {name}:lower or {name}:higher.")
    if name and "/" not in ending and (close := nearest(ending, DIRECTIONS)).startswith("Did"):
        raise InputError(rule, repr(text), close)
    words = set(re.split(r"[^a-z0-9]+", re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text).lower()))
    lower, higher = bool(words & LOWER), bool(words & HIGHER)
    if lower == higher:
        raise InputError(rule, repr(text), f"Write {text}:lower or {text}:higher.")
    return text.strip(), "lower" if lower else "higher", True
