"""What a Python frontend may use to read shelves: one ``GET``, and what to show when it finds nothing.

No more than a convenience: any language builds the keys itself (``docs/redis.md``). Knows only keys and the shelf.
"""

from collections.abc import Callable, Sequence
from functools import cached_property

from pydantic import SecretStr
from redis import Redis

from streams.config import RedisConfig
from streams.events.shelf import Shelf, shelf_decoder
from streams.redis import keys
from streams.redis.connection import connect_now


class ShelfClient:
    """Reads shelves from Redis.

    Each method asks for the best shelf first and falls back: personal, then the query's, then what is popular. All
    keys of a chain are asked for in one round trip. None means that not even a popular shelf is there.

    Parameters
    ----------
    redis
        A client of redis-py, for one server or a cluster, or what makes it when a shelf is first asked for; its
        timeouts are the caller's.
    """

    def __init__(self, redis: "Redis | Callable[[], Redis]") -> None:
        self._connect = redis if callable(redis) else lambda: redis

    @classmethod
    def from_url(cls, url: str) -> "ShelfClient":
        """A client for a URL, waiting at most a quarter of a second: a page should not wait on recommendations.

        Raises
        ------
        pydantic.ValidationError
            When the URL cannot be read.
        """
        config = RedisConfig(url=SecretStr(url))
        return cls(lambda: connect_now(config, timeout_s=0.25))

    @cached_property
    def redis(self) -> "Redis":
        """redis-py's client."""
        return self._connect()

    def close(self) -> None:
        """Close the connections, where there are any."""
        if "redis" in self.__dict__:
            self.redis.close()

    def feed(self, shopper: str, segment: str = "all") -> Shelf | None:
        """The shopper's feed, else what is popular in the segment, else popular at all."""
        return self._first([keys.feed(shopper), keys.popular(segment), keys.popular()])

    def search(self, query: str, shopper: str | None = None) -> Shelf | None:
        """The shopper's own ranking of the query, else everyone's, else what is popular."""
        personal = [keys.search(query, shopper)] if shopper is not None else []
        return self._first([*personal, keys.search(query), keys.popular()])

    def similar(self, item_id: str, segment: str = "all") -> Shelf | None:
        """Items like this one, else what is popular in the segment, else popular at all."""
        return self._first([keys.similar(item_id), keys.popular(segment), keys.popular()])

    def popular(self, segment: str = "all") -> Shelf | None:
        """What is popular in the segment, else popular at all."""
        return self._first([keys.popular(segment), keys.popular()])

    def _first(self, chain: Sequence[str]) -> Shelf | None:
        with self.redis.pipeline(transaction=False) as pipe:  # single GETs, so that a cluster may hold them anywhere
            for key in dict.fromkeys(chain):
                pipe.get(key)
            for value in pipe.execute():
                if value is not None:
                    return shelf_decoder.decode(value)
        return None
