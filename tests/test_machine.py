"""What is known of the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from normlab import machine


def test_memory_is_known_and_bounded_by_a_container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "_LIMITS", (str(limit),))
    for text in (None, "max\n"):  # no container, and one without a limit
        if text:
            limit.write_text(text)
        free, physical = machine.free_memory(), machine.physical_memory()
        assert free is None or 2**20 < free <= physical
    limit.write_text("4096\n")
    assert (machine.free_memory(), machine.physical_memory()) == (4096, 4096)


def test_where_the_system_does_not_say_the_free_memory_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_LIMITS", ())
    monkeypatch.setattr(machine, "_available", lambda: None)
    monkeypatch.setattr(os, "sysconf", lambda name: (_ for _ in ()).throw(ValueError(name)))
    assert machine.free_memory() is None
    assert machine.physical_memory() == machine.UNKNOWN_BYTES
