"""Titles of the catalogue's items, as many as there is room for.

Pure: takes records of ``shop.items``.
"""

from typing import Any, NamedTuple

import msgspec

from streams.events.schema import Id

LONGEST = 160


class _Titled(msgspec.Struct):
    title: str


_decoder = msgspec.json.Decoder(_Titled)


class Titled(NamedTuple):
    """An item's title; None where the item was deleted."""

    item_id: str
    title: str | None


def parse(message: Any, _now_ms: int) -> Titled:
    """What a consumed Kafka message says; for :class:`streams.kafka.guard.Guard`.

    Raises
    ------
    ValueError
        When it is no item.
    """
    item_id = msgspec.convert((message.key or b"").decode(), Id)
    return Titled(item_id, None if message.value is None else _decoder.decode(message.value).title[:LONGEST])


class Titles:
    """Titles by item id; of more than ``most`` items those told of longest ago are forgotten.

    Examples
    --------
    >>> titles = Titles(most=2)
    >>> for item in ("a", "b", "c"): titles.update(Titled(item, f"Item {item}"))
    >>> titles.get("a"), titles.get("c"), len(titles)
    (None, 'Item c', 2)
    >>> titles.update(Titled("c", None))
    >>> titles.get("c")
    """

    def __init__(self, most: int = 500_000) -> None:
        self.most = most
        self._titles: dict[str, str] = {}

    def update(self, told: Titled) -> None:
        """Take in what a record says."""
        self._titles.pop(told.item_id, None)
        if told.title is not None:
            self._titles[told.item_id] = told.title
            if len(self._titles) > self.most:
                del self._titles[next(iter(self._titles))]

    def get(self, item: str) -> str | None:
        """An item's title, None where it is not known."""
        return self._titles.get(item)

    def __len__(self) -> int:
        return len(self._titles)
