"""Reading the examples on disk while they are being written: a time range, the newest ones, the sample of history.

Knows the folder; nothing of what examples are used for. Memory holds a few batches of each file of one span.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluator.attribution.example import LabelledExample
from evaluator.retraining.store.columns import ORDER, rows, whole
from evaluator.retraining.store.folder import Folder
from evaluator.retraining.store.segment import Segment, not_replaced
from models.training.examples import ExamplesError


def merged(parts: Iterable[Iterable[Any]], order: Sequence[str] = ORDER) -> Iterator[Any]:
    """Merge several sources, each of which gives its tables in order.

    At most one table of each source is held, unless more rows than that have one time.

    Parameters
    ----------
    order
        Columns to sort by; the first one is ``ts``.

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
        # Rows later than the earliest end of the loaded tables may still be missing.
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
    """The same rows in tables of at least ``count`` rows, except the last one.

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


BATCH = 8_192


class Archive:
    """The examples in a folder, which may not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = Folder(folder)

    def read(self, since: int, until: int) -> Iterator[LabelledExample]:
        """Examples seen from ``since`` on and before ``until`` (epoch ms), the newest last."""
        for part in self._tables(since, until, None, ORDER):
            yield from rows(part)

    def count(self, since: int, until: int) -> int:
        """How many examples were seen from ``since`` on and before ``until``."""
        return sum(len(part) for part in self._tables(since, until, ["ts"], ["ts"]))

    def rehearsal(self, before: int) -> list[LabelledExample]:
        """The sample of all history seen before a moment, the newest last; it is uniform for any moment."""
        found = self.folder.rehearsal()
        return [] if found is None else [one for one in rows(found[0]) if one.ts < before]

    def newest(self) -> int | None:
        """When the newest example was seen; None where there are no examples."""
        last = max((one.start for one in self.folder.segments()), default=None)
        return None if last is None else max(part["ts"][-1].as_py() for part in self._span(last, ["ts"], ["ts"]))

    def back(self, until: int, count: int, surface: str | None = None, arm: str | None = None) -> int | None:
        """The time of the ``count``-th example before a moment, of a surface and an arm where they are given. The first
        example's time where there are fewer, None where there are none."""
        same = {name: value for name, value in (("surface", surface), ("arm", arm)) if value is not None}
        wanted = pc.field("ts") < until
        for name, value in same.items():
            wanted &= pc.field(name) == value
        first = None
        for start in sorted({one.start for one in self.folder.segments() if one.start < until}, reverse=True):
            times = list[int]()
            for part in self._span(start, ["ts", *same], ["ts"]):
                times += part.filter(wanted)["ts"].to_pylist()
            if len(times) >= count:
                return times[-count]
            count -= len(times)
            first = times[0] if times else first
        return first

    def known(self, ids: Sequence[str], start: int) -> set[str]:
        """Which of the ids are in the span that begins at ``start``."""
        wanted, found = pa.array(ids, pa.string()), set[str]()
        with ExitStack() as stack:
            for part in chain.from_iterable(self._opened(start, stack, ["id"])):
                for column in part["id"].chunks:
                    found.update(column.filter(pc.is_in(column, value_set=wanted)).to_pylist())
        return found

    def span(self, start: int) -> Iterator[Any]:
        """All examples of one span, as sorted tables."""
        return self._span(start, None, ORDER)

    def _tables(self, since: int, until: int, columns: list[str] | None, order: Sequence[str]) -> Iterator[Any]:
        starts = {one.start for one in self.folder.segments() if one.end > since and one.start < until}
        for start in sorted(starts):
            for part in self._span(start, columns, order):
                first, last = np.searchsorted(part["ts"].to_numpy(), [since, until])
                yield part.slice(first, last - first)

    def _span(self, start: int, columns: list[str] | None, order: Sequence[str]) -> Iterator[Any]:
        with ExitStack() as stack:
            yield from merged(self._opened(start, stack, columns), order)

    def _opened(self, start: int, stack: ExitStack, columns: list[str] | None) -> list[Iterator[Any]]:
        """All files of a span at one moment, each as sorted tables; they stay readable."""
        with self.folder.removal_lock():
            segments = not_replaced(self.folder.segments(start))
            files = [stack.enter_context(self.folder.open(one)) for one in segments]
        return [_tables(one, file, columns) for one, file in zip(segments, files, strict=True)]


def _tables(segment: Segment, file: Any, columns: list[str] | None) -> Iterator[Any]:
    try:
        for batch in file.iter_batches(BATCH, columns=columns, use_threads=False):
            part = pa.Table.from_batches([batch])
            yield part if columns is not None else whole(part)
    except (pa.ArrowException, OSError) as error:
        raise ExamplesError(f"{segment.name} is damaged: {error}. Remove it, and go on without it") from error
