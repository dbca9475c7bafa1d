"""Fewer dimensions for the token states that are stored, so that an item takes a third of the memory.

Knows matrices only. The projection is orthogonal and drawn from a fixed seed, so it needs no data, no file and no
fitting, and every worker has the same; by Johnson and Lindenstrauss (1984) cosines survive it nearly unchanged. The
figures against a fitted one stand in ``docs/scorer.md``.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

SEED = 160


def orthogonal(dim: int, token_dim: int) -> npt.NDArray[np.float32]:
    """A matrix [D, T] with orthonormal columns; the identity where nothing is to be saved.

    Raises
    ------
    ValueError
        When it should widen.

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


@cache  # a process asks several times, and on a busy machine the factorisation takes half a second
def _drawn(dim: int, token_dim: int) -> npt.NDArray[np.float32]:
    drawn = np.random.default_rng(SEED).standard_normal((dim, token_dim))
    matrix, upper = np.linalg.qr(drawn)
    matrix *= np.sign(np.diag(upper))  # one of the many factorisations, whatever the library's taste
    return matrix.astype(np.float32)
