"""Who is in which arm: the same answer everywhere and always, without anything stored.

Pure: hashes names. Another salt deals everybody anew, independently of the first.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache

CHAMPION, CANARY, HOLDBACK = "champion", "canary", "holdback"
SHARED = "shared"
"""On shelves that tell no arm from another: those that shoppers of all arms see, and those that an arm had to lend."""

STEPS = 2**64


def place(shopper: str, salt: str) -> float:
    """A number in [0, 1) that belongs to a shopper under a salt, uniform over shoppers (BLAKE2b, 64 bits).

    Examples
    --------
    >>> f"{place('u1', 'autumn'):.4f}", place('u1', 'autumn') == place('u1', 'autumn')
    ('0.7754', True)
    """
    digest = hashlib.blake2b(shopper.encode("utf-8", "surrogatepass"), digest_size=8, key=_key(salt)).digest()
    return int.from_bytes(digest, "big") / STEPS


def assign(shopper: str, salt: str, shares: Mapping[str, float]) -> str:
    """A shopper's arm.

    Parameters
    ----------
    shares
        Share of each arm, in an order that must not change: growing the last arm but one moves only shoppers between it
        and the last.

    Raises
    ------
    ValueError
        When a share is negative, or they do not sum to one.

    Examples
    --------
    >>> arms = [assign(f"u{number}", "autumn", {"canary": 0.1, "champion": 0.9}) for number in range(10_000)]
    >>> 900 < arms.count("canary") < 1_100
    True
    """
    if any(share < 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError(f"shares of arms must be at least zero and sum to one, not {dict(shares)}")
    at, reached = place(shopper, salt), 0.0
    for arm, share in shares.items():
        reached += share
        if at < reached:
            return arm
    return list(shares)[-1]


@lru_cache(maxsize=16)
def _key(salt: str) -> bytes:
    return hashlib.blake2b(salt.encode("utf-8", "surrogatepass"), digest_size=32).digest()
