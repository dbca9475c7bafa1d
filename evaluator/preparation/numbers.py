"""Numbers as people write them: thousands, decimal commas, currencies; and measures with their units.

Knows polars' columns; nothing of fields and of files.
"""

from dataclasses import dataclass
from typing import Literal

import polars as pl

Decimal = Literal["point", "comma"]

SYMBOLS = {
    "€": "EUR", "£": "GBP", "$": "USD", "¥": "CNY", "元": "CNY", "₹": "INR", "₩": "KRW", "₽": "RUB", "₺": "TRY",
    "₫": "VND", "฿": "THB", "zł": "PLN", "R$": "BRL", "US$": "USD", "円": "JPY",
}  # fmt: skip
"""Signs of currencies and their codes. ``¥`` is read as yuan; a currency column says otherwise."""

_CURRENCY = r"(?:US\$|R\$|[€£$¥元₹₩₽₺₫฿円]|zł|[A-Za-z]{3})"
_DIGITS = r"\d(?:[\d.,'\u2019 \u00a0\u202f]*\d)?|[.,]\d+"
WRITTEN = rf"^\(?\s*([-+\u2212]?)\s*({_CURRENCY})?\s*([-+\u2212]?)\s*({_DIGITS})\s*({_CURRENCY})?\s*([-\u2212]?)\)?$"
"""A number with signs and a currency on either side; in brackets it is negative."""

_GROUPED = r"^\d*(?:[.,]\d+)?$|^\d{1,3}(?:,\d{2,3})+(?:\.\d+)?$|^\d{1,3}(?:\.\d{2,3})+(?:,\d+)?$"
_TWO_SIGNS = r"^\(?\s*[-+\u2212].*[-+\u2212]"

_SCIENCE = r"^[-+]?\d+(?:\.\d+)?[eE][-+]?\d+$"
_AMBIGUOUS = r"^[1-9]\d{0,2}[.,]\d{3}$"
"""One mark and three digits after it: a thousand or a fraction."""


@dataclass(frozen=True, slots=True)
class Marks:
    """How many values of a column show its decimal mark beyond doubt.

    Examples
    --------
    >>> marks(pl.Series(["1,50", "1.234", "2.000,5"]))
    Marks(point=0, comma=2, doubtful=1)
    """

    point: int
    comma: int
    doubtful: int

    def __add__(self, other: "Marks") -> "Marks":
        return Marks(self.point + other.point, self.comma + other.comma, self.doubtful + other.doubtful)

    @property
    def decimal(self) -> Decimal:
        """The mark that more values show; a point where none does."""
        return "comma" if self.comma > self.point else "point"


def marks(texts: pl.Series) -> Marks:
    """Count what a column's values say about its decimal mark."""
    digits = _plain(texts).str.extract(WRITTEN, 4).str.replace_all(r"['\u2019 \u00a0\u202f]", "")
    last = digits.str.extract(r"([.,])\d*$", 1)
    doubtful = digits.str.contains(_AMBIGUOUS)
    several = digits.str.contains(r"\..*\.|,.*,") & ~_both(digits)
    sure = last.filter(~doubtful & ~several)
    return Marks(int((sure == ".").sum()), int((sure == ",").sum()), int(doubtful.sum()))


def parsed(values: pl.Series, decimal: Decimal = "point") -> pl.Series:
    """A column as numbers; null where a value is none.

    A value that shows its decimal mark is read by it; one that may be either, such as ``1.234``, by `decimal`.

    Examples
    --------
    >>> parsed(pl.Series(["£1,234.56", "1.234,56 €", "(5)", "1.234", "7-", "1e-3", "twelve", None])).to_list()
    [1234.56, 1234.56, -5.0, 1.234, -7.0, 0.001, None, None]
    >>> parsed(pl.Series(["1.234", "true"]), "comma").to_list()
    [1234.0, 1.0]
    """
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        return _finite(values.cast(pl.Float64))
    texts = _plain(values.cast(pl.String))
    frame = pl.DataFrame({"text": texts}).with_columns(
        digits=pl.col("text").str.extract(WRITTEN, 4).str.replace_all(r"['\u2019 \u00a0\u202f]", "")
    )
    text = pl.col("text")
    digits = pl.when(pl.col("digits").str.contains(_GROUPED) & ~text.str.contains(_TWO_SIGNS)).then("digits")
    last = digits.str.extract(r"([.,])\d*$", 1)
    thousand_only = digits.str.contains(r"\..*\.|,.*,") & ~_both(digits)
    thousand_only |= digits.str.contains(_AMBIGUOUS) & (last != ("," if decimal == "comma" else "."))
    bare = digits.str.replace_all(r"[.,]", "")
    whole = digits.str.replace(r"[.,]\d*$", "").str.replace_all(r"[.,]", "")
    fraction = digits.str.extract(r"[.,](\d*)$", 1).fill_null("0")
    number = pl.when(thousand_only | last.is_null()).then(bare).otherwise(whole + "." + fraction)
    negative = text.str.contains(r"^\(.*\)$|[-\u2212]\s*[^\d]*[\d.,]|[-\u2212]\)?$")
    size = number.cast(pl.Float64, strict=False)
    found = frame.select(
        pl.when(text.str.contains(_SCIENCE))
        .then(text.cast(pl.Float64, strict=False))
        .when(text.str.to_lowercase().is_in(["true", "false"]))
        .then((text.str.to_lowercase() == "true").cast(pl.Float64))
        .otherwise(pl.when(negative).then(-size).otherwise(size))
        .alias(values.name)
    )
    return _finite(found.to_series())


def currencies(values: pl.Series) -> pl.Series:
    """The codes of the currencies that prices name; null where one names none.

    Examples
    --------
    >>> currencies(pl.Series(["£1.20", "3 EUR", "5", "US$ 2"])).to_list()
    ['GBP', 'EUR', None, 'USD']
    """
    if values.dtype != pl.String:
        return pl.Series(values.name, [None] * len(values), pl.String)
    frame = pl.DataFrame({"text": _plain(values)})
    named = pl.coalesce(pl.col("text").str.extract(WRITTEN, 2), pl.col("text").str.extract(WRITTEN, 5))
    return frame.select(currency_code(named).alias(values.name)).to_series()


def currency_code(named: pl.Expr) -> pl.Expr:
    """The code of a currency by its sign or its code, in capitals."""
    return named.str.strip_chars().replace(SYMBOLS).str.to_uppercase()


UNITS: dict[str, tuple[str, float]] = {
    "kg": ("g", 1_000.0), "kilogram": ("g", 1_000.0), "kilograms": ("g", 1_000.0), "g": ("g", 1.0), "gr": ("g", 1.0),
    "gram": ("g", 1.0), "grams": ("g", 1.0), "mg": ("g", 0.001), "lb": ("g", 453.59237), "lbs": ("g", 453.59237),
    "oz": ("g", 28.349523125), "l": ("ml", 1_000.0), "litre": ("ml", 1_000.0), "litres": ("ml", 1_000.0),
    "liter": ("ml", 1_000.0), "liters": ("ml", 1_000.0), "cl": ("ml", 10.0), "ml": ("ml", 1.0),
    "m": ("mm", 1_000.0), "cm": ("mm", 10.0), "mm": ("mm", 1.0), "inch": ("mm", 25.4), "in": ("mm", 25.4),
    "ft": ("mm", 304.8), "gb": ("gb", 1.0), "tb": ("gb", 1_000.0), "w": ("w", 1.0), "kw": ("w", 1_000.0),
    "watt": ("w", 1.0), "v": ("v", 1.0), "volt": ("v", 1.0),
}  # fmt: skip
"""Units that texts name, each as a multiple of the one it is brought to."""

MEASURE = rf"(?i)(?:^|[^\w.,])(\d+(?:[.,]\d+)?)[ -]?({'|'.join(sorted(UNITS, key=len, reverse=True))})\.?(?:[^\w]|$)"


def measures(texts: pl.Series) -> pl.DataFrame:
    """The first measure that each text names, in the unit of its kind: grams, millilitres, millimetres, and others.

    Examples
    --------
    >>> measures(pl.Series(["Water 1.5 l", "Water 1500ml", "Lamp 40 Watt", "BLUE LAMP"])).rows()
    [(1500.0, 'ml'), (1500.0, 'ml'), (40.0, 'w'), (None, None)]
    """
    found = pl.DataFrame({"text": texts.cast(pl.String)}).with_columns(
        number=pl.col("text").str.extract(MEASURE, 1).str.replace(",", ".").cast(pl.Float64, strict=False),
        unit=pl.col("text").str.extract(MEASURE, 2).str.to_lowercase(),
    )
    factors = {unit: factor for unit, (_, factor) in UNITS.items()}
    return found.select(
        measure=(
            pl.col("number") * pl.col("unit").replace_strict(factors, default=None, return_dtype=pl.Float64)
        ).round(6),
        measure_unit=pl.col("unit").replace_strict(
            {unit: base for unit, (base, _) in UNITS.items()}, default=None, return_dtype=pl.String
        ),
    )


def _plain(texts: pl.Series) -> pl.Series:
    return texts.str.normalize("NFKC").str.strip_chars()


def _both(digits: pl.Expr | pl.Series) -> pl.Expr | pl.Series:
    return digits.str.contains(r"\..*,|,.*\.")


def _finite(values: pl.Series) -> pl.Series:
    return values.to_frame().select(pl.when(pl.first().is_finite()).then(pl.first())).to_series()
