"""Norms, tasks, probes and claims that a user gives as objects: how a study names them, and what they depend on."""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, TypeVar

from normlab.errors import InputError

MARK = "@"  # before the name of an object that no module holds
Expected = TypeVar("Expected")
_MODULE = re.compile(r"([A-Za-z_][\w.]*):[A-Za-z_]")  # of package.module:object, wherever it stands in a text
NAMELESS = frozenset({"<string>", "<stdin>"})  # files of code that was given as text
_NOT_THE_USERS = frozenset({"normlab", "builtins", *sys.stdlib_module_names})
_CODE = (FunctionType, type, ModuleType)
_VALUES = (bool, int, float, complex, str, bytes)


def reference_of(thing: Any) -> str:
    """The text that stands for an object in a study: ``package.module:object`` where a module holds it, else ``@name``.

    >>> from normlab.tasks.article import ARTICLE
    >>> reference_of(ARTICLE)
    'normlab.tasks.article:ARTICLE'
    """
    for module in _modules(thing):
        if module.__name__ != "__main__":
            for name, value in tuple(vars(module).items()):
                if value is thing and name.isidentifier():
                    return f"{module.__name__}:{name}"
    return f"{MARK}{thing.name}"


def unmarked(text: str) -> str:
    """A text of a study for readers, who gave an object and know it by its name.

    >>> unmarked("block=@own,output=layer on @Mine")
    'block=own,output=layer on Mine'
    """
    return text.replace(MARK, "")


def texts_of(items: Any, objects: dict[str, Any]) -> Any:
    """A list of a study in which texts stand for objects; what is no list is left to those who check it.

    Arguments:
        items: texts and named objects.
        objects: gets the objects, by the texts that stand for them.

    Raises:
        InputError: one name stands for two objects, or a class, a function or a layer is given as it is.
    """
    if not isinstance(items, list | tuple):
        return items
    if (bare := next((item for item in items if callable(item) and not hasattr(item, "name")), None)) is not None:
        given = f"the class {bare.__name__}" if isinstance(bare, type) else repr(bare)
        advice = (
            "Make one of it, a NormSpec for a norm, and give that or its package.module:NAME; docs/extending.md has "
            "an example of each."
        )
        raise InputError("what a study uses must be a NormSpec, Task, Claim or Probe, or its text", given, advice)
    return [item if isinstance(item, str) or not hasattr(item, "name") else _text_of(item, objects) for item in items]


def _text_of(item: Any, objects: dict[str, Any]) -> str:
    text = reference_of(item)
    if objects.setdefault(text, item) is not item:
        rule = "objects of Python that are given to a study must differ in their names"
        raise InputError(rule, f"{item.name!r} twice", "Rename one of the two.")
    return text


def object_behind(reference: str, objects: Mapping[str, Any], kind: str, expected: type[Expected]) -> Expected:
    """What was given as an object of Python.

    Arguments:
        reference: the text that stands for it.
        objects: the objects that were given, by these texts.
        kind: what it is, for the message.
        expected: the type that it must have.

    Raises:
        InputError: it was not given this time, as where a study is read from a file.
    """
    if isinstance(value := objects.get(reference), expected):
        return value
    rule = f"a {kind} that was given as an object of Python must be given again"
    advice = "Run the study from Python, or put the object into a module and name it as package.module:object."
    raise InputError(rule, repr(reference), advice)


def source_digest(things: Any, references: Iterable[str] = (), data: Any = ()) -> str:
    """A hash of the user's code behind objects; empty if there is none but normlab's own and installed libraries'.

    It covers the files in which their functions and classes are written, and the user's modules that these name; of
    code without a file, such as that of a notebook's cell, its source or its instructions, with the numbers and texts
    that it names; and the numbers and texts that functions close over.
    """
    named = [sys.modules[name] for text in references for name in _MODULE.findall(text) if name in sys.modules]
    codes = list(_code((things, named), {}))
    pieces = {_content(code) for code in codes}  # several may have one name, such as <lambda>
    pieces |= {("closed over", held) for code in codes if (held := _closed_over(code))}
    if values := b"".join(_plain(data)):
        pieces.add(("data", values))
    if not pieces:
        return ""
    text = b"".join(name.encode() + b"\0" + content for name, content in sorted(pieces))
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def _modules(thing: Any) -> Iterator[ModuleType]:
    """Modules that may hold an object: those of the code that it is made of, then all of the user's and normlab's."""
    names = dict.fromkeys(getattr(code, "__module__", None) or "" for code in _functions(thing, {}))
    yield from (sys.modules[name] for name in names if name in sys.modules)
    for name, module in sorted(sys.modules.items()):  # what is plain data, such as a claim, is made of no user's code
        if isinstance(module, ModuleType) and (name.startswith("normlab.") or _is_users(module)):
            yield module


def _functions(thing: Any, seen: dict[int, Any]) -> Iterator[Any]:
    """The functions and classes that an object refers to; what was seen is kept, so that no id comes twice."""
    if id(thing) in seen:
        return
    seen[id(thing)] = thing
    if isinstance(thing, partial):
        yield from _functions((thing.func, thing.args, thing.keywords), seen)
    elif isinstance(thing, MethodType):
        yield from _functions((thing.__func__, thing.__self__), seen)
    elif isinstance(thing, FunctionType):
        yield thing
        yield from _functions(tuple(cell.cell_contents for cell in thing.__closure__ or () if is_set(cell)), seen)
        yield from _functions(tuple(_globals_of(thing)), seen)
    elif isinstance(thing, ModuleType):
        if _is_users(thing):
            yield thing
            values = tuple(vars(thing).values())
            yield from _functions(tuple(item for item in values if isinstance(item, _CODE)), seen)
    elif isinstance(thing, type):
        yield thing
        if _is_users(thing):
            yield from _functions(tuple(vars(thing).values()), seen)
    elif is_dataclass(thing):
        yield type(thing)
        yield from _functions(tuple(getattr(thing, field.name) for field in fields(thing)), seen)
    elif isinstance(thing, Mapping):
        yield from _functions(tuple(thing.values()), seen)
    elif isinstance(thing, list | tuple | set | frozenset):
        for item in thing:
            yield from _functions(item, seen)


def _globals_of(function: FunctionType, kinds: tuple[type, ...] = _CODE) -> Iterator[Any]:
    """What a user's function names: functions, classes and modules, or values of other kinds."""
    if not _is_users(function):
        return
    for name in _names(function.__code__):
        value = function.__globals__.get(name)
        if isinstance(value, kinds):
            yield value


def _names(code: CodeType) -> Iterator[str]:
    """The names that code looks up outside itself, that of functions within it included."""
    yield from code.co_names
    for item in code.co_consts:
        if isinstance(item, CodeType):
            yield from _names(item)


def is_set(cell: Any) -> bool:
    """Whether a variable that a function closes over has a value yet."""
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _code(things: Any, seen: dict[int, Any]) -> Iterator[Any]:
    yield from (code for code in _functions(things, seen) if _is_users(code))


def _is_users(code: Any) -> bool:
    """Whether a function or class is written by the user: not in normlab, the standard library or site-packages."""
    module = _module_of(code)
    if module == "__main__":  # whatever program has put it there, such as that of a notebook
        return True
    if module.partition(".")[0] in _NOT_THE_USERS:
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is None or not _is_installed(file)


@cache
def _is_installed(file: str) -> bool:
    """Whether a file belongs to an installed library; asked for every module that is loaded, again and again."""
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)


def _module_of(code: Any) -> str:
    """The name of the module that holds a function or class, or of the module itself; empty if nothing says so."""
    name = code.__name__ if isinstance(code, ModuleType) else getattr(code, "__module__", None)
    return name or ""


def _content(code: Any) -> tuple[str, bytes]:
    """A name and the text of the file that holds the code, or of the code itself."""
    name = _module_of(code)
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is not None and name != "__main__":
        return name, Path(file).read_bytes()
    if isinstance(code, ModuleType):  # a package without a file of its own
        return name, b""
    return f"{name}.{code.__qualname__}", _source(code) + _instructions(code) + _constants(code)


def _source(code: Any) -> bytes:
    """The text of code without a file, where somebody keeps it, as notebooks do for each of their cells."""
    files = {method.__code__.co_filename for method in _methods(code)}
    if files & NAMELESS:  # what is kept under such a name may be any other code
        return b""
    try:
        return inspect.getsource(code).encode()
    except (OSError, TypeError):
        return b""


def _methods(code: Any) -> list[FunctionType]:
    """A function, or those of a class."""
    if isinstance(code, FunctionType):
        return [code]
    return [value for _, value in sorted(vars(code).items()) if isinstance(value, FunctionType)]


def _instructions(code: Any) -> bytes:
    return b"".join(_instructions_of(method.__code__) for method in _methods(code))


def _instructions_of(code: CodeType) -> bytes:
    inner = [_instructions_of(item) if isinstance(item, CodeType) else _written(item) for item in code.co_consts]
    return code.co_code + b"".join(inner) + repr(code.co_names).encode()


def _constants(code: Any) -> bytes:
    """The numbers and texts that code names, with those that it holds."""
    values: list[Any] = []
    for method in _methods(code):
        values += _globals_of(method, _VALUES)
        values += [value for value in method.__defaults__ or () if isinstance(value, _VALUES)]
    return b"".join(_written(value) for value in values)


def _closed_over(code: Any) -> bytes:
    """The numbers and texts that code holds which was made within a function, by their names; a file has no trace."""
    pieces = []
    for method in [] if isinstance(code, ModuleType) else _methods(code):
        cells = zip(method.__code__.co_freevars, method.__closure__ or (), strict=True)
        held = {name: cell.cell_contents for name, cell in cells if is_set(cell)}
        defaults = method.__defaults__ or () if "<locals>" in method.__qualname__ else ()
        pieces += [_written((name, value)) for name, value in held.items() if isinstance(value, _VALUES)]
        pieces += [_written(value) for value in defaults if isinstance(value, _VALUES)]
    return b"".join([f"{_module_of(code)}.{code.__qualname__}".encode(), *pieces]) if pieces else b""


def _plain(data: Any) -> Iterator[bytes]:
    """The numbers and texts that objects hold, with the names of their fields."""
    if data is None or isinstance(data, _VALUES):
        yield _written(data) + b"\0"
    elif is_dataclass(data) and not isinstance(data, type):
        yield from _plain({field.name: getattr(data, field.name) for field in fields(data)})
    elif isinstance(data, partial):
        yield from _plain((data.func, data.args, data.keywords))
    elif isinstance(data, MethodType) and _is_users(type(data.__self__)):
        yield from _plain(data.__self__)
    elif isinstance(data, Mapping):
        for name, value in data.items():
            yield from _plain(name)
            yield from _plain(value)
    elif isinstance(data, list | tuple):
        for item in data:
            yield from _plain(item)
    elif isinstance(data, set | frozenset):
        yield from sorted(piece for item in data for piece in _plain(item))


def _written(value: Any) -> bytes:
    """A value as bytes; those of a set in an order that does not change from process to process."""
    return repr(sorted(map(repr, value)) if isinstance(value, frozenset) else value).encode()
