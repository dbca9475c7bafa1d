"""Loops that are compiled to machine code, where arrays cannot say what is wanted.

numba compiles a function at its first call for the types of its arguments, a second or so each, and keeps the code
beside the module or in the user's cache, so that later processes only load it. Knows nothing of what is compiled.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar, cast

import numba
from numba.core import caching

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., object])


_FunctionCache: Any = caching.FunctionCache  # its methods have no types


class _Cache(_FunctionCache):  # type: ignore[misc]
    """Where numba keeps a function's code. numba's own raises at the function's first call where a file of it is
    damaged, and in each later process too, or where the disk is full; here the function is then compiled anew."""

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        found = None
        try:
            found = super().load_overload(signature, target_context)
        except Exception as error:  # of what is damaged pickle raises any
            self._cannot("read", error)
            with suppress(OSError):
                self.flush()
        if found is None:
            _tell_once()
        return found

    def save_overload(self, signature: Any, data: Any) -> None:
        try:
            super().save_overload(signature, data)
        except OSError as error:
            self._cannot("written", error)

    def _cannot(self, done: str, error: Exception) -> None:
        log.warning("the code of %s in %s cannot be %s: %r", self._name, self.cache_path, done, error)


@cache
def _tell_once() -> None:
    log.warning("compiling loops, which takes some 20 s in all; later starts on this machine load them")


def compiled(function: F) -> F:
    """The same function, compiled. Python's lock is free while it runs.

    Where neither the package's folder nor the user's cache can be written, or what is there is damaged, each process
    compiles it anew; ``NUMBA_CACHE_DIR`` names another place.

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


def _compiled(function: F, fastmath: bool | set[str] = False) -> F:
    found: Any = numba.njit(nogil=True, error_model="numpy", fastmath=fastmath)(function)
    with suppress(RuntimeError):  # numba finds no place for the code
        found._cache = _Cache(function)
    return cast(F, found)
