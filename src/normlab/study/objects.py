"""Norms, tasks, probes and claims that a user gives as objects: how a study names them, and what they depend on."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

MARK = "@"  # before the name of an object that no module holds


def reference_of(thing: Any) -> str:
    """The text that stands for an object in a study: ``package.module:object`` where a module holds it, else ``@name``.

    >>> from normlab.tasks.article import ARTICLE
    >>> reference_of(ARTICLE)
    'normlab.tasks.article:ARTICLE'
    """
    for module in _modules(thing):
        if module.__name__ != "__main__":
            for name, value in vars(module).items():
                if value is thing and name.isidentifier():
                    return f"{module.__name__}:{name}"
    return f"{MARK}{thing.name}"


def source_digest(things: Any) -> str:
    """A hash of the user's code behind objects; empty if there is none but normlab's own and installed libraries'.

    It covers the files in which their functions and classes are written; of code without a file, such as that of a
    notebook's cell, its source or its instructions.
    """
    pieces: dict[str, bytes] = {}
    for code in _code(things, set()):
        name, content = _content(code)
        pieces[name] = content
    if not pieces:
        return ""
    text = b"".join(name.encode() + b"\0" + pieces[name] for name in sorted(pieces))
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def _modules(thing: Any) -> Iterator[ModuleType]:
    """Modules that may hold an object: those of the code that it is made of."""
    names = dict.fromkeys(getattr(code, "__module__", None) or "" for code in _functions(thing, set()))
    yield from (sys.modules[name] for name in names if name in sys.modules)


def _functions(thing: Any, seen: set[int]) -> Iterator[Any]:
    """The functions and classes that an object refers to."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, partial):
        yield from _functions((thing.func, thing.args, thing.keywords), seen)
    elif isinstance(thing, MethodType):
        yield from _functions((thing.__func__, thing.__self__), seen)
    elif isinstance(thing, FunctionType):
        yield thing
        yield from _functions(tuple(cell.cell_contents for cell in thing.__closure__ or () if _is_set(cell)), seen)
        yield from _functions(tuple(_globals_of(thing)), seen)
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


def _globals_of(function: FunctionType) -> Iterator[Any]:
    """The functions and classes that a user's function names."""
    if not _is_users(function):
        return
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, FunctionType | type):
            yield value


def _is_set(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _code(things: Any, seen: set[int]) -> Iterator[Any]:
    yield from (code for code in _functions(things, seen) if _is_users(code))


def _is_users(code: Any) -> bool:
    """Whether a function or class is written by the user: not in normlab, the standard library or site-packages."""
    module = getattr(code, "__module__", None) or ""
    if module.partition(".")[0] in {"normlab", "builtins", *sys.stdlib_module_names} - {"__main__"}:
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is None or not {"site-packages", "dist-packages"} & set(Path(file).parts)


def _content(code: Any) -> tuple[str, bytes]:
    """A name and the text of the file that holds the code, or of the code itself."""
    module = sys.modules.get(code.__module__)
    file = getattr(module, "__file__", None)
    if file is not None and code.__module__ != "__main__":
        return code.__module__, Path(file).read_bytes()
    name = f"{code.__module__}.{code.__qualname__}"
    try:
        return name, inspect.getsource(code).encode()
    except (OSError, TypeError):
        return name, _instructions(code)


def _instructions(code: Any) -> bytes:
    if isinstance(code, FunctionType):
        return _instructions_of(code.__code__)
    methods = [value for _, value in sorted(vars(code).items()) if isinstance(value, FunctionType)]
    return b"".join(_instructions_of(method.__code__) for method in methods)


def _instructions_of(code: CodeType) -> bytes:
    constants = [item if isinstance(item, CodeType) else repr(item).encode() for item in code.co_consts]
    inner = [_instructions_of(item) if isinstance(item, CodeType) else item for item in constants]
    return code.co_code + b"".join(inner) + repr(code.co_names).encode()
