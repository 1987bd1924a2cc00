"""Every error that normlab raises on purpose.

Each message is made of the same three parts: what must hold, what was given, and what to do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping


class NormlabError(Exception):
    """Base of all errors that carry a message meant for the user."""

    exit_status = 2


class InputError(NormlabError, ValueError):
    """Something that the user gave cannot be used; nothing was started.

    Arguments:
        rule: what must hold, as a full sentence without the final stop.
        given: what was given instead.
        advice: what to do, as a full sentence.

    >>> print(InputError("batch_size must be at least 1", given="0", advice="Give a positive number."))
    batch_size must be at least 1; got 0. Give a positive number.
    """

    def __init__(self, rule: str, given: object, advice: str) -> None:
        super().__init__(f"{rule}; got {given}. {advice}")
        self.rule, self.given, self.advice = rule, str(given), advice


class StudyError(NormlabError, ValueError):
    """A study is not valid; the message lists every problem with its path in the file."""

    def __init__(self, origin: str, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"{origin} is not a valid study:\n" + "\n".join(f"  - {p}" for p in self.problems))


class ExecutionError(NormlabError):
    """The work could not be completed; what was finished is kept."""

    exit_status = 1


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

    >>> describe_error(KeyError("weird")), describe_error(OSError("Too large.\\nMore.")), describe_error(EOFError())
    ("KeyError: 'weird'", 'OSError: Too large', 'EOFError')
    """
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('. ')}" if lines else type(error).__name__
