"""Reduces the dimensions of stored token states, so that an item takes a third of the memory.

Knows matrices only. The projection is orthogonal and drawn from a fixed seed, so it needs no data, file or fitting, and
every worker has the same one. By Johnson and Lindenstrauss (1984) it leaves cosines nearly unchanged.
``docs/scorer.md`` compares it with a fitted projection.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

SEED = 160


def orthogonal(dim: int, token_dim: int) -> npt.NDArray[np.float32]:
    """A matrix [D, T] with orthonormal columns; the identity if both widths are equal.

    Raises
    ------
    ValueError
        When ``token_dim`` is larger than ``dim``.

    Examples
    --------
    >>> matrix = orthogonal(384, 156)
    >>> bool(np.allclose(matrix.T @ matrix, np.eye(156), atol=1e-5))
    True
    """
    if token_dim > dim:
        raise ValueError(f"{dim} dimensions cannot be projected to {token_dim}")
    if token_dim == dim:
        return np.eye(dim, dtype=np.float32)
    return _drawn(dim, token_dim).copy()


@cache  # a process calls it several times, and on a busy machine the factorisation takes half a second
def _drawn(dim: int, token_dim: int) -> npt.NDArray[np.float32]:
    drawn = np.random.default_rng(SEED).standard_normal((dim, token_dim))
    matrix, upper = np.linalg.qr(drawn)
    matrix *= np.sign(np.diag(upper))  # fixes the signs, so that the result does not depend on the library
    return matrix.astype(np.float32)
