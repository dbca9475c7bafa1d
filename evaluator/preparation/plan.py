"""How files are read: their kind, the column of each field, and what all values say about how they are written.

Knows files; nothing of what is done with the rows.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from evaluator.preparation import cleaning, rules
from evaluator.preparation.cleaning import Reading, Survey
from evaluator.preparation.rules import Rule
from evaluator.preparation.schema import SHAPES, Kind, SplitBy, resolve
from evaluator.preparation.spec import Spec
from evaluator.preparation.tables import DataError, Source, open_source

BATCH = 100_000
"""Rows in memory at a time."""

Say = Callable[[str, int, int], None]
"""Takes a stage, the rows that it has done, and how many there are, or 0 where that is not known."""


@dataclass(frozen=True)
class Plan:
    """What is known before the first row is cleaned."""

    sources: list[Source]
    rows: list[int]
    reading: Reading
    split: SplitBy
    rules: list[Rule]
    assumptions: list[str]

    @property
    def total(self) -> int:
        """The rows of all sources."""
        return sum(self.rows)


def sample(spec: Spec, folder: Path) -> tuple[Kind, dict[str, str], pl.DataFrame]:
    """The kind of the first file, the column of each field, and its first rows, for a user to look at.

    Raises
    ------
    DataError
        When the file cannot be read, or its columns cannot be understood.
    """
    with readable(spec.files[0]):
        source = open_source(spec.files[0], folder, spec.encoding)
        head = source.scan().head(5).collect()
    kind, names = resolve(head.columns, spec.columns, spec.kind, str(spec.files[0]))
    return kind, names, head


def planned(spec: Spec, work: Path, say: Say) -> Plan:
    """Look through the files once, and decide how they are read.

    Raises
    ------
    DataError
        When a file cannot be read, or its columns cannot be understood.
    """
    sources, rows, survey = [], [], Survey()
    names: dict[str, str] = {}
    kind: Kind | None = spec.kind
    columns: list[str] = []
    for path in spec.files:
        with readable(path):
            source = open_source(path, work, spec.encoding)
            own = source.scan().collect_schema().names()
            if columns and own != columns:
                raise DataError(f"{path} has other columns than {spec.files[0]}: {', '.join(own)}.")
            columns = own
            kind, names = resolve(own, spec.columns, kind, str(path))
            before = survey.rows
            for batch in _surveyed(source, names):
                survey.add(batch, names)
                say("looking at the files", survey.rows, 0)
        sources.append(source)
        rows.append(survey.rows - before)
    if not survey.rows or kind is None:
        raise DataError(f"{', '.join(map(str, spec.files))}: there are no rows.")
    split = spec.split or _default_split(kind, names)
    _check_split(split, names, str(spec.files[0]))
    reading = Reading(
        kind,
        names,
        spec.time_zone,
        spec.date_order or survey.orders.order,
        {one: spec.decimal or marks.decimal for one, marks in survey.marks.items()},
        (spec.currency or max(survey.currencies, key=survey.currencies.__getitem__, default="")).upper(),
        {code.upper(): rate for code, rate in spec.rates.items()},
    )
    found = rules.for_kind(kind, names)
    return Plan(sources, rows, reading, split, found, assumptions(survey, reading, spec))


def assumptions(survey: Survey, reading: Reading, spec: Spec) -> list[str]:
    """What had to be assumed to read the values, a sentence each.

    Examples
    --------
    >>> survey = Survey(rows=10, zoned=4)
    >>> assumptions(survey, Reading("items", {"time": "date"}), Spec(files=()))
    ['6 of 10 times name no zone; they are read as UTC.']
    """
    found = []
    if "time" in reading.names and survey.zoned < survey.rows:
        without = survey.rows - survey.zoned
        found.append(f"{without:,} of {survey.rows:,} times name no zone; they are read as {reading.zone}.")
    if survey.orders.doubtful:
        seen = "as asked" if spec.date_order else f"as {survey.orders.day + survey.orders.month:,} other dates show"
        found.append(
            f"{survey.orders.doubtful:,} dates could begin with day or month; the {reading.order} is first, {seen}."
        )
    for one, marks in survey.marks.items():
        if marks.doubtful:
            seen = "as asked" if spec.decimal else f"as {marks.point + marks.comma:,} other values show"
            mark = reading.decimals[one]
            found.append(
                f"{marks.doubtful:,} values of {one} such as 1.234 or 1,234 are read with a decimal {mark}, {seen}."
            )
    if survey.currencies:
        counts = ", ".join(f"{code} {rows:,}" for code, rows in survey.currencies.most_common(5))
        found.append(f"Rows that name a currency: {counts}. All prices are in {reading.currency} afterwards.")
    elif "price" in reading.names:
        found.append("No price names its currency; all are taken to be in one.")
    return found


def _surveyed(source: Source, names: dict[str, str]) -> Iterator[pl.DataFrame]:
    columns = cleaning.surveyed(names) or [next(iter(names.values()))]
    yield from source.batches(BATCH, columns)


def _default_split(kind: Kind, names: dict[str, str]) -> SplitBy:
    if kind == "behaviour":
        return "time" if "time" in names else "user"
    return SHAPES[kind].split


def _check_split(split: SplitBy, names: dict[str, str], path: str) -> None:
    needs = {"time": ("time",), "query": ("query",), "user": ("shopper", "list"), "none": ()}[split]
    if needs and not any(field in names for field in needs):
        raise DataError(f"{path} has no column for {needs[0]}, so it cannot be split by {split}. Give another --split.")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what polars says about a file into one sentence.

    Raises
    ------
    DataError
        When polars cannot read it.
    """
    try:
        yield
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{path} cannot be read: {reason}") from error
