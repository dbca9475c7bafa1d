"""Descriptions of an item that change: which items have several, and which is the newest.

Knows parts of rows by column; nothing of how rows were cleaned.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluator.preparation.staging import Parts

KEY = ["item", "text"]


def changed_items(parts: Parts, kept: NDArray[np.bool_]) -> pl.Series:
    """The hashes of the items of which kept rows have more than one description."""
    found = pl.DataFrame(schema={"item": pl.UInt64, "text": pl.UInt64})
    waiting: list[pl.DataFrame] = []
    for place, rows in parts.batches(KEY):
        waiting.append(rows.filter(kept[place]).drop_nulls().select(pl.all().hash()).unique())
        if sum(map(len, waiting)) > len(found):
            found, waiting = pl.concat([found, *waiting]).unique(), []
    found = pl.concat([found, *waiting]).unique()
    return found.group_by("item").len().filter(pl.col("len") > 1).get_column("item")


def newest_texts(parts: Parts, kept: NDArray[np.bool_], split: NDArray[np.uint8], *, by_time: bool) -> pl.DataFrame:
    """Item, split and text: the newest description of each item that has several.

    Parameters
    ----------
    by_time
        Splits follow each other in time. A split then has the newest description up to its own end, so that the
        training rows hold no text that was written later.
    """
    changed = changed_items(parts, kept)
    timed = "time" in parts.scan().collect_schema()
    found = [
        rows.filter(pl.Series(kept[place]) & rows.get_column("item").hash().is_in(changed.implode()))
        for place, rows in _with_places(parts, split, timed=timed)
    ]
    rows = pl.concat(found).drop_nulls(KEY)
    newest = []
    for number in sorted(set(split.tolist())):
        seen = rows.filter(pl.col("split") <= number) if by_time else rows
        last = seen.sort("time", "row").group_by("item", maintain_order=True).agg(pl.col("text").last())
        newest.append(last.with_columns(split=pl.lit(number, pl.UInt8)))
    return pl.concat(newest)


def _with_places(parts: Parts, split: NDArray[np.uint8], *, timed: bool) -> Iterator[tuple[slice, pl.DataFrame]]:
    for place, rows in parts.batches([*KEY, "time"] if timed else KEY):
        numbered = rows.with_columns(
            pl.Series("split", split[place]), row=pl.int_range(place.start, place.stop, eager=True)
        )
        if not timed:
            numbered = numbered.with_columns(time=pl.lit(0))
        yield place, numbered
