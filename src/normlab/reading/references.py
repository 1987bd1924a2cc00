"""Objects by their catalogue name or by ``package.module:object``."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeVar

from normlab.errors import InputError, describe_error, nearest


class Named(Protocol):
    """Anything that a catalogue holds."""

    @property
    def name(self) -> str: ...


Entry = TypeVar("Entry", bound=Named)
Anything = TypeVar("Anything")
_MISSING = object()
_PACKAGE = Path(__file__).resolve().parents[1]
_PYTHON = Path(traceback.__file__).parent  # its own modules


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
    """The object of a type behind ``package.module:object``.

    Raises:
        InputError: there is no such module or object, the module fails when it is imported, or the object has
            another type than ``expected``.
    """
    name = expected.__name__
    rule = f"{kind} must name an importable {name} as package.module:object"
    value = loaded(reference, rule, lambda value: isinstance(value, expected), name, f"Make it a normlab {name}.")
    assert isinstance(value, expected)
    return value


def loaded(reference: str, rule: str, accepts: Callable[[object], bool], what: str, advice: str) -> object:
    """The object behind ``package.module:object``, of whatever types are accepted.

    Arguments:
        reference: the text that names it.
        rule: what the reference must do, for messages.
        accepts: whether an object is one of those that are meant.
        what: what such an object is called, for messages.
        advice: what to do about an object that is not accepted.

    Raises:
        InputError: there is no such module or object, the module fails when it is imported, or the object is not
            accepted.

    >>> loaded("math:floor", "a function must be importable", callable, "function", "Make it a function.")
    <built-in function floor>
    """
    module_name, _, attribute = reference.partition(":")
    if module_name.endswith(".py") or "/" in module_name or "\\" in module_name:
        advice = f"Name the module, not its file, from the folder that it is in: {Path(module_name).stem}:{attribute}."
        raise InputError(rule, repr(reference), advice)
    module = _module(module_name, reference, rule)
    value = getattr(module, attribute, _MISSING)
    if value is _MISSING:
        names = [name for name, other in vars(module).items() if not name.startswith("_") and accepts(other)]
        hint = nearest(attribute, names) if names else f"{module_name} holds no {what}."
        raise InputError(rule, repr(reference), hint)
    if not accepts(value):
        raise InputError(rule, f"{reference!r}, {'None' if value is None else f'a {type(value).__name__}'}", advice)
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
    _refuse_namesake(name.partition(".")[0], reference, rule)
    return module


def called(function: Callable[..., Any], rule: str, *arguments: Any, advice: str = "Mend the function.") -> Any:
    """What a function of the user's gives.

    Arguments:
        function: the function.
        rule: what it must do, for messages.
        arguments: what it is called with.
        advice: what to do after an error.

    Raises:
        InputError: it raises an error, or ends the program.

    >>> called(dict, "the function must make the options", [("rate", 0.1)])
    {'rate': 0.1}
    """
    try:
        return function(*arguments)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(rule, described(error), advice) from error


def described(error: BaseException) -> str:
    """What an error of the user's code says, and the last line of that code on the way to it.

    >>> described(ValueError("no such sensor"))
    'ValueError: no such sensor'
    """
    return f"{describe_error(error)}{_place(error)}"


def _place(error: BaseException) -> str:
    """Where in the user's code the error was raised, in words; nothing where that is not known."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        return f" in line {error.lineno} of {error.filename}"
    theirs = [frame for frame in frames if not _is_library(Path(frame.filename))]
    return f" in line {theirs[-1].lineno} of {theirs[-1].filename}" if theirs else ""


def _is_library(file: Path) -> bool:
    """Whether a file is normlab's own, an installed library's or Python's, in which the user has nothing to mend."""
    installed = {"site-packages", "dist-packages"} & set(file.parts) or str(file).startswith("<frozen")
    return bool(installed) or _PACKAGE in file.parents or _PYTHON in file.parents


def _refuse_namesake(name: str, reference: str, rule: str) -> None:
    """A module that was loaded from another folder must not stand for the one that is meant now."""
    specs = sys.modules[name].__spec__, PathFinder.find_spec(name)
    before, now = (spec.origin if spec else None for spec in specs)
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
