"""From a study to what is trained: arms with their objects, and combinations that are skipped, with reasons."""

from __future__ import annotations
