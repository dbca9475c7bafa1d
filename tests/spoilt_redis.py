"""What may stand under our keys in a Redis that others use: other kinds of values, and ours with other contents."""

from collections.abc import Callable, Iterator
from typing import Any

import redis

Spoil = Callable[["redis.Redis", bytes], object]

KINDS: dict[str, Spoil] = {
    "a string": lambda client, key: client.set(key, b"\xc1junk"),
    "a hash": lambda client, key: client.hset(key, mapping={"a": 1, b"\xff": b"\xfe"}),
    "a list": lambda client, key: client.rpush(key, "a", "b"),
    "a set": lambda client, key: client.sadd(key, "a", b"\xff"),
    "a sorted set": lambda client, key: client.zadd(key, {"a": float("inf"), b"\xff": 5.0, "s\x1fx": float("-inf")}),
}


def spoilt(client: "redis.Redis", spoil: Spoil, pattern: str = "*") -> list[bytes]:
    """Put something else under all keys of a pattern; gives the keys."""
    keys = sorted(client.scan_iter(pattern))
    for key in keys:
        client.delete(key)
        spoil(client, key)
    return keys


def mixed(client: "redis.Redis", pattern: str = "*") -> Iterator[bytes]:
    """Add to each key of a pattern, by its kind, what is not ours."""
    for key in sorted(client.scan_iter(pattern)):
        kind: Any = client.type(key)
        if kind == b"hash":
            client.hset(key, mapping={"junk": "junk", b"\xff": b"\xfe", "offset.x": "1e400"})
            for field in list(client.hkeys(key))[:3]:  # type: ignore[arg-type]
                client.hset(key, field, "junk")  # type: ignore[arg-type]
        elif kind == b"zset":
            KINDS["a sorted set"](client, key)
        elif kind == b"set":
            client.sadd(key, "junk", b"\xff", "9" * 5_000)
        else:
            client.set(key, b'{"items":[{"item_id":"\xff"}]}')
        yield key
