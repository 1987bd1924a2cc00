"""Which norm goes into which slot: one for all, or one for each role."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from normlab.errors import InputError
from normlab.norms.catalog import NORMS, parse
from normlab.norms.fitting import fit
from normlab.norms.none import NONE
from normlab.norms.slot import Slot
from normlab.norms.spec import Norm

if TYPE_CHECKING:
    from torch import nn

EMPTY = Norm(NONE.name, NONE, {})
SAME = "same"  # stands for the layer that is there, where a text says what takes its place
ParseNorm = Callable[[str], Norm]
Adapt = Callable[[Norm, Slot], Norm]
JudgeNorm = Callable[[Norm, Slot, int], str | None]


@dataclass(frozen=True)
class Assignment:
    """One norm for all slots, or one for each role.

    Arguments:
        default: for slots whose role is not named, except optional ones; None to leave them without a norm.
        roles: role and norm.
        adapt: makes of a norm the one that a slot takes, such as one with groups that divide its channels.
    """

    default: Norm | None
    roles: tuple[tuple[str, Norm], ...] = ()
    adapt: Adapt | None = field(default=None, compare=False, repr=False)

    def norm_at(self, slot: Slot) -> Norm:
        """The norm that goes into ``slot``."""
        norm = EMPTY if self.default is None or slot.optional else self.default
        norm = next((own for role, own in self.roles if role == slot.role), norm)
        return norm if self.adapt is None else self.adapt(norm, slot)

    def build(self, slot: Slot) -> nn.Module:
        """The module that goes into ``slot``."""
        return self.norm_at(slot).build(slot)

    def fit(self, model: nn.Module, slots: Iterable[Slot]) -> None:
        """Changes the model where norms reach beyond their slots; see `normlab.norms.fit`.

        A layer that stands before several slots has its weights normalized once.
        """
        done: set[str] = set()
        for slot in slots:
            norm = self.norm_at(slot)
            wraps = norm.spec.wrap is not None
            if not (wraps and slot.layer in done):
                fit(model, norm, [slot])
            done |= {slot.layer} if wraps else set()

    def misfit(self, slots: Sequence[Slot], batch_size: int) -> str | None:
        """Why these norms cannot be built or mean nothing in the slots of a model, or None."""
        roles = {slot.role for slot in slots}
        if not slots and self.norms[0].spec.name != "none":
            return "the model asks make_norm for no norm, so all norms would be the same model"
        if absent := [role for role, _ in self.roles if role not in roles]:
            return f"the model has no slot of the role {absent[0]}; its roles are {', '.join(sorted(roles)) or 'none'}"
        return self._first(Norm.refusal, slots, batch_size) or self._first(Norm.emptiness, slots, batch_size)

    def caution(self, slots: Iterable[Slot], batch_size: int) -> str | None:
        """What a reader must know of the first slot where a norm works in another way than usual, or None."""
        return self._first(Norm.caution, slots, batch_size)

    def _first(self, judge: JudgeNorm, slots: Iterable[Slot], batch_size: int) -> str | None:
        reasons = (judge(self.norm_at(slot), slot, batch_size) for slot in slots)
        return next((reason for reason in reasons if reason), None)

    @cached_property
    def norms(self) -> tuple[Norm, ...]:
        """The norms that it names."""
        return (*((self.default,) if self.default else ()), *(norm for _, norm in self.roles))

    @property
    def label(self) -> str:
        """The name for tables and legends."""
        parts = [self.default.label] if self.default else []
        return ", ".join([*parts, *(f"{role} {norm.label}" for role, norm in self.roles)])

    def __str__(self) -> str:
        parts = [str(self.default)] if self.default else []
        return ",".join([*parts, *(f"{role}={norm}" for role, norm in self.roles)])


def parse_assignment(text: str, parse_norm: ParseNorm = parse) -> Assignment:
    """The norms behind ``norm`` or ``role=norm,role=norm``; a norm for all other roles may stand first.

    A part ``key=value`` behind a norm is an option of that norm if it has one of that name, else the next role.

    Arguments:
        text: the text.
        parse_norm: reads the text of a single norm.

    Raises:
        InputError: a norm, role or option cannot be read.

    >>> assignment = parse_assignment("block=group:groups=8,eps=1e-3,query-key=layer")
    >>> [(role, str(norm)) for role, norm in assignment.roles]
    [('block', 'group:groups=8,eps=0.001'), ('query-key', 'layer')]
    >>> parse_assignment("rms,query-key=layer").norm_at(Slot(8, role="output")).spec.name
    'rms'
    """
    if not isinstance(text, str) or not text.strip():
        raise InputError("a norm must be given as text", repr(text), "Give 'group:groups=8', say.")
    pieces = _pieces(text)
    roles: dict[str, Norm] = {}
    default: Norm | None = None
    for number, (role, norm_text) in enumerate(pieces):
        if role in roles:
            raise InputError("a role must be given one norm", f"{role!r} twice in {text!r}", "Remove one of the two.")
        norm = parse_norm(norm_text)
        if role:
            roles[role] = norm
        elif number:
            raise InputError("norms of several roles must be role=norm", repr(text), "Try block=rms,query-key=layer.")
        else:
            default = norm
    return Assignment(default, tuple(roles.items()))


def _pieces(text: str) -> list[tuple[str, str]]:
    """Role (empty for none) and text of each norm."""
    pieces: list[tuple[str, str]] = []
    for part in text.strip().split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        names_role = bool(equals) and ":" not in key
        if pieces and names_role and not _is_option(pieces[-1][1], key, value):
            pieces.append((key, value))
        elif pieces:
            role, norm = pieces[-1]
            pieces[-1] = (role, f"{norm}{',' if ':' in norm else ':'}{part}")
        elif names_role:
            pieces.append((key, value))
        else:
            pieces.append(("", part.strip()))
    return pieces


def _is_option(norm: str, key: str, value: str) -> bool:
    """Whether ``key=value`` behind ``norm`` is an option of it and not the next role.

    A built-in norm says its options. Of a user's, which is not looked up for this, it is an option unless the value
    is the name of a norm.
    """
    name = norm.partition(":")[0]
    spec = next((spec for spec in NORMS if spec.name == name), None)
    if spec is not None:
        return any(option.name == key for option in spec.options) or not _names_norm(value)
    return not _names_norm(value)


def _names_norm(value: str) -> bool:
    """Whether a value begins with a built-in norm or has the form of a reference."""
    return value.partition(":")[0] in {SAME, *(spec.name for spec in NORMS)} or ":" in value or value.startswith("@")
