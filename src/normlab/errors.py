"""Every error that normlab raises on purpose.

Each message is made of the same three parts: what must hold, what was given, and what to do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, TypeVar, cast

MOST_QUOTED = 120  # characters of what stands between quotation marks in a message
MOST_TEXT, MOST_ADVICE = 400, 2000  # characters of a part of a message: an advice may list all the names that there are
MOST_PROBLEMS = 50  # of a study, in one message
_QUOTED = re.compile(r"""(?<!\w)(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")
_STYLE = re.compile(r"\x1b\[[\d;]*m")  # of a terminal, in which torch sets parts of its messages
_ARGUMENT = re.compile(r"`(\w+)(?:=([^`]*))?`")


class NormlabError(Exception):
    """Base of all errors that carry a message meant for the user."""

    exit_status = 2

    def told(self, names: Mapping[str, str]) -> str:
        """The message for somebody who knows the arguments by other names, such as the flags of a command.

        Arguments:
            names: for arguments of Python, what they are called there.
        """
        return str(self)


class InputError(NormlabError, ValueError):
    """Something that the user gave cannot be used; nothing was started.

    The rule and the advice name arguments of Python as `name` or `name=value`, between backticks, so that a
    command can name its flags in their place.

    Arguments:
        rule: what must hold, as a full sentence without the final stop.
        given: what was given instead; it is shortened where it is long.
        advice: what to do, as a full sentence.

    >>> error = InputError("`batch_size` must be at least 1", given="0", advice="Try `batch_size=64`.")
    >>> print(error)
    `batch_size` must be at least 1; got 0. Try `batch_size=64`.
    >>> print(error.told({"batch_size": "--batch-size"}))
    --batch-size must be at least 1; got 0. Try --batch-size 64.
    """

    def __init__(self, rule: str, given: object, advice: str) -> None:
        self.rule, self.given, self.advice = shortened(rule), shortened(str(given)), shortened(advice, MOST_ADVICE)
        super().__init__(self.told({}))

    def told(self, names: Mapping[str, str]) -> str:
        return f"{renamed(self.rule, names)}; got {self.given}. {renamed(self.advice, names)}"

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        return type(self), (self.rule, self.given, self.advice)  # so that it comes back from another process


class ListedError(InputError):
    """Something cannot be used for several reasons, which follow the message, each on a line of its own.

    Arguments:
        rule, given, advice: as for `InputError`.
        problems: the reasons.

    >>> print(ListedError("a norm must be left", "none", "Change them:", ["batch: no batch.", "group: no groups"]))
    a norm must be left; got none. Change them:
      - batch: no batch.
      - group: no groups.
    """

    def __init__(self, rule: str, given: object, advice: str, problems: Iterable[str]) -> None:
        self.problems = tuple(shortened(problem) for problem in problems)
        super().__init__(rule, given, advice)

    def told(self, names: Mapping[str, str]) -> str:
        problems = (renamed(problem, names).rstrip(".") + "." for problem in self.problems)
        return f"{super().told(names)}\n{_listed(problems)}"

    def __reduce__(self) -> tuple[type[ListedError], tuple[str, str, str, tuple[str, ...]]]:  # type: ignore[override]
        return type(self), (self.rule, self.given, self.advice, self.problems)


Function = TypeVar("Function", bound=Callable[..., Any])


def argument_called(name: str, here: str) -> Callable[[Function], Function]:
    """A decorator for a function that has another name for an argument than the messages of what it calls.

    >>> @argument_called("inputs", "example_inputs")
    ... def fold(example_inputs):
    ...     raise InputError("`inputs` must be tensors", example_inputs, "Try `inputs=8,3,224,224`.")
    >>> fold(3)
    Traceback (most recent call last):
    normlab.errors.InputError: `example_inputs` must be tensors; got 3. Try `example_inputs=8,3,224,224`.
    """

    def decorated(function: Function) -> Function:
        @wraps(function)
        def call(*given: Any, **options: Any) -> Any:
            try:
                return function(*given, **options)
            except InputError as error:
                error.rule, error.advice = (
                    re.sub(rf"`{name}\b", f"`{here}", text) for text in (error.rule, error.advice)
                )
                error.args = (error.told({}),)
                raise

        return cast("Function", call)

    return decorated


class StudyError(NormlabError, ValueError):
    """A study is not valid; the message lists every problem with its path in the file."""

    def __init__(self, origin: str, problems: Iterable[str]) -> None:
        self.origin, self.problems = shortened(origin), tuple(shortened(problem) for problem in problems)
        super().__init__(f"{self.origin} is not a valid study:\n{_listed(self.problems)}")

    def __reduce__(self) -> tuple[type[StudyError], tuple[str, tuple[str, ...]]]:
        return type(self), (self.origin, self.problems)


class ExecutionError(NormlabError):
    """The work could not be completed; what was finished is kept."""

    exit_status = 1


def _listed(problems: Iterable[str]) -> str:
    """Problems line by line, the first ones if there are many."""
    every = list(problems)
    rest = len(every) - MOST_PROBLEMS
    shown = every if rest <= 0 else [*every[:MOST_PROBLEMS], f"and {rest} more."]
    return "\n".join(f"  - {problem}" for problem in shown)


def shortened(text: str, most: int = MOST_TEXT) -> str:
    """Text that may hold something of a user's, fit for a message: short, and with control characters escaped.

    >>> shortened("no norm " + 500 * "x", 29)
    'no norm xxxx ... xxxxxxxxxxxx'
    >>> print(shortened("a" + chr(7) + "b"))
    a\\x07b
    """
    text = _without_middle(text, 2 * MOST_ADVICE)  # what follows takes its time for long texts
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return _without_middle(_QUOTED.sub(lambda match: _without_middle(match[0], MOST_QUOTED), text), most)


def _without_middle(text: str, most: int) -> str:
    half = (most - 5) // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"


def renamed(text: str, names: Mapping[str, str]) -> str:
    """Text with other names for the arguments of Python in it, which stand as `name` or `name=value`.

    >>> renamed("Leave `out` out, or give `compile=True` and `layout=NC`.", {"compile": "--compile", "out": "--out"})
    'Leave --out out, or give --compile and `layout=NC`.'
    """

    def rename(match: re.Match[str]) -> str:
        name, value = names.get(match[1]), match[2]
        if name is None:
            return match[0]
        return name if value in (None, "True") else f"{name} {value}"

    return _ARGUMENT.sub(rename, text)


def plain(name: str) -> str:
    """A name in small letters and digits alone, "normalization" as "norm", so that spellings can be compared.

    >>> plain("Batch-Normalization"), plain("torch.nn.BatchNorm2d")
    ('batchnorm', 'batchnorm2d')
    """
    letters = "".join(letter for letter in name.rpartition(".")[2].lower() if letter.isalnum())
    return re.sub("normali[sz]ation", "norm", letters)


def nearest(name: str, known: Iterable[str], spellings: Mapping[str, str] | None = None) -> str:
    """The hint for an unknown name: the nearest known one, or all of them.

    Arguments:
        name: what was given.
        known: the names that there are.
        spellings: further `plain` spellings, each with the known name that it means; a number of dimensions such as
            2d may follow them.

    >>> nearest("bacth", ["batch", "layer"])
    "Did you mean 'batch'?"
    >>> nearest("zebra", ["batch", "layer"])
    'Choose from batch, layer.'
    >>> nearest("BatchNorm2d", ["batch", "batch-renorm"], {"batchnorm": "batch"})
    "Did you mean 'batch'?"
    """
    names = list(known)
    meant = {one: one for one in names}
    given = name
    if spellings is not None:
        meant = {**spellings, **{plain(one): one for one in names}}
        given = plain(name)
        given = given if given in meant else re.sub(r"[123]d$", "", given)
    close = difflib.get_close_matches(given, meant, n=1, cutoff=0.6)
    return f"Did you mean '{meant[close[0]]}'?" if close else f"Choose from {', '.join(names)}."


def describe_error(error: BaseException) -> str:
    """The kind of an error, and the first line of what it says.

    >>> describe_error(ValueError("\\x1b[1mbold\\x1b[0m"))
    'ValueError: bold'
    >>> describe_error(KeyError("weird")), describe_error(OSError("Too large.\\nMore.")), describe_error(EOFError())
    ("KeyError: 'weird'", 'OSError: Too large', 'EOFError')
    """
    lines = _STYLE.sub("", str(error)).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('. ')}" if lines else type(error).__name__
