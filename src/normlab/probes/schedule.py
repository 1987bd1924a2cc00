"""When a study has a probe measure: ``NAME:every=10`` or ``NAME:at=0.5,1``."""

from __future__ import annotations

from dataclasses import replace

from normlab.errors import InputError
from normlab.probes.measure import USUAL
from normlab.probes.spec import BETWEEN_STEPS, Probe
from normlab.reading import option_texts, whole_number

USAGE = "Give every=10 (epochs), or at=0,0.5,1 (shares of the training; 0 is before the first step)."


def scheduled(probe: Probe, options: str, whole: str) -> Probe:
    """The probe with its moments as the options say.

    Arguments:
        probe: the probe.
        options: ``every=N``: before the first step and after every N epochs; ``at=S,S``: after shares of the training.
        whole: all that was given, for messages.

    Raises:
        InputError: the options cannot be read, or the probe's moments are not the study's to choose.

    >>> mine = Probe("mine", "", "epoch", lambda now: {})
    >>> scheduled(mine, "every=10", "mine:every=10").every, scheduled(mine, "at=0.5,1", "mine:at=0.5,1").shares
    (10, (0.5, 1.0))
    """
    if not options:
        return probe
    if probe.moment not in BETWEEN_STEPS or probe.name in USUAL:
        rule = "only a probe that is not measured in every run may be given its moments, and only between steps"
        raise InputError(rule, repr(whole), f"Leave out {options!r}.")
    texts = option_texts(options, whole, USAGE, lists=True)
    if set(texts) == {"every"}:
        return replace(probe, moment="epoch", every=_epochs(texts["every"], whole))
    if set(texts) == {"at"}:
        return replace(probe, moment="shares", shares=tuple(_share(text, whole) for text in texts["at"].split(",")))
    raise InputError("a probe must be given every or at, one of the two", repr(whole), USAGE)


def _epochs(text: str, whole: str) -> int:
    try:
        epochs = whole_number(text)
    except ValueError:
        epochs = 0
    if epochs < 1:
        raise InputError("every must be a whole number of at least 1", f"{text!r} in {whole!r}", USAGE)
    return epochs


def _share(text: str, whole: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise InputError("at must hold shares from 0 to 1", f"{text!r} in {whole!r}", USAGE)
    return share
