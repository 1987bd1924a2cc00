"""How the functions of the kernel are compiled.

Numba compiles every function by itself and again within each caller, so that the time grows with the depth of calls.
Functions with one caller therefore become a part of it before anything is compiled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from numba import njit

_like_numpy = partial(njit, error_model="numpy")  # division by zero gives infinity, not an exception

function = _like_numpy(no_cpython_wrapper=True, no_cfunc_wrapper=True)
within = _like_numpy(inline="always")  # of its caller, before compilation
inlined = _like_numpy(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)  # even in large loops


def entry(function: Callable[..., Any]) -> Any:
    """What Python calls. What was compiled is kept for other processes where there is a folder that can be written."""
    try:
        return _like_numpy(cache=True, nogil=True)(function)
    except RuntimeError:  # Numba's word for: no such folder
        return _like_numpy(nogil=True)(function)


def sources() -> str:
    """A hash of the files of the kernel."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.blake2b(b"".join(file.read_bytes() for file in files), digest_size=8).hexdigest()
