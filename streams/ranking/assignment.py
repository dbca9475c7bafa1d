"""Who is in which arm: the same answer everywhere and always, without anything stored.

Pure: hashes names. Another salt deals everybody anew, independently of the first.
"""

import hashlib
from functools import lru_cache

CHAMPION, CANARY, HOLDBACK = "champion", "canary", "holdback"
SHARED = "shared"
"""On shelves that tell no arm from another: those that shoppers of all arms see, and those that an arm had to lend."""

STEPS = 2**64


def assign(shopper: str, salt: str) -> float:
    """A number in [0, 1) that belongs to a shopper under a salt, uniform over shoppers (BLAKE2b, 64 bits).

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
