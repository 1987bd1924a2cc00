"""`normlab report`: writes the report of a study anew."""

from __future__ import annotations

import normlab
from normlab.cli.console import show_files
from normlab.cli.parameters import Directory


def report(directory: Directory) -> None:
    """Write the page, the pictures and summary.json of a study anew."""
    show_files(normlab.load(directory).report(directory), directory)
