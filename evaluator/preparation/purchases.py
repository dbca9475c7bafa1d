"""A whole table of transactions as purchases, by the rules of a preparation.

Knows fields and polars; nothing of files.
"""

from collections.abc import Mapping

import polars as pl

from evaluator.preparation import rules
from evaluator.preparation.cleaning import cleaned


def purchases(table: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """The rows that no rule for single rows drops, by time, each item once an order.

    Parameters
    ----------
    names
        The column of each field.

    Examples
    --------
    >>> line = {"item": "85123A", "text": "LANTERN", "list": "1", "shopper": "7", "time": "2011-01-04 10:00:00"}
    >>> table = pl.DataFrame([line, line, line | {"list": "C1"}, line | {"item": "POST"}, line | {"shopper": ""}])
    >>> purchases(table, {name: name for name in line}).select("list", "item").rows()
    [('1', '85123A')]
    """
    rows = cleaned(table, names, "transactions")
    bad = rules.matches(rows, rules.for_kind("transactions", names)).select(pl.any_horizontal(pl.all())).to_series()
    return (
        rows.filter(~bad).unique(["list", "item"], keep="first", maintain_order=True).sort("time", maintain_order=True)
    )
