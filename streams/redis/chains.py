"""Which shelf keys to ask for, in which order: the best shelf, then what to show instead (``docs/redis.md``).

Pure: takes ids, queries and filters' keys, returns keys. Knows nothing of how they are read.
"""

from streams.redis import keys


def feed(shopper: str, segment: str = "all", filtered: str = "") -> list[str]:
    """The shopper's feed, else the segment's popular shelf, else that of all items; under a filter its pages alone.

    Examples
    --------
    >>> feed("u1", "Mice")
    ['shelf:feed:u1', 'shelf:popular:Mice', 'shelf:popular:all']
    >>> feed("u1", filtered="brand=acme")
    ['shelf:feed:u1:brand=acme', 'shelf:popular:brand=acme']
    """
    return [keys.feed(shopper, filtered), *popular(segment, filtered)]


def search(query: str, shopper: str | None = None, filtered: str = "") -> list[str]:
    """The shopper's own ranking of the query, else the query's shelf for all, else, without a filter, what is popular.

    Examples
    --------
    >>> search("hose", "u1")
    ['shelf:search:hose:u1', 'shelf:search:hose', 'shelf:popular:all']
    >>> search("hose", filtered="brand=acme")
    ['shelf:search:hose:brand=acme']
    """
    personal = [keys.search(query, shopper, filtered)] if shopper is not None else []
    return [*personal, keys.search(query, None, filtered), *([] if filtered else [keys.popular()])]


def similar(item_id: str, segment: str = "all") -> list[str]:
    """Items like this one, else the segment's popular shelf, else that of all items.

    Examples
    --------
    >>> similar("i1")
    ['shelf:similar:i1', 'shelf:popular:all']
    """
    return [keys.similar(item_id), *popular(segment)]


def popular(segment: str = "all", filtered: str = "") -> list[str]:
    """The segment's popular shelf, else that of all items; under a filter its page for all alone.

    Examples
    --------
    >>> popular("Mice"), popular(), popular(filtered="brand=acme")
    (['shelf:popular:Mice', 'shelf:popular:all'], ['shelf:popular:all'], ['shelf:popular:brand=acme'])
    """
    return list(dict.fromkeys([keys.popular(segment, filtered), *([] if filtered else [keys.popular()])]))
