"""Titles of the catalogue's items, as many as there is room for.

Pure: takes records of ``shop.items``.
"""

import msgspec

LONGEST = 160


class _Titled(msgspec.Struct):
    title: str


_decoder = msgspec.json.Decoder(_Titled)


class Titles:
    """Titles by item id; of more than ``most`` items those told of longest ago are forgotten.

    Examples
    --------
    >>> titles = Titles(most=2)
    >>> for item in ("a", "b", "c"): titles.update(item.encode(), b'{"title":"Item %s"}' % item.encode())
    >>> titles.get("a"), titles.get("c"), len(titles)
    (None, 'Item c', 2)
    >>> titles.update(b"c", None)
    >>> titles.get("c")
    """

    def __init__(self, most: int = 500_000) -> None:
        self.most = most
        self._titles: dict[str, str] = {}

    def update(self, key: bytes | None, value: bytes | None) -> None:
        """Take a record in; one without a value deletes the item.

        Raises
        ------
        msgspec.DecodeError, UnicodeDecodeError
            When it is no item.
        """
        item = (key or b"").decode()
        self._titles.pop(item, None)
        if value is not None:
            self._titles[item] = _decoder.decode(value).title[:LONGEST]
            if len(self._titles) > self.most:
                del self._titles[next(iter(self._titles))]

    def get(self, item: str) -> str | None:
        """An item's title, None where it is not known."""
        return self._titles.get(item)

    def __len__(self) -> int:
        return len(self._titles)
