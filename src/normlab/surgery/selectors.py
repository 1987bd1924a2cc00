"""Selectors that say which norms of a model are meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from normlab.errors import InputError, describe_error, nearest
from normlab.norms.catalog import BY_NAME, NORMS
from normlab.norms.spellings import spellings
from normlab.recognition.spec import FoundNorm

if TYPE_CHECKING:
    from torch import nn

Value = TypeVar("Value")
EVERY = "*"
FEW = 8  # names in a hint
NOT = "not:"  # before a selector that says which norms are not meant
_EVERY, _KIND, _ROLE, _CLASS, _PREDICATE, _PATTERN, _INSIDE, _NAME = range(8)  # the least exact first


@dataclass(frozen=True)
class Selector:
    """One selector: which norms it means, and how exact it is.

    Arguments:
        text: what it is called in messages.
        matches: whether it means a norm.
        rank: of two selectors that mean a norm the one of the higher rank decides; of the same rank, they must agree.
        own: whether it is a class that is none of torch's, so that whoever gives it means its layers by themselves.
    """

    text: str
    matches: Callable[[FoundNorm], bool]
    rank: tuple[int, int]
    own: bool = False


def selector_of(given: Any, names: Iterable[str]) -> Selector:
    """The selector behind what a user wrote.

    From the most exact on: the full name of a norm, ``"layer1.0.bn1"``; the name of a module, for all norms in it, of
    which a longer one is more exact; ``"re:layer[12].*"``, a regular expression that must fit a whole name; a function
    of the `FoundNorm` that says yes or no; a class, of which a subclass is more exact; ``"role:query-key"``; a kind
    such as ``"batch"``, also written ``"kind:batch"``; and ``"*"``, every norm.

    Arguments:
        given: what the user wrote.
        names: the names of all modules of the model.

    Raises:
        InputError: it is no selector, or a text that no module, kind or role has.
    """
    if isinstance(given, str):
        return _of_text(given.strip(), tuple(names))
    if isinstance(given, type):
        depth = len(given.__mro__)
        return Selector(
            given.__qualname__, lambda found: isinstance(found.module, given), (_CLASS, depth), _is_own(given)
        )
    if callable(given) and not _is_layer(given):
        return _of_function(given)
    what = f"a layer, {type(given).__name__}(...)" if _is_layer(given) else repr(given)
    ways = "a kind, a name, 're:...', 'role:...', a class or a function, a list of these, or a mapping from them"
    raise InputError("a selector must say which norms are meant", what, f"Give {ways}.")


def _is_own(kind: type) -> bool:
    """Whether a class is none of torch's."""
    return not kind.__module__.startswith("torch.")


def _is_layer(given: Any) -> bool:
    from torch import nn

    return isinstance(given, nn.Module)


def _of_function(given: Callable[[FoundNorm], Any]) -> Selector:
    name = getattr(given, "__qualname__", repr(given))

    def matches(found: FoundNorm) -> bool:
        try:
            return bool(given(found))
        except Exception as error:
            rule = "a function among the selectors must say yes or no of a `FoundNorm`"
            what = f"{name!r}, which raised {describe_error(error)}"
            raise InputError(rule, what, "It is given name, kind, channels, role and module.") from error

    return Selector(name, matches, (_PREDICATE, 0))


def _of_text(text: str, names: Sequence[str]) -> Selector:
    head, colon, rest = text.partition(":")
    if not text:
        rule = "a selector must say which norms are meant"
        raise InputError(rule, "an empty text", f"Give {EVERY!r} for every norm.")
    if text == EVERY:
        return Selector(text, lambda found: True, (_EVERY, 0))
    if colon and head == "re":
        return _of_pattern(text, rest)
    if colon and head == "role":
        return Selector(text, lambda found: found.role == rest, (_ROLE, 0))
    if colon and head == "kind":
        if rest not in BY_NAME:
            raise InputError("a kind must be a norm of the catalogue", repr(rest), _hint(rest, BY_NAME))
        return Selector(text, lambda found: found.kind == rest, (_KIND, 0))
    if text in names and text in BY_NAME:
        advice = f"Write 'kind:{text}' or 're:{re.escape(text)}(\\..*)?'."
        raise InputError("a selector must mean one thing", f"{text!r}, a kind and the name of a module", advice)
    if text in names:
        return _of_name(text)
    if text in BY_NAME:
        return Selector(text, lambda found: found.kind == text, (_KIND, 0))
    hints = [nearest(text, [name for name in names if name]), _hint(text, BY_NAME)]
    hint = next((hint for hint in (hints if "." in text else reversed(hints)) if hint.startswith("Did")), "")
    if colon or not hint:
        some = ", ".join([repr(name) for name in names if name][:FEW]) or "'norm'"
        hint = f"Give a kind such as 'batch', a name such as {some}, 're:...', 'role:...', 'kind:...' or '*'."
    raise InputError("a selector must be a kind of norm or the name of a module", repr(text), hint)


def _of_name(text: str) -> Selector:
    """A norm of that name, or all norms in the module of that name."""
    inside = f"{text}." if text else ""

    def matches(found: FoundNorm) -> bool:
        return any(name == text or name.startswith(inside) for name in found.names)

    return Selector(text, matches, (_INSIDE, text.count(".") + bool(text)))


def _of_pattern(text: str, pattern: str) -> Selector:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        rule = "a selector with re: must be a regular expression"
        raise InputError(rule, f"{text!r} ({error})", "Mend it.") from None
    return Selector(text, lambda found: any(compiled.fullmatch(name) for name in found.names), (_PATTERN, 0))


def meant(*several: Any) -> Callable[[str, nn.Module], bool]:
    """Says of a layer whether a user means it by its own name, or by a class that is none of torch's.

    Arguments:
        several: selectors as a user writes them, alone, in lists, or as the keys of mappings.
    """
    groups = (one if isinstance(one, Mapping | list | tuple | set) else (one,) for one in several)
    every = [one for group in groups for one in group]
    classes = tuple(one for one in every if isinstance(one, type) and _is_own(one))
    names = {one.strip() for one in every if isinstance(one, str)}

    def is_meant(name: str, layer: nn.Module) -> bool:
        return name in names or isinstance(layer, classes)

    return is_meant


def _hint(text: str, known: Iterable[str]) -> str:
    return nearest(text, known, spellings(NORMS))


class Selectors(Generic[Value]):
    """Selectors with a value each; for a norm the most exact one that means it decides.

    Arguments:
        values: the selectors, as a user writes them, and what each stands for.
        model: the model that they are about.
    """

    def __init__(self, values: Mapping[Any, Value], model: nn.Module) -> None:
        names = [name for name, _ in model.named_modules(remove_duplicate=False)]
        self._selectors = [(selector_of(given, names), value) for given, value in values.items()]

    def match(self, found: FoundNorm) -> tuple[Selector, Value] | None:
        """The selector that decides about a norm, with its value; None where no selector means it.

        Raises:
            InputError: selectors that are equally exact say different things of it.
        """
        fitting = [(selector, value) for selector, value in self._selectors if selector.matches(found)]
        if not fitting:
            return None
        most = max(_exactness(selector, found) for selector, _ in fitting)
        first, *others = ((selector, value) for selector, value in fitting if _exactness(selector, found) == most)
        for selector, value in others:
            if value != first[1]:
                what = f"{first[0].text!r} for {first[1]} and {selector.text!r} for {value}"
                raise InputError(
                    "selectors that are equally exact must agree", what, "Leave one out, or name the layer itself."
                )
        return first

    def require_used(self, every: Iterable[FoundNorm]) -> None:
        """Raises an error that names the first selector that means none of the norms, with the nearest names."""
        norms = tuple(every)
        for selector, _ in self._selectors:
            if selector.text == EVERY or any(selector.matches(found) for found in norms):
                continue
            raise InputError(
                "a selector must mean at least one norm of the model", repr(selector.text), _there_are(selector, norms)
            )


def _exactness(selector: Selector, found: FoundNorm) -> tuple[int, int]:
    rank, further = selector.rank
    return (_NAME, 0) if rank == _INSIDE and selector.text in found.names else (rank, further)


def _there_are(selector: Selector, norms: Sequence[FoundNorm]) -> str:
    """The nearest names, or what there is."""
    if not norms:
        return "The model has no norms that are known; name a class of your own."
    names = [name for found in norms for name in found.names if name]
    if selector.rank[0] in (_INSIDE, _PATTERN) and names:
        return nearest(selector.text.removeprefix("re:"), names)
    kinds = ", ".join(sorted({found.kind for found in norms if found.kind}))
    roles = ", ".join(sorted({found.role for found in norms}))
    classes = ", ".join(sorted({type(found.module).__name__ for found in norms}))
    return f"There are norms of the kinds {kinds}, of the roles {roles}, of the classes {classes}."


def selected(where: Any) -> dict[Any, bool]:
    """Which norms `where` means, as a mapping from selectors to yes or no.

    A text that begins with ``not:`` says which are not meant; where nothing else is said, all others are.

    >>> selected(["re:stem.*", "kind:group"]), selected({"batch": True, "head.bn": False})
    ({'re:stem.*': True, 'kind:group': True}, {'batch': True, 'head.bn': False})
    >>> selected("not:head")
    {'*': True, 'head': False}
    """
    if isinstance(where, Mapping):
        for selector, wanted in where.items():
            if wanted not in (True, False):
                what = f"{wanted!r} for {selector!r}"
                raise InputError("a mapping in `where` must say True or False of each selector", what, "Say which.")
        return {selector: bool(wanted) for selector, wanted in where.items()}
    several = isinstance(where, Iterable) and not isinstance(where, str | type)
    chosen: dict[Any, bool] = {}
    for selector in where if several else (where,):
        is_text = isinstance(selector, str) and selector.startswith(NOT)
        name = selector.removeprefix(NOT) if is_text else selector
        if chosen.setdefault(name, not is_text) is is_text:
            raise InputError("a selector must be there or not", f"{name!r} and '{NOT}{name}'", "Leave one out.")
    return chosen if any(chosen.values()) or not chosen else {EVERY: True, **chosen}
