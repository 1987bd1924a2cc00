"""A language: the templates of one file, and how they are filled."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Formatter
from typing import Any

from normlab.errors import InputError, nearest

LANGUAGES = ("english",)  # each is a file of that name beside this one


@dataclass(frozen=True, eq=False)
class Language:
    """The templates of one language by dotted key, such as ``verdict.better``.

    Arguments:
        name: name of the language.
        templates: text with placeholders in braces. Of a template that depends on a number there are the forms
            ``one`` and ``other``; a language without such forms has ``other`` alone.

    >>> ENGLISH.fill("verdict.better", norm="BatchNorm")
    'BatchNorm better'
    >>> ENGLISH.counted("count.seed", 1), ENGLISH.counted("count.seed", 30)
    ('1 seed', '30 seeds')
    """

    name: str
    templates: Mapping[str, str]

    def fill(self, key: str, **values: object) -> str:
        """The template behind ``key`` with every placeholder filled.

        Raises:
            ValueError: the template has other placeholders than those that are given.
        """
        template = self.templates[key]
        names = placeholders(template)
        if names != set(values):
            raise ValueError(f"{key} has the placeholders {sorted(names)}, not {sorted(values)}")
        return template.format(**values)

    def counted(self, key: str, count: int, **values: object) -> str:
        """The form of a template that belongs to a number, with the number where there is a place for it."""
        form = f"{key}.one" if count == 1 and f"{key}.one" in self.templates else f"{key}.other"
        if "count" in placeholders(self.templates[form]):
            values["count"] = f"{count:,}"
        return self.fill(form, **values)

    def enumerated(self, items: Iterable[str], joint: str = "and") -> str:
        """Items in a row, the last one behind ``and`` or ``or``.

        >>> ENGLISH.enumerated(["a", "b", "c"]), ENGLISH.enumerated(["a", "b"], "or"), ENGLISH.enumerated(["a"])
        ('a, b and c', 'a or b', 'a')
        """
        *first, last = items
        if not first:
            return last
        return self.fill(f"list.{joint}", first=self.templates["list.separator"].join(first), last=last)

    def paragraph(self, sentences: Iterable[str]) -> str:
        """Sentences one behind the other, each with a capital letter and a full stop."""
        return self.templates["list.sentences"].join(self.sentence(text) for text in sentences if text)

    def sentence(self, text: str) -> str:
        """A text as a sentence of its own.

        >>> ENGLISH.sentence("no run finished")
        'No run finished.'
        """
        ended = text if text.endswith((".", "。")) else self.fill("list.stop", text=text)
        return capitalized(ended)


def capitalized(text: str) -> str:
    """The text with a capital first letter, the others as they are."""
    return f"{text[:1].upper()}{text[1:]}"


def placeholders(template: str) -> set[str]:
    """The names in braces.

    >>> sorted(placeholders("{a} is above {b}"))
    ['a', 'b']
    """
    return {name for _, name, _, _ in Formatter().parse(template) if name is not None}


@cache
def load_language(name: str) -> Language:
    """The language of that name.

    Raises:
        InputError: there is no such language.
    """
    if name not in LANGUAGES:
        raise InputError("language must be one that there is", repr(name), nearest(name, LANGUAGES))
    text = files("normlab.wording").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return Language(name, dict(_flattened(tomllib.loads(text))))


def _flattened(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


ENGLISH = load_language("english")
