"""Assigns shoppers to arms: the same result in every process, without stored state.

Pure: hashes names. Another salt gives an independent assignment.
"""

import hashlib
from functools import lru_cache

CHAMPION, CANARY, HOLDBACK = "champion", "canary", "holdback"
SHARED = "shared"
"""The arm of shelves that count for no arm: those that all shoppers see, and those made for a model that failed."""

STEPS = 2**64


def assign(shopper: str, salt: str) -> float:
    """A number in [0, 1) for a shopper and a salt, uniform over shoppers (BLAKE2b, 64 bits).

    Examples
    --------
    >>> f"{assign('u1', 'autumn'):.4f}", assign('u1', 'autumn') == assign('u1', 'autumn')
    ('0.7754', True)
    """
    digest = hashlib.blake2b(shopper.encode("utf-8", "surrogatepass"), digest_size=8, key=_key(salt)).digest()
    return int.from_bytes(digest, "big") / STEPS


@lru_cache(maxsize=16)
def _key(salt: str) -> bytes:
    return hashlib.blake2b(salt.encode("utf-8", "surrogatepass"), digest_size=32).digest()
