"""Loops that are compiled to machine code, where arrays cannot say what is wanted.

numba compiles a function at its first call for the types of its arguments, a second or so each, and keeps the code
beside the module or in the user's cache, so that later processes only load it. Knows nothing of what is compiled.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """The same function, compiled. Python's lock is free while it runs.

    Where neither the package's folder nor the user's cache can be written, each process compiles it anew;
    ``NUMBA_CACHE_DIR`` names another place.

    Examples
    --------
    >>> import numpy as np
    >>> @compiled
    ... def last(values):
    ...     found = values[0]
    ...     for value in values:
    ...         found = value
    ...     return found
    >>> float(last(np.array([1.0, 2.0])))
    2.0
    """
    return _compiled(function)


def compiled_sums(function: F) -> F:
    """As :func:`compiled`, for loops that add up products: sums may be made in any order, so that the processor's
    vectors are used. Results differ in the last digits from one processor to another."""
    return _compiled(function, fastmath={"reassoc", "contract"})


def _compiled(function: F, **options: object) -> F:
    options |= {"nogil": True, "error_model": "numpy"}
    try:
        return cast(F, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # numba finds no place for the code
        return cast(F, numba.njit(**options)(function))
