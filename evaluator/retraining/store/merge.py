"""Tables that are each in order, as one sequence of tables in order, a few at a time in memory. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from evaluator.retraining.store.columns import ORDER


def merged(parts: Iterable[Iterable[Any]], order: Sequence[str] = ORDER) -> Iterator[Any]:
    """What several sources hold, each of which gives its tables in order, in one order.

    No more than a table of each source is held, unless more than that are of one moment.

    Parameters
    ----------
    order
        Columns to order by, the first of which is ``ts``.

    Examples
    --------
    >>> def of(*times):
    ...     return [pa.table({"ts": some}) for some in times]
    >>> [part["ts"].to_pylist() for part in merged([of([1, 4], [6]), of([2, 4], [5, 5])], ["ts"])]
    [[1, 2], [4, 4], [5, 5], [6]]
    """
    sources = {number: iter(part) for number, part in enumerate(parts)}
    waiting: dict[int, Any] = {}
    short = set(sources)
    while sources or waiting:
        for number in short:
            _refill(number, sources, waiting)
        # Beyond the first end of what is at hand, rows may be missing.
        bound = min((_last(waiting[number]) for number in sources), default=None)
        ready = []
        for number, part in list(waiting.items()):
            count = len(part) if bound is None else int(np.searchsorted(part["ts"].to_numpy(), bound))
            ready.append(part.slice(0, count))
            waiting[number] = part.slice(count)
            if count == len(part) and number not in sources:
                del waiting[number]
        if any(map(len, ready)):
            yield pa.concat_tables(ready).sort_by([(name, "ascending") for name in order])
        short = {number for number in sources if _last(waiting[number]) == bound}


def rechunked(tables: Iterable[Any], count: int) -> Iterator[Any]:
    """The same rows in tables of at least ``count``, but for the last.

    Examples
    --------
    >>> [len(part) for part in rechunked([pa.table({"ts": [1, 2]})] * 5, 4)]
    [4, 4, 2]
    """
    held: list[Any] = []
    for one in tables:
        held.append(one)
        if sum(map(len, held)) >= count:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


def _refill(number: int, sources: dict[int, Iterator[Any]], waiting: dict[int, Any]) -> None:
    more = next((part for part in sources[number] if len(part)), None)
    if more is None:
        del sources[number]
    elif number in waiting:
        waiting[number] = pa.concat_tables([waiting[number], more])
    else:
        waiting[number] = more


def _last(part: Any) -> int:
    return int(part["ts"][-1].as_py())
