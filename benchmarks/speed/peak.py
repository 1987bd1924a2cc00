"""A normlab command with what it took: ``python -m speed.peak COMMAND ...``.

Its last line of output is JSON: seconds from start to end without the start of Python, and the peak memory.
"""

from __future__ import annotations

import json
import sys
from time import perf_counter

from normlab.cli import main
from speed.growth import peak_mib

if __name__ == "__main__":
    began = perf_counter()
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
    print(json.dumps({"seconds": perf_counter() - began, "peak_mib": peak_mib()}), file=sys.__stdout__)
