"""The built-in norms, and the grammar that names a norm with its options."""

from __future__ import annotations

from normlab.norms.batch import BATCH
from normlab.norms.dyt import DYT
from normlab.norms.ghost import GHOST
from normlab.norms.group import GROUP, INSTANCE
from normlab.norms.layer import LAYER, RMS
from normlab.norms.none import NONE
from normlab.norms.spec import Norm, NormSpec, with_options
from normlab.references import find

NORMS: tuple[NormSpec, ...] = (NONE, BATCH, LAYER, GROUP, INSTANCE, RMS, GHOST, DYT)


def label(text: str) -> str:
    """The name of a norm for tables and legends.

    >>> label("group:groups=10")
    'GroupNorm (groups=10)'
    """
    return parse(text).label


def parse(text: str) -> Norm:
    """The norm behind ``name:key=value,key=value`` or ``package.module:object:key=value``.

    Raises:
        InputError: the norm or an option is unknown, or a value cannot be used.

    >>> str(parse("group:groups=10,eps=1e-5"))
    'group:groups=10'
    >>> parse("batch").spec.title
    'BatchNorm'
    """
    head, _, rest = text.strip().partition(":")
    own, _, options = rest.partition(":")
    if rest and "=" not in own and head not in {spec.name for spec in NORMS}:
        reference = f"{head}:{own}"
        return with_options(reference, find(reference, "norm", NORMS, NormSpec), options, text)
    return with_options(head, find(head, "norm", NORMS, NormSpec), rest, text)
