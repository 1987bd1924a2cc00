"""One reader of what users write: references, options, numbers, sizes, layouts, devices, paths and TOML."""

from __future__ import annotations

import importlib
import os
import re
import sys
import tomllib
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import PathFinder
from math import prod
from operator import index
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeVar

from normlab.errors import InputError, StudyError, nearest

MOST_ELEMENTS = 2**33  # of a shape
MOST_MEBIBYTES = 2**16
MOST_NESTED = 20  # tables and lists within each other in TOML
WHOLE = range(-(2**63), 2**63)  # the whole numbers that a file, an array and a table can hold


class Named(Protocol):
    """Anything that a catalogue holds."""

    @property
    def name(self) -> str: ...


Entry = TypeVar("Entry", bound=Named)
Anything = TypeVar("Anything")
Name = TypeVar("Name", bound=str)


# References


def find(reference: str, kind: str, catalogue: Iterable[Entry], expected: type[Entry]) -> Entry:
    """The catalogue's entry of that name, or the user's object behind ``package.module:object``.

    Arguments:
        reference: a name in the catalogue, or ``package.module:object``.
        kind: what is looked for, as the error message calls it.
        catalogue: the built-in entries.
        expected: the type that a user's object must have.

    Raises:
        InputError: there is no such entry, module or object, or it has another type.
    """
    if ":" in reference:
        return imported(reference, kind, expected)
    entries = {entry.name: entry for entry in catalogue}
    if reference not in entries:
        rule = f"{kind} must be a known name or package.module:object"
        raise InputError(rule, repr(reference), nearest(reference, entries))
    return entries[reference]


def imported(reference: str, kind: str, expected: type[Anything]) -> Anything:
    """The object behind ``package.module:object``.

    Raises:
        InputError: there is no such module or object, the module fails when it is imported, or the object has
            another type than ``expected``.
    """
    module_name, _, attribute = reference.partition(":")
    rule = f"{kind} must name an importable {expected.__name__} as package.module:object"
    module = _module(module_name, reference, rule)
    value = getattr(module, attribute, None)
    if value is None:
        names = [
            name for name, value in vars(module).items() if isinstance(value, expected) and not name.startswith("_")
        ]
        advice = nearest(attribute, names) if names else f"{module_name} holds no {expected.__name__}."
        raise InputError(rule, repr(reference), advice)
    if not isinstance(value, expected):
        raise InputError(rule, f"{reference!r}, a {type(value).__name__}", f"Make it a normlab {expected.__name__}.")
    return value


def _module(name: str, reference: str, rule: str) -> ModuleType:
    """The module of that name, which may have been written a moment ago."""
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        given = f"{reference!r} ({type(error).__name__}: {error})"
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            advice = "Check the spelling, and that the module is beside the study, in the current folder or installed."
        elif isinstance(error, SystemExit):
            advice = "Keep what a script does under `if __name__ == '__main__':`."
        else:
            advice = f"The module fails{_place(error)} when it is imported; mend it."
        raise InputError(rule, given, advice) from error
    _refuse_namesake(module, name.partition(".")[0], reference, rule)
    return module


def _place(error: Exception) -> str:
    """Where in a file the error was raised, in words; nothing where that is not known."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        return f" in line {error.lineno} of {error.filename}"
    last = frames[-1] if frames else None
    return f" in line {last.lineno} of {last.filename}" if last and "importlib" not in last.filename else ""


def _refuse_namesake(module: ModuleType, name: str, reference: str, rule: str) -> None:
    """A module that was loaded from another folder must not stand for the one that is meant now."""
    loaded, here = sys.modules[name].__spec__, PathFinder.find_spec(name)
    before, now = (spec.origin if spec else None for spec in (loaded, here))
    if before and now and Path(before).resolve() != Path(now).resolve():
        given = f"{reference!r}, of which {before} is loaded and {now} is meant"
        raise InputError(rule, given, "Give one of the two files another name, or start Python anew.")


@contextmanager
def importable_from(*folders: Path | str) -> Iterator[None]:
    """Lets references find modules in these folders, before all other places.

    Worker processes that are started meanwhile find them too.

    >>> with importable_from("here"):
    ...     sys.path[0] == str(Path("here").absolute())
    True
    """
    added = [str(Path(folder).absolute()) for folder in folders]
    sys.path[:0] = added
    try:
        yield
    finally:
        for folder in added:
            if folder in sys.path:
                sys.path.remove(folder)


# Options


def split_options(text: str, known: Iterable[str]) -> tuple[str, str]:
    """A reference and the text of its options.

    Arguments:
        text: ``name:key=value,key=value`` or ``package.module:object:key=value``.
        known: the names of the catalogue, behind which options follow at once.

    >>> split_options("group:groups=8,eps=1e-3", ["group"])
    ('group', 'groups=8,eps=1e-3')
    >>> split_options("mine:OWN", ["group"]), split_options("mine:OWN:size=3", ["group"])
    (('mine:OWN', ''), ('mine:OWN', 'size=3'))
    """
    head, _, rest = text.strip().partition(":")
    attribute, _, options = rest.partition(":")
    if rest and "=" not in attribute and head not in set(known):
        return f"{head}:{attribute}", options
    return head, rest


def option_texts(text: str, whole: str, usage: str) -> dict[str, str]:
    """The values in ``key=value,key=value``, as texts by key.

    Arguments:
        text: the options alone.
        whole: all that was given, for messages.
        usage: which options there are, for messages.

    Raises:
        InputError: something is no pair, or a key is given twice.

    >>> option_texts("groups=8, eps=1e-3", "group:groups=8, eps=1e-3", "")
    {'groups': '8', 'eps': '1e-3'}
    """
    values: dict[str, str] = {}
    for pair in filter(None, text.split(",")):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals:
            raise InputError("an option must be key=value", f"{pair!r} in {whole!r}", usage)
        if key in values:
            raise InputError(f"{key} must be given once", repr(whole), "Remove one of the two.")
        values[key] = value
    return values


# Numbers


def whole_number(text: str) -> int:
    """The whole number in a text.

    Raises:
        ValueError: it is none, or one that 64 bits do not hold.

    >>> whole_number("-12")
    -12
    """
    if not re.fullmatch(r"\s*[+-]?[0-9_]{1,30}\s*", text):
        raise ValueError(f"no whole number of 64 bits: {text[:40]!r}")
    value = int(text)
    if value not in WHOLE:
        raise ValueError(f"no whole number of 64 bits: {text[:40]!r}")
    return value


def truth(text: str) -> bool:
    """Whether a text says yes or no.

    Raises:
        ValueError: it says neither.

    >>> truth("true"), truth("No")
    (True, False)
    """
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.strip().lower() not in words:
        raise ValueError(f"neither true nor false: {text[:40]!r}")
    return words[text.strip().lower()]


# Sizes, layouts, devices, paths


def sizes(value: str | Sequence[int], argument: str = "shape") -> tuple[int, ...]:
    """The sizes of a shape.

    Arguments:
        value: text such as ``32,64,56,56`` or ``8 x 16``, or a sequence of whole numbers.
        argument: the name of the argument that the shape was given as.

    Raises:
        InputError: they are not whole numbers of at least 1, or make a shape too large for any machine.

    >>> sizes("32,64,56,56"), sizes("8 x 16"), sizes([2, 3])
    ((32, 64, 56, 56), (8, 16), (2, 3))
    """
    advice = f"Try `{argument}=32,64,56,56`."
    try:
        parts = value.replace("x", ",").split(",") if isinstance(value, str) else value
        read = tuple(whole_number(part) if isinstance(part, str) else index(part) for part in parts)
    except (TypeError, ValueError):
        rule = f"`{argument}` must be whole numbers with commas between them"
        raise InputError(rule, repr(value), advice) from None
    if min(read, default=0) < 1:
        raise InputError(f"every size of `{argument}` must be at least 1", repr(value), advice)
    if prod(read) > MOST_ELEMENTS:
        raise InputError(f"`{argument}` must have at most 2^33 elements", repr(value), "Give a smaller one.")
    return read


def mebibytes(text: str, argument: str = "sizes") -> tuple[float, ...]:
    """The sizes in MiB in a text.

    Raises:
        InputError: they are not numbers above 0.

    >>> mebibytes("0.25,1,4")
    (0.25, 1.0, 4.0)
    """
    try:
        read = tuple(float(part) for part in text.split(","))
    except ValueError:
        read = ()
    if not read or not all(0 < size <= MOST_MEBIBYTES for size in read):
        rule = f"`{argument}` must be numbers of MiB above 0 with commas between them"
        raise InputError(rule, repr(text), f"Try `{argument}=0.25,1,4,16,64`.")
    return read


def layout(text: str, known: Iterable[Name], argument: str = "layout") -> Name:
    """The layout of that name, in letters of any case.

    Arguments:
        text: such as ``NCHW`` or ``nchw``.
        known: the layouts that there are.
        argument: the name of the argument that it was given as.

    Raises:
        InputError: there is no such layout.

    >>> layout("nchw", ("NC", "NCHW"))
    'NCHW'
    """
    names = {name.upper(): name for name in known}
    upper = str(text).strip().upper()
    if upper not in names:
        raise InputError(f"`{argument}` must be a known order of axes", repr(text), nearest(upper, names.values()))
    return names[upper]


def device(text: str) -> str:
    """``cpu``, or the name of a GPU that this machine has.

    Raises:
        InputError: it is not there.

    >>> device("cpu")
    'cpu'
    """
    if text == "cpu":
        return text
    import torch

    rule = "`device` must be one that this machine has"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind, colon, number = str(text).partition(":")
    try:
        wanted = whole_number(number) if colon else 0
    except ValueError:
        wanted = -1
    if kind != "cuda" or wanted < 0:
        there = ", ".join(["cpu", *(f"cuda:{number}" for number in range(count))])
        raise InputError(rule, repr(text), f"Choose from {there}.")
    if wanted >= count:
        given = f"{text!r} (torch {torch.__version__} sees {count} GPUs)"
        raise InputError(rule, given, "Use `device=cpu`.")
    return text


def path(text: str | Path) -> Path:
    """A path that this system can look for, whether or not something is there.

    Raises:
        InputError: it is too long, or no path at all.

    >>> path("results/mine").name
    'mine'
    """
    read = Path(text)
    try:
        os.lstat(read)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        rule = "a path must be one that this system allows"
        raise InputError(rule, f"{str(text)!r} ({reason})", "Give a shorter one.") from None
    return read


# TOML


def toml_table(text: str, origin: str) -> dict[str, Any]:
    """What a TOML text holds.

    Arguments:
        text: the TOML.
        origin: where it comes from, for messages.

    Raises:
        StudyError: it is not TOML, it is nested too deeply, or a whole number needs more than 64 bits.

    >>> toml_table("seeds = 3", "here")
    {'seeds': 3}
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StudyError(origin, [f"TOML syntax: {error}"]) from None
    except (ValueError, RecursionError) as error:  # of Python's own limits
        problem = _DEEP if isinstance(error, RecursionError) else f"a number in it: {_LONG}"
        raise StudyError(origin, [problem]) from None
    if problems := list(_limits(content)):
        raise StudyError(origin, problems)
    return content


def toml_value(text: str, origin: str) -> Any:
    """The TOML value in a text, or the text itself where it is no TOML.

    Raises:
        StudyError: it is nested too deeply, or a whole number needs more than 64 bits.

    >>> toml_value("[1, 2]", "here"), toml_value("sgd", "here")
    ([1, 2], 'sgd')
    """
    try:
        tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    except (ValueError, RecursionError):
        pass  # which the next line says more plainly
    return toml_table(f"value = {text}", origin)["value"]


_DEEP = f"must not hold tables and lists nested more than {MOST_NESTED} deep. Flatten it."
_LONG = "must fit into 64 bits. Give a smaller number."


def _limits(content: dict[str, Any]) -> Iterator[str]:
    """What is nested too deeply, and numbers that no array holds; without recursion."""
    pending: list[tuple[str, Any, int]] = [("", content, 0)]
    while pending:
        path, value, depth = pending.pop()
        if depth > MOST_NESTED:
            yield _DEEP
            return
        if isinstance(value, dict):
            pending += [(f"{path}.{key}" if path else key, part, depth + 1) for key, part in value.items()]
        elif isinstance(value, list):
            pending += [(path, part, depth + 1) for part in value]
        elif isinstance(value, int) and value not in WHOLE:
            yield f"{path}: {_LONG}"
