"""A client for Python frontends that reads shelves: one ``GET``, and the fallbacks if there is no shelf.

It is only a convenience: any language can build the keys (``docs/redis.md``). Knows only chains of keys and the shelf.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from pydantic import SecretStr
from redis import Redis

from streams.config import RedisConfig
from streams.events.filters import Filter
from streams.events.shelf import Shelf, shelf_decoder
from streams.redis import chains
from streams.redis.connection import connect_now


class ShelfClient:
    """Reads shelves from Redis.

    Each method prefers the best shelf and falls back: personal, then the query's, then the popular one. All keys of a
    chain are read in one round trip. None means that there is not even a popular shelf.

    Parameters
    ----------
    redis
        A client of redis-py for one server or a cluster, or a function that makes it at the first read. The caller sets
        its timeouts.
    """

    def __init__(self, redis: "Redis | Callable[[], Redis]") -> None:
        self._connect = redis if callable(redis) else lambda: redis

    @classmethod
    def from_url(cls, url: str) -> "ShelfClient":
        """A client for a URL. It waits at most a quarter of a second: a page should not wait for recommendations.

        Raises
        ------
        pydantic.ValidationError
            When the URL is invalid.
        """
        config = RedisConfig(url=SecretStr(url))
        return cls(lambda: connect_now(config, timeout_s=0.25))

    @cached_property
    def redis(self) -> "Redis":
        """redis-py's client."""
        return self._connect()

    def close(self) -> None:
        """Close the connections, if there are any."""
        if "redis" in self.__dict__:
            self.redis.close()

    def page(self, filters: Mapping[str, Any], shopper: str | None = None) -> Shelf | None:
        """The shopper's own page of what filters keep, else the page for all; nothing that the filters exclude."""
        key = Filter.of(filters).key
        return self._first(chains.popular(filtered=key) if shopper is None else chains.feed(shopper, filtered=key))

    def feed(self, shopper: str, segment: str = "all") -> Shelf | None:
        """The shopper's feed, else the segment's popular shelf, else the popular shelf of all items."""
        return self._first(chains.feed(shopper, segment))

    def search(self, query: str, shopper: str | None = None, filters: Mapping[str, Any] | None = None) -> Shelf | None:
        """The shopper's own ranking of the query, else the query's shelf for all, else the popular shelf.

        Under filters both are those of the query with these filters (``docs/filters.md``), and there is no other.
        """
        return self._first(chains.search(query, shopper, Filter.of(filters).key))

    def similar(self, item_id: str, segment: str = "all") -> Shelf | None:
        """Items like this one, else the segment's popular shelf, else the popular shelf of all items."""
        return self._first(chains.similar(item_id, segment))

    def popular(self, segment: str = "all") -> Shelf | None:
        """The segment's popular shelf, else the popular shelf of all items."""
        return self._first(chains.popular(segment))

    def _first(self, chain: Sequence[str]) -> Shelf | None:
        with self.redis.pipeline(transaction=False) as pipe:  # single GETs, so that a cluster may hold them anywhere
            for key in chain:
                pipe.get(key)
            for value in pipe.execute():
                if value is not None:
                    return shelf_decoder.decode(value)
        return None
