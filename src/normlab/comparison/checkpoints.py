"""The weights that a run ends with, kept in a file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from normlab.comparison.wrappers import inner_of
from normlab.engine.trial import FirstSamples
from normlab.files import make_folder, write_file
from normlab.probes.spec import Probe, Snapshot
from normlab.reading.objects import unmarked
from normlab.study.policy import FIRST_TUNING_SEED


def checkpoints(folder: Path) -> Probe:
    """A probe that keeps the weights and buffers of each run at its end, as ``NORM-SEED.safetensors``.

    They are those of the user's model with the norms of the run in it: `normlab.swap` makes a model that loads them.

    Arguments:
        folder: where; it is made when the first run ends.
    """
    from safetensors.torch import save

    def keep(now: Snapshot) -> Mapping[str, float]:
        closeup = now.closeup()
        if closeup.seed < FIRST_TUNING_SEED and not isinstance(closeup.task.data, FirstSamples):
            state = inner_of(closeup.model).state_dict()
            about = {"norm": unmarked(closeup.norm), "seed": closeup.seed, "task": closeup.task.name}
            told = {"normlab": json.dumps(about)}  # one entry, as safetensors writes several in any order
            content = save({name: tensor.detach().cpu().clone() for name, tensor in state.items()}, told)
            write_file(make_folder(folder) / file_name(closeup.norm, closeup.seed), content)
        return {}

    meaning = "keeps the weights at the end of a run in a file"
    return Probe("checkpoints", meaning, "shares", keep, needs=frozenset({"closeup"}), shares=(1.0,))


def file_name(norm: str, seed: int) -> str:
    """The name of the file of a run.

    >>> file_name("group:groups=8", 3)
    'group-groups=8-3.safetensors'
    """
    return f"{re.sub(r'[^A-Za-z0-9_=.]+', '-', norm).strip('-')}-{seed}.safetensors"
