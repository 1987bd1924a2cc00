"""Validated plain data: the base of what studies are made of, and its short name by a hash."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Base of the validated, frozen records that a study is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def as_dict(self) -> dict[str, Any]:
        """The record as plain data, every field given."""
        return self.model_dump(mode="json", by_alias=True)

    def changes(self, defaults: Self | None = None) -> dict[str, Any]:
        """The fields that differ from ``defaults`` (those of the class if None), as plain data.

        What is identified by these keeps its identity when a field with a default is added.
        """
        usual = (type(self)() if defaults is None else defaults).as_dict()
        return {name: value for name, value in self.as_dict().items() if value != usual.get(name)}


def digest(content: Any) -> str:
    """A short name for JSON-like content: 24 hexadecimal digits of its BLAKE2b hash.

    >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    True
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
