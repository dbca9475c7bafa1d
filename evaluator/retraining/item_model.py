"""The item-to-item model of a run: which items shoppers own together, as Redis remembers it, fitted anew. Variants of
one product are one item.

Reads Redis; knows nothing of versions, nor of what ranks with the model.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from evaluator.retraining.config import LearningConfig
from models.ranker import ItemWeights, ease
from models.ranker.item_weights import REGULARISATION
from streams.config import RedisConfig
from streams.features.own import ROW
from streams.redis.connection import ERRORS, connect_now

LEAST_SHOPPERS, LEAST_ITEMS = 100, 20
"""Shoppers with two bought items, and items that they bought, below which no model is fitted."""

AT_ONCE = 500
"""Shoppers whose items are read in one round trip."""

MATCH = "ls:*:own:*"


class ItemModelFit(NamedTuple):
    """A model, or none, and a sentence for the version's description."""

    weights: ItemWeights | None
    said: str


def fitted(
    redis: RedisConfig,
    learning: LearningConfig,
    known: Sequence[str],
    groups: Mapping[str, str] = MappingProxyType({}),
) -> ItemModelFit:
    """The model of what shoppers bought. Takes seconds to a minute of one core.

    Parameters
    ----------
    known
        Items of the model there is. One of fewer than half as many products is not taken in its place: Redis may have
        been emptied.
    groups
        By item the group of variants that it is one of, of items that are.
    """
    try:
        bought = Bought.of(islice(own_items(redis), learning.item_model_shoppers))
    except ERRORS as error:
        return ItemModelFit(None, f"The item-to-item model stays: Redis cannot be read: {error}")
    ids, matrix = bought.matrix(learning.item_model_items, groups)
    before = len({product(item, groups) for item in known})
    if matrix.shape[0] < LEAST_SHOPPERS or len(ids) < max(LEAST_ITEMS, before / 2):
        said = f"{matrix.shape[0]:,} shoppers bought two items or more, of {len(ids):,} different ones"
        return ItemModelFit(None, f"The item-to-item model stays: {said}")
    weights = ItemWeights.of(ids, ease(matrix, REGULARISATION))
    said = f"The item-to-item model is of {matrix.shape[0]:,} shoppers and {len(ids):,} items"
    return ItemModelFit(weights, said)


def own_items(redis: RedisConfig) -> Iterator[Mapping[bytes, bytes]]:
    """What each shopper did with each item, as Redis has it: rows by item."""
    client = connect_now(redis)
    try:
        keys: Iterator[bytes] = iter(client.scan_iter(match=MATCH, count=AT_ONCE))
        while some := list(islice(keys, AT_ONCE)):
            pipe: Any = client.pipeline(transaction=False)
            for key in some:
                pipe.hgetall(key)
            for found in pipe.execute(raise_on_error=False):
                if isinstance(found, dict):  # a key may hold something else
                    yield found
    finally:
        client.close()


def product(item: str, groups: Mapping[str, str]) -> tuple[bool, str]:
    """What stands for an item's product: its group, or itself.

    Examples
    --------
    >>> product("cup-S", {"cup-S": "cup"}), product("cup", {"cup-S": "cup"})
    ((True, 'cup'), (False, 'cup'))
    """
    return item in groups, groups.get(item, item)


class Bought:
    """Which items shoppers bought, of shoppers with two or more: 4 bytes an item, and every item's id once."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._items, self._ends = array("i"), array("q", [0])

    @classmethod
    def of(cls, shoppers: Iterable[Mapping[bytes, bytes]]) -> "Bought":
        """From the rows of shoppers' items; rows that are none are left out.

        Examples
        --------
        >>> row = np.array((2, 0.0, 0, 0, 0), ROW).tobytes()
        >>> seen = np.array((0, 0.2, 0, 0, 0), ROW).tobytes()
        >>> found = Bought.of([{b"cup": row, b"rug": seen, b"pot": row}, {b"cup": row}, {b"cup": row, b"pot": b"?"}])
        >>> ids, matrix = found.matrix(10)
        >>> ids, matrix.toarray().tolist()
        (('cup', 'pot'), [[1.0, 1.0]])
        """
        found = cls()
        for rows in shoppers:
            mine = [item for item, row in rows.items() if len(row) == ROW.itemsize and any(row[:4])]
            if len(mine) > 1:
                for item in mine:
                    name = item.decode("utf-8", "replace")
                    found._items.append(found._places.setdefault(name, len(found._places)))
                found._ends.append(len(found._items))
        return found

    def matrix(self, most: int, groups: Mapping[str, str] = MappingProxyType({})) -> tuple[tuple[str, ...], Any]:
        """Ids of the items with most buyers, by id, and who bought which, zeros and ones, scipy's CSR.

        Variants of one product are one column, and have the id of the one with most buyers, of equal ones the lowest:
        so that readers need to know of items only.

        Examples
        --------
        >>> row = np.array((1, 0.0, 0, 0, 0), ROW).tobytes()
        >>> found = Bought.of([{b"S": row, b"pot": row}, {b"L": row, b"pot": row}, {b"S": row, b"L": row}])
        >>> ids, matrix = found.matrix(10, {"S": "cup", "L": "cup"})
        >>> ids, matrix.toarray().tolist()
        (('L', 'pot'), [[1.0, 1.0], [1.0, 1.0]])
        """
        from scipy.sparse import csr_matrix

        items = np.frombuffer(self._items, np.int32)
        shape = len(self._ends) - 1, len(self._places)
        whole = csr_matrix((np.ones(len(items), np.float32), items, np.frombuffer(self._ends, np.int64)), shape)
        names = np.array([*self._places], object)
        buyers = np.bincount(items, minlength=len(names))
        if groups and len(names):
            products: dict[tuple[bool, str], int] = {}
            at = np.array([products.setdefault(product(name, groups), len(products)) for name in names])
            best = np.lexsort((names, -buyers, at))
            names = names[best[np.unique(at[best], return_index=True)[1]]]
            columns = csr_matrix((np.ones(len(at), np.float32), (np.arange(len(at)), at)))
            whole = whole @ columns
            whole.data[:] = 1.0  # one with two variants is summed otherwise
            whole = whole[whole.getnnz(1) > 1]
            buyers = whole.getnnz(0)
        kept = np.lexsort((names, -buyers))[:most] if len(names) else np.zeros(0, np.int64)
        kept = kept[np.argsort(names[kept])]
        return tuple(names[kept].tolist()), whole[:, kept]
