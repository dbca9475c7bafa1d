"""A batch of raw rows to rows of fields: texts in one form, numbers, times in UTC, prices in one currency.

Knows fields and polars; nothing of files and of rules.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

from evaluator.preparation import numbers, text, times
from evaluator.preparation.numbers import Decimal, Marks
from evaluator.preparation.rules import FOREIGN
from evaluator.preparation.schema import IDS, NUMBERS, TEXTS, Kind
from evaluator.preparation.tables import DataError
from evaluator.preparation.times import DateOrder, Orders

MEASURES = ("measure", "measure_unit")
"""Columns that are added where items have texts."""


@dataclass
class Survey:
    """What all rows together say about how the values of a file are written.

    Attributes
    ----------
    rows : int
    marks : dict of str to Marks
        By field of numbers.
    orders : Orders
        Of dates.
    currencies : Counter
        Rows by the code of their currency.
    zoned : int
        Times that name their zone, or count from the epoch.
    """

    rows: int = 0
    marks: dict[str, Marks] = field(default_factory=dict)
    orders: Orders = field(default_factory=lambda: Orders(0, 0, 0))
    currencies: Counter[str] = field(default_factory=Counter)
    zoned: int = 0

    def add(self, raw: pl.DataFrame, names: Mapping[str, str]) -> None:
        """Take a batch of raw rows into account."""
        self.rows += raw.height
        for one in NUMBERS:
            if one in names and raw.schema[names[one]] == pl.String:
                self.marks[one] = self.marks.get(one, Marks(0, 0, 0)) + numbers.marks(raw.get_column(names[one]))
        if "time" in names:
            column = raw.get_column(names["time"])
            self.orders += times.orders(column)
            self.zoned += times.zoned(column)
        codes = currency_codes(raw, names).drop_nulls()
        self.currencies.update(dict(codes.value_counts().iter_rows()))


def surveyed(names: Mapping[str, str]) -> list[str]:
    """The columns that a survey needs."""
    return list(dict.fromkeys(names[one] for one in (*NUMBERS, "time", "currency") if one in names))


@dataclass(frozen=True, slots=True)
class Reading:
    """How the values of a file are read.

    Attributes
    ----------
    kind : str
    names : mapping of str to str
        The column of each field.
    zone : str
        Of times that name none.
    order : str
        What comes first in dates such as ``1/12/2010``.
    decimals : mapping of str to str
        The decimal mark by field of numbers.
    currency : str
        That of all prices afterwards; empty where none is known.
    rates : mapping of str to float
        Units of `currency` for one of another.
    """

    kind: Kind
    names: Mapping[str, str]
    zone: str = "UTC"
    order: DateOrder = "day"
    decimals: Mapping[str, Decimal] = field(default_factory=dict)
    currency: str = ""
    rates: Mapping[str, float] = field(default_factory=dict)


def clean(raw: pl.DataFrame, reading: Reading) -> tuple[pl.DataFrame, Counter[str]]:
    """A batch as fields and the file's other columns, and how many values each step has changed.

    Raises
    ------
    DataError
        When the column of a field holds lists or objects.

    Examples
    --------
    >>> raw = pl.DataFrame({"sku": [" 7 "], "title": ["a&amp;b"], "cost": ["1,50 €"], "date": ["1.2.2011"], "x": ["q"]})
    >>> names = {"item": "sku", "text": "title", "price": "cost", "time": "date"}
    >>> rows, changes = clean(raw, Reading("items", names, currency="EUR"))
    >>> rows.select("item", "text", "price", "x").rows(), sorted(changes.items())
    ([('7', 'a&b', 1.5, 'q')], [('html', 1), ('whitespace', 1)])
    """
    changes = Counter[str]()
    columns: list[pl.Series] = []
    for one, name in reading.names.items():
        column = raw.get_column(name)
        if column.dtype.is_nested():
            raise DataError(
                f"The column {name!r} holds lists or objects, and cannot be the {one} of a row. "
                f"Name another with --column {one}=NAME, or make it a text first."
            )
        if one in IDS:
            column, counts = text.identifiers(column)
        elif one in TEXTS:
            column, counts = text.normalised(column.cast(pl.String))
        elif one == "time":
            column, counts = times.parsed(column, reading.zone, reading.order), Counter()
        elif one == "currency":
            continue
        else:
            column, counts = numbers.parsed(column, reading.decimals.get(one, "point")), Counter()
        changes += counts
        columns.append(column.alias(one))
    for name, kept in kept_names(raw.columns, reading.names).items():
        column = raw.get_column(name)
        if column.dtype == pl.String:
            column, counts = text.normalised(column)
            changes += counts
        columns.append(column.alias(kept))
    rows = pl.DataFrame(columns)
    if "text" in rows.columns:
        rows = rows.with_columns(numbers.measures(rows.get_column("text")).get_columns())
        changes["measures"] += rows.get_column("measure").count()
    if "price" in rows.columns:
        rows, changed = _in_one_currency(rows, currency_codes(raw, reading.names), reading)
        changes["currency"] += changed
    return rows, +changes


def cleaned(table: pl.DataFrame, names: Mapping[str, str], kind: Kind) -> pl.DataFrame:
    """The fields of a whole table as :func:`clean` makes them; dates and decimal marks are read as its columns show.

    Examples
    --------
    >>> table = pl.DataFrame({"q": ["caf\u00c3\u00a9 "], "stars": ["2,5"], "other": [1]})
    >>> cleaned(table, {"query": "q", "gain": "stars"}, "pairs").rows()
    [('café', 2.5)]
    """
    survey = Survey()
    survey.add(table, names)
    decimals = {field: marks.decimal for field, marks in survey.marks.items()}
    chosen = table.select(list(dict.fromkeys(names.values())))
    return clean(chosen, Reading(kind, names, order=survey.orders.order, decimals=decimals))[0]


SENTENCES = text.SENTENCES | {
    "measures": "texts name a measure, which stands in the columns measure and measure_unit in base units",
    "currency": "prices were converted by a given rate",
}
"""What each change is, for the data card."""


def kept_names(columns: Iterable[str], names: Mapping[str, str]) -> dict[str, str]:
    """The columns that are no field, and what they are called afterwards.

    Examples
    --------
    >>> kept_names(["sku", "item", "Country"], {"item": "sku"})
    {'item': 'item_original', 'Country': 'Country'}
    """
    used = set(names.values())
    taken = {*names, *MEASURES, "currency", FOREIGN}
    return {name: f"{name}_original" if name in taken else name for name in columns if name not in used}


def currency_codes(raw: pl.DataFrame, names: Mapping[str, str]) -> pl.Series:
    """The currency of each row: what its column says, else what its price says, else null."""
    none = pl.Series("code", [None] * raw.height, pl.String)
    said = numbers.currencies(raw.get_column(names["price"])).alias("code") if "price" in names else none
    if "currency" not in names:
        return said
    column = raw.select(pl.col(names["currency"]).cast(pl.String).str.strip_chars().alias("named"))
    named = numbers.currency_code(pl.when(pl.col("named") != "").then(pl.col("named")))
    return column.with_columns(said).select(pl.coalesce(named, pl.col("code")).alias("code")).to_series()


def _in_one_currency(rows: pl.DataFrame, codes: pl.Series, reading: Reading) -> tuple[pl.DataFrame, int]:
    code = pl.col("_code")
    rates = dict(reading.rates) | {reading.currency: 1.0}
    rate = code.replace_strict(rates, default=None, return_dtype=pl.Float64)
    foreign = code.is_not_null() & rate.is_null()
    found = rows.with_columns(codes.alias("_code")).with_columns(
        (pl.col("price") * pl.when(code.is_null() | foreign).then(1.0).otherwise(rate)).alias("price"),
        foreign.alias(FOREIGN),
    )
    if reading.currency:
        found = found.with_columns(pl.when(foreign).then(code).otherwise(pl.lit(reading.currency)).alias("currency"))
    converted = found.filter((code != reading.currency) & ~pl.col(FOREIGN)).height
    return found.drop("_code"), converted
