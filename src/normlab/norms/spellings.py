"""What people call the norms: titles, and the names of usual classes, for the hint when a name is unknown."""

from __future__ import annotations

from collections.abc import Iterable

from normlab.errors import plain
from normlab.norms.spec import NormSpec

_CLASSES = {  # names of classes, and usual words, that no title tells
    "Identity": "none",
    "BN": "batch",
    "LN": "layer",
    "GN": "group",
    "IN": "instance",
    "ChannelRMSNorm": "rms",
    "SwitchNorm": "switchable",
    "PositionalNorm": "pono",
    "FilterResponseNorm": "frn",
    "FilterResponseNormTLU": "frn",
    "DynamicTanh": "dyt",
    "DynamicErf": "derf",
    "StandardizedWeight": "standardized",
    "StdConv": "standardized",
}


def spellings(specs: Iterable[NormSpec]) -> dict[str, str]:
    """Plain spellings of norms and the names that they mean: title, name with "norm" behind it, and usual classes.

    >>> from normlab.norms.batch import SYNC_BATCH
    >>> spellings([SYNC_BATCH])
    {'syncbatchnorm': 'sync-batch'}
    """
    entries = list(specs)
    names = {spec.name for spec in entries}
    meaning = {plain(spec.title): spec.name for spec in entries}
    for spec in entries:
        meaning.setdefault(plain(f"{spec.name}norm"), spec.name)
    for word, name in _CLASSES.items():
        if name in names:
            meaning.setdefault(plain(word), name)
    return meaning
