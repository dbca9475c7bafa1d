"""Times as files write them, to UTC.

Knows polars' columns; nothing of fields and of files.
"""

from dataclasses import dataclass
from typing import Literal

import polars as pl

DateOrder = Literal["day", "month"]

_CLOCK = r"(?:[T ,]+(\d{1,2}):(\d{2})(?::(\d{2})(\.\d{1,9})?\d*)?)?"
_ZONE = r"\s*(?:(Z|UTC|GMT)|([+-]\d{2}:?\d{2}))?$"
ISO = rf"(?i)^(\d{{4}})[-/.](\d{{1,2}})[-/.](\d{{1,2}}){_CLOCK}{_ZONE}"
SLASHED = rf"(?i)^(\d{{1,2}})[-/.](\d{{1,2}})[-/.](\d{{4}}){_CLOCK}\s*([AP]M)?{_ZONE}"
EPOCH = r"^\d{9,10}(?:\.\d+)?$|^\d{12,13}$|^\d{15,16}$"


@dataclass(frozen=True, slots=True)
class Orders:
    """How many dates of a column show beyond doubt that the day, or that the month, comes first.

    Examples
    --------
    >>> orders(pl.Series(["12/1/2010 8:26", "12/13/2010 9:00", "2011-01-01"]))
    Orders(day=0, month=1, doubtful=1)
    """

    day: int
    month: int
    doubtful: int

    def __add__(self, other: "Orders") -> "Orders":
        return Orders(self.day + other.day, self.month + other.month, self.doubtful + other.doubtful)

    @property
    def order(self) -> DateOrder:
        """What more dates show; the day where none does."""
        return "month" if self.month > self.day else "day"


def orders(values: pl.Series) -> Orders:
    """Count what a column's dates say about the order of day and month."""
    if values.dtype != pl.String:
        return Orders(0, 0, 0)
    first, second = (values.str.extract(SLASHED, group).cast(pl.Int32) for group in (1, 2))
    day, month = int(((first > 12) & (second <= 12)).sum()), int(((second > 12) & (first <= 12)).sum())
    return Orders(day, month, int(((first <= 12) & (second <= 12) & (first != second)).sum()))


def parsed(values: pl.Series, zone: str = "UTC", order: DateOrder = "day") -> pl.Series:
    """A column as times in UTC, to the millisecond; null where a value is none.

    Parameters
    ----------
    zone
        Of times that name none. An hour that clocks show twice is the first one; one that they skip is none.
    order
        What comes first in dates such as ``1/12/2010``.

    Examples
    --------
    >>> column = pl.Series(["2011-07-01 10:00:00", "2011-07-01T10:00Z", "1/7/2011 10:00", "1309514400", "soon"])
    >>> [f"{one:%m-%d %H:%M}" if one else None for one in parsed(column, "Europe/London")]
    ['07-01 09:00', '07-01 10:00', '07-01 09:00', '07-01 10:00', None]
    """
    kind = values.dtype
    if kind.is_temporal():
        named = getattr(kind, "time_zone", None)
        moments = values.cast(pl.Datetime("ms", named))
        return moments.dt.convert_time_zone("UTC") if named else _in_utc(moments, zone)
    texts = (values.cast(pl.Int64) if kind.is_float() else values).cast(pl.String).str.strip_chars()
    frame = pl.DataFrame({"text": texts})
    text = pl.col("text")
    day, month = (1, 2) if order == "day" else (2, 1)
    hour = text.str.extract(SLASHED, 4).cast(pl.Int32)
    half = text.str.extract(SLASHED, 8).str.to_uppercase()
    hour = pl.when(half == "PM").then(hour % 12 + 12).when(half == "AM").then(hour % 12).otherwise(hour)
    iso = _moment(*(text.str.extract(ISO, group) for group in range(1, 8)))
    slashed = _moment(
        text.str.extract(SLASHED, 3),
        *(text.str.extract(SLASHED, group) for group in (month, day)),
        hour.cast(pl.String),
        *(text.str.extract(SLASHED, group) for group in (5, 6, 7)),
    )
    found = frame.select(
        local=pl.coalesce(iso, slashed),
        universal=pl.coalesce(text.str.extract(ISO, 8), text.str.extract(SLASHED, 9)).is_not_null(),
        offset=pl.coalesce(text.str.extract(ISO, 9), text.str.extract(SLASHED, 10)),
        epoch=_epoch(text),
    )
    local = _in_utc(found.get_column("local"), zone)
    return (
        found.with_columns(assumed=local)
        .select(
            pl.when(pl.col("epoch").is_not_null())
            .then(pl.col("epoch"))
            .when(pl.col("offset").is_not_null())
            .then((pl.col("local") - _minutes(pl.col("offset"))).dt.replace_time_zone("UTC"))
            .when(pl.col("universal"))
            .then(pl.col("local").dt.replace_time_zone("UTC"))
            .otherwise(pl.col("assumed"))
            .alias(values.name)
        )
        .to_series()
    )


def _in_utc(moments: pl.Series, zone: str) -> pl.Series:
    return moments.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")


def _moment(*groups: pl.Expr) -> pl.Expr:
    """The moment of a year, a month, a day, an hour, a minute, a second and its fraction."""
    year, month, day, *clock, fraction = groups
    date = year + "-" + month.str.zfill(2) + "-" + day.str.zfill(2)
    hour, minute, second = (one.fill_null("0").str.zfill(2) for one in clock)
    text = date + "T" + hour + ":" + minute + ":" + second + fraction.fill_null(".0")
    return text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="ms", strict=False)


def _epoch(text: pl.Expr) -> pl.Expr:
    number = pl.when(text.str.contains(EPOCH)).then(text).cast(pl.Float64, strict=False)
    ms = pl.when(number < 1e11).then(number * 1_000).when(number < 1e14).then(number).otherwise(number / 1_000)
    return ms.round().cast(pl.Int64).cast(pl.Datetime("ms", "UTC"))


def _minutes(offset: pl.Expr) -> pl.Expr:
    digits = offset.str.replace(":", "")
    size = digits.str.slice(1, 2).cast(pl.Int64) * 60 + digits.str.slice(3, 2).cast(pl.Int64)
    return pl.duration(minutes=pl.when(digits.str.starts_with("-")).then(-size).otherwise(size))


def zoned(values: pl.Series) -> int:
    """How many of a column's times name their zone or count from the epoch.

    Examples
    --------
    >>> zoned(pl.Series(["2011-07-01 10:00", "2011-07-01T10:00Z", "2011-07-01T10:00+0200", "1309514400"]))
    3
    """
    if values.dtype.is_temporal():
        return len(values) if getattr(values.dtype, "time_zone", None) else 0
    texts = values.cast(pl.String)
    return int(
        (texts.str.contains(EPOCH) | texts.str.contains(r"(?i)\d\s*(?:Z|UTC|GMT|:\d{2}[+-]\d{2}:?\d{2})$")).sum()
    )
