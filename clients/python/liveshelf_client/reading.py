"""Which shelf is asked for: the same methods for every way to read, and for waiting and awaiting.

Knows neither HTTP nor Redis.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from liveshelf_client import keys

Found = TypeVar("Found")


class Question(NamedTuple):
    """A shelf that is asked for; ``filtered`` is the key of its filters."""

    surface: str
    id: str
    user: str | None = None
    segment: str = "all"
    filtered: str = ""

    def chain(self) -> list[str]:
        """The Redis keys to ask for, the best first.

        Examples
        --------
        >>> Question("similar", "i1").chain()
        ['shelf:similar:i1', 'shelf:popular:all']
        """
        if self.surface == "feed":
            return keys.feed(self.id, self.segment, self.filtered)
        if self.surface == "search":
            return keys.search(self.id, self.user, self.filtered)
        if self.surface == "similar":
            return keys.similar(self.id, self.segment)
        return keys.popular(self.id, self.filtered)


class Shelves(Generic[Found]):
    """Reads shelves; each method gives the best that there is, or what to show instead, or None."""

    @abstractmethod
    def _read(self, question: Question) -> Found:
        """What is shown for a question."""

    def feed(self, user: str, segment: str = "all") -> Found:
        """The shopper's feed, else the segment's popular shelf, else the popular shelf of all items."""
        return self._read(Question("feed", user, segment=segment))

    def search(self, query: str, user: str | None = None, filters: Mapping[str, Any] | None = None) -> Found:
        """The shopper's own ranking of the query, else the query's shelf, else the popular shelf; under filters only
        what passes them."""
        return self._read(Question("search", query, user, filtered=keys.filter_key(filters)))

    def page(self, filters: Mapping[str, Any], user: str | None = None) -> Found:
        """The shopper's page of what filters keep, else the page for all.

        Raises
        ------
        ValueError
            When the filters ask for nothing.
        """
        if not (filtered := keys.filter_key(filters)):
            raise ValueError(f"the filters {dict(filters)!r} ask for nothing")
        surface, name = ("popular", "all") if user is None else ("feed", user)
        return self._read(Question(surface, name, filtered=filtered))

    def similar(self, item_id: str, segment: str = "all") -> Found:
        """Items like this one, else the segment's popular shelf, else the popular shelf of all items."""
        return self._read(Question("similar", item_id, segment=segment))

    def popular(self, segment: str = "all") -> Found:
        """The segment's popular shelf, else that of all items."""
        return self._read(Question("popular", segment))
