"""The figures of every case as a table, for people's own analyses.

Knows polars and results; no id of a shopper or of a case comes into the table.
"""

from collections.abc import Sequence

import polars as pl

from evaluator.offline.data import EvaluationData
from evaluator.offline.run import Result
from evaluator.offline.safety.privacy import Showable


def per_query(data: EvaluationData, results: Sequence[Result]) -> pl.DataFrame:
    """One row per contender, measure and case: ``case`` (its place in the data as evaluated, from 0), ``query`` (null
    where it is not shown), ``candidates``, a ``segment_`` column for each grouping, ``contender``, ``dimension``,
    ``measure``, ``value``.
    """
    may = Showable(data)
    groupings = sorted({by for case in data.cases for by in case.segments})
    cases = pl.DataFrame(
        {
            "case": pl.Series(range(len(data.cases)), dtype=pl.UInt32),
            "query": pl.Series([case.query if may(case) else None for case in data.cases], dtype=pl.String),
            "candidates": pl.Series([len(case.items) for case in data.cases], dtype=pl.UInt32),
        }
        | {
            f"segment_{by.replace(' ', '_')}": pl.Series(
                [case.segments.get(by) for case in data.cases], dtype=pl.String
            )
            for by in groupings
        }
    )
    parts = [
        cases.with_columns(
            pl.lit(result.contender).alias("contender"),
            pl.lit(one.dimension).alias("dimension"),
            pl.lit(one.measure).alias("measure"),
            pl.Series("value", one.cases, dtype=pl.Float64),
        )
        for result in results
        for part in result.parts.values()
        for one in part.readings
        if not one.segment and len(one.cases) == len(data.cases)
    ]
    empty = cases.clear().with_columns(
        *(pl.lit(None, pl.String).alias(name) for name in ("contender", "dimension", "measure")),
        pl.lit(None, pl.Float64).alias("value"),
    )
    return pl.concat(parts) if parts else empty
