"""The cleaning rules: each has a name, a sentence, the kinds of data it is for, and what rows it matches.

Knows fields and polars' expressions; nothing of files. Rules that need more than a row are only named here;
`evaluator.preparation.duplicates`, `outliers` and `splits` decide them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from evaluator.preparation.schema import KINDS, SHAPES, Kind

Action = Literal["drop", "count"]

SERVICE_CODES = (
    r"(?i)^(?:[a-z][a-z0-9]{0,3}|test\d*|gift[ _-].*|amazon ?fee|bank ?charges?"
    r"|.*(?:postage|carriage|adjust|voucher).*)$"
)
"""Codes of postage, fees, vouchers, tests and corrections by hand: among them all that begin with a letter and have at
most four characters."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A reason to drop a row.

    Attributes
    ----------
    name : str
        By which a user keeps or drops what it matches.
    sentence : str
        What it matches, for the data card.
    kinds : tuple of str
        The kinds of data it is for.
    needs : tuple of str
        Fields without whose columns it is not asked.
    rows : callable or None
        From the service codes' pattern to the rows that it matches; None where it needs more than a row.
    action : str
        What is done by default.
    """

    name: str
    sentence: str
    kinds: tuple[Kind, ...]
    needs: tuple[str, ...] = ()
    rows: Callable[[str], pl.Expr] | None = None
    action: Action = "drop"


EVENTS: tuple[Kind, ...] = ("transactions", "behaviour")
KEYED: tuple[Kind, ...] = tuple(kind for kind in KINDS if SHAPES[kind].key)


def _empty(field: str) -> pl.Expr:
    return pl.col(field).is_null() | (pl.col(field) == "")


RULES: tuple[Rule, ...] = (
    Rule(
        "missing_item",
        "The row names no item.",
        ("transactions", "behaviour", "items", "pairs"),
        ("item",),
        lambda _: _empty("item"),
    ),
    Rule("missing_query", "The row names no query.", ("pairs",), ("query",), lambda _: _empty("query")),
    Rule(
        "cancellation",
        "The order's number begins with C, which marks a cancellation.",
        ("transactions",),
        ("list",),
        lambda _: pl.col("list").str.contains(r"(?i)^C\d"),
    ),
    Rule(
        "missing_text",
        "The item has no description.",
        ("transactions", "items", "pairs"),
        ("text",),
        lambda _: _empty("text"),
    ),
    Rule(
        "service_code",
        "The item's code stands for postage, a fee, a voucher, a sample, a test or a correction by hand.",
        ("transactions",),
        ("item",),
        pl.col("item").str.contains,
    ),
    Rule(
        "non_positive_quantity",
        "The quantity is zero or negative.",
        ("transactions",),
        ("quantity",),
        lambda _: pl.col("quantity") <= 0,
    ),
    Rule(
        "non_positive_price",
        "The price is zero or negative.",
        ("transactions",),
        ("price",),
        lambda _: pl.col("price") <= 0,
    ),
    Rule(
        "missing_customer",
        "The row names no customer.",
        ("transactions", "profiles"),
        ("shopper",),
        lambda _: _empty("shopper"),
    ),
    Rule("unreadable_time", "The time is missing or cannot be read.", EVENTS, ("time",), lambda _: _nothing("time")),
    Rule(
        "unreadable_quantity",
        "The quantity is missing or no number.",
        ("transactions",),
        ("quantity",),
        lambda _: _nothing("quantity"),
    ),
    Rule(
        "unreadable_price",
        "The price is missing or no number.",
        ("transactions",),
        ("price",),
        lambda _: _nothing("price"),
    ),
    Rule("unreadable_label", "The label is missing or no number.", ("pairs",), ("gain",), lambda _: _nothing("gain")),
    Rule(
        "foreign_currency",
        "The price is in a currency for which no rate was given.",
        ("transactions", "items"),
        ("price",),
        lambda _: pl.col(FOREIGN).fill_null(value=False),
    ),
    Rule("exact_duplicate", "The row equals an earlier row in every column, as read.", KINDS),
    Rule("superseded", "A newer row has the same key: the same item, shopper, or pair of query and item.", KEYED),
    Rule(
        "near_duplicate",
        "The description says nearly the same as another: at least nine tenths of their letter triples, "
        "the same numbers, and the same words of one or two letters.",
        ("transactions", "behaviour", "items", "pairs"),
        ("text",),
        action="count",
    ),
    Rule(
        "split_list",
        "The order or session has rows in two splits, so that one part would tell of the other.",
        EVENTS,
        ("list",),
    ),
    Rule(
        "outlier",
        "The price or the quantity lies more than three interquartile ranges of the logarithm beyond the quartiles of "
        "the training rows.",
        ("transactions",),
    ),
)
"""In the order in which they are asked: a row is dropped for the first one that matches."""

FOREIGN = "_prepare_foreign"
"""The column that says that a price is in a currency without a rate."""


def _nothing(field: str) -> pl.Expr:
    return pl.col(field).is_null()


def for_kind(kind: Kind, fields: Mapping[str, str]) -> list[Rule]:
    """The rules for data of a kind with these fields.

    Examples
    --------
    >>> [rule.name for rule in for_kind("profiles", {"shopper": "user"})]
    ['missing_customer', 'exact_duplicate', 'superseded']
    """
    return [rule for rule in RULES if kind in rule.kinds and all(need in fields for need in rule.needs)]


def matches(rows: pl.DataFrame, rules: list[Rule], service_codes: str = SERVICE_CODES) -> pl.DataFrame:
    """Which rules that look at one row match which rows: a column of booleans a rule.

    Examples
    --------
    >>> rows = pl.DataFrame({"item": ["85123A", "POST"], "shopper": ["1", None], "list": ["C1", "2"]})
    >>> rules = for_kind("transactions", {"item": "", "shopper": "", "list": ""})
    >>> {name: column.to_list() for name, column in matches(rows, rules).to_dict().items() if column.any()}
    {'cancellation': [True, False], 'service_code': [False, True], 'missing_customer': [False, True]}
    """
    asked = [rule.rows(service_codes).fill_null(value=False).alias(rule.name) for rule in rules if rule.rows]
    return rows.select(asked)


def first_reason(found: pl.DataFrame, rules: list[Rule], actions: Mapping[str, Action]) -> pl.Series:
    """The number of the first rule that drops each row, from 1; 0 where none does.

    Examples
    --------
    >>> rules = [Rule("a", "", KINDS), Rule("b", "", KINDS)]
    >>> found = pl.DataFrame({"a": [True, False, False], "b": [True, True, False]})
    >>> first_reason(found, rules, {"a": "drop", "b": "drop"}).to_list()
    [1, 2, 0]
    >>> first_reason(found, rules, {"a": "count", "b": "drop"}).to_list()
    [2, 2, 0]
    """
    reasons = [
        pl.when(rule.name).then(pl.lit(number, pl.UInt8))
        for number, rule in enumerate(rules, 1)
        if rule.name in found.columns and actions[rule.name] == "drop"
    ]
    return found.select(reason=pl.coalesce(*reasons, pl.lit(0, pl.UInt8))).to_series()
