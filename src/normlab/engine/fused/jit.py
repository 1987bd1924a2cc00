"""How the functions of the kernel are compiled.

Numba compiles every function by itself and again within each caller, so that the time grows with the depth of calls.
Functions with one caller therefore become a part of it before anything is compiled.
"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from numba import njit

_like_numpy = partial(njit, error_model="numpy")  # division by zero gives infinity, not an exception

function = _like_numpy(no_cpython_wrapper=True, no_cfunc_wrapper=True)
within = _like_numpy(inline="always")  # of its caller, before compilation
inlined = _like_numpy(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)  # even in large loops
entry = _like_numpy(cache=True, nogil=True)  # what Python calls


def sources() -> str:
    """A hash of the files of the kernel."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.blake2b(b"".join(file.read_bytes() for file in files), digest_size=8).hexdigest()
