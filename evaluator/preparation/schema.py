"""What kind of data a file holds, and which of its columns is which field.

Knows names of columns; nothing of files and of rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from evaluator.preparation.tables import ALIASES, DataError, match_columns

Kind = Literal["transactions", "behaviour", "profiles", "items", "pairs"]
SplitBy = Literal["time", "query", "user", "none"]

KINDS: tuple[Kind, ...] = get_args(Kind)

IDS = ("item", "list", "shopper")
TEXTS = ("query", "text", "brand", "seller")
SHOWN = 12
"""So many columns of a file are named in a sentence."""

NUMBERS = ("gain", "rank", "quantity", "price", "propensity")


@dataclass(frozen=True, slots=True)
class Shape:
    """What a kind of data needs.

    Attributes
    ----------
    needs : tuple of str
        Fields that must be there; of a tuple within it, one of its fields.
    key : tuple of str
        Fields of which there is one row; empty where rows are events.
    split : str
        The default split.
    what : str
        For the help of a user.
    """

    needs: tuple[str | tuple[str, ...], ...]
    key: tuple[str, ...]
    split: SplitBy
    what: str


SHAPES: dict[Kind, Shape] = {
    "transactions": Shape(("item", "list", "shopper", "time"), (), "time", "lines of orders"),
    "behaviour": Shape(("item", ("shopper", "list")), (), "time", "views, clicks and impressions"),
    "profiles": Shape(("shopper",), ("shopper",), "user", "attributes of shoppers"),
    "items": Shape(("item", "text"), ("item",), "none", "attributes of items"),
    "pairs": Shape(("query", "item", "gain"), ("query", "item"), "query", "labelled pairs of query and item"),
}


def guess_kind(found: Mapping[str, str]) -> Kind | None:
    """The kind of data by the fields that a file has; None where they fit no kind.

    Examples
    --------
    >>> guess_kind({"query": "q", "item": "id", "gain": "label"})
    'pairs'
    >>> guess_kind({"item": "sku", "list": "order_id", "shopper": "user", "time": "ts", "price": "price"})
    'transactions'
    """
    has = found.keys()
    if {"query", "item", "gain"} <= has and not has & {"list", "shopper"}:
        return "pairs"
    if {"item", "list", "shopper", "time"} <= has and has & {"quantity", "price"}:
        return "transactions"
    if "item" in has and has & {"list", "shopper"}:
        return "behaviour"
    if {"item", "text"} <= has:
        return "items"
    return "profiles" if "shopper" in has and "item" not in has else None


def resolve(
    columns: Sequence[str], given: Mapping[str, str], kind: Kind | None, path: str
) -> tuple[Kind, dict[str, str]]:
    """The kind of a file, and the column of each field.

    Raises
    ------
    DataError
        When the kind is not to be seen, or a field that it needs has no column.

    Examples
    --------
    >>> resolve(["user_id", "age"], {}, None, "users.csv")
    ('profiles', {'shopper': 'user_id'})
    """
    found = match_columns(list(columns), given, (), path)
    chosen = kind or guess_kind(found)
    shown = ", ".join([*columns[:SHOWN], *([f"{len(columns) - SHOWN} more"] if len(columns) > SHOWN else [])])
    if chosen is None:
        raise DataError(
            f"{path} has {shown}: this is no kind of data that is known. Give its kind with --kind "
            f"({', '.join(KINDS)}), and its columns with --column FIELD=NAME. Fields are {', '.join(ALIASES)}."
        )
    for need in SHAPES[chosen].needs:
        anyone = (need,) if isinstance(need, str) else need
        if not any(field in found for field in anyone):
            raise DataError(
                f"{path} has no column for {' or '.join(anyone)}, which {chosen} need: it has {shown}. "
                f"Name one with --column {anyone[0]}=NAME."
            )
    return chosen, found
