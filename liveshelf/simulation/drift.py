"""Drifts: eight kinds of changes in a shop, as values. Knows nothing of how the world applies them."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

ADOPTED = 1 / 3
"""The share of the shoppers who become interested in a new category."""

SEASONAL = 0.5
"""The share of searches for the season's category."""


@dataclass(frozen=True)
class Drift:
    """A change from one time to another, in seconds since the shop opened."""

    at_s: float
    until_s: float = math.inf


@dataclass(frozen=True)
class TasteShift(Drift):
    """A share of the shoppers get another taste: other interests, brands and price band."""

    share: float = 0.5


@dataclass(frozen=True)
class NewCategory(Drift):
    """A new category goes on sale; a third of the shoppers become interested in it.

    ``category`` is its name; without one, a category with at most a quarter of the items is drawn at random.
    """

    category: str = ""


@dataclass(frozen=True)
class Season(Drift):
    """Half of the searches are for one category; without a name, for one drawn at random."""

    category: str = ""


@dataclass(frozen=True)
class Fashion(Drift):
    """Half of the brands go out of fashion: the liking of their items is multiplied by the factor. With the next such
    drift they come back, and the other half goes out."""

    factor: float = 0.25


@dataclass(frozen=True)
class QualityShift(Drift):
    """A share of the items exchange their hidden quality: others sell well."""

    share: float = 0.5


@dataclass(frozen=True)
class PriceShock(Drift):
    """All prices are multiplied by the factor."""

    factor: float = 1.5


@dataclass(frozen=True)
class BrokenFrontend(Drift):
    """The links on a share of the pages are broken: impressions without clicks."""

    share: float = 1.0


@dataclass(frozen=True)
class BotTraffic(Drift):
    """A share of the visits are by bots."""

    share: float = 0.3


DRIFTS: Mapping[str, type[Drift]] = {
    "taste": TasteShift,
    "category": NewCategory,
    "season": Season,
    "fashion": Fashion,
    "quality": QualityShift,
    "prices": PriceShock,
    "frontend": BrokenFrontend,
    "bots": BotTraffic,
}

_FORM = re.compile(r"(?P<name>\w+)(=(?P<value>[^@]+))?@(?P<at>[\d.]+)(-(?P<until>[\d.]+))?")


def parse(text: str) -> Drift:
    """A drift from ``NAME[=VALUE]@FROM[-TO]``, times in seconds since the shop opened.

    Raises
    ------
    ValueError
        When the text cannot be parsed; the message says what is allowed.

    Examples
    --------
    >>> parse("taste@600")
    TasteShift(at_s=600.0, until_s=inf, share=0.5)
    >>> parse("prices=2@60-120")
    PriceShock(at_s=60.0, until_s=120.0, factor=2.0)
    >>> parse("season=Garden@0").category
    'Garden'
    """
    found = _FORM.fullmatch(text.strip())
    kind = DRIFTS.get(found["name"]) if found else None
    if found is None or kind is None:
        raise ValueError(f"{text!r}: want NAME[=VALUE]@FROM[-TO], as in taste@600; names are {', '.join(DRIFTS)}")
    at_s, until_s = _number(text, found["at"]), _number(text, found["until"] or "inf")
    if not at_s < until_s:
        raise ValueError(f"{text!r}: it ends before it begins")
    if found["value"] is None:
        return kind(at_s, until_s)
    name = fields(kind)[2].name
    value = found["value"] if name == "category" else _number(text, found["value"])
    if name == "factor" and not 0 < float(value) < math.inf:
        raise ValueError(f"{text!r}: a factor is above 0")
    if name == "share" and not 0 < float(value) <= 1:
        raise ValueError(f"{text!r}: a share is above 0 and at most 1")
    if kind is BotTraffic and float(value) == 1:
        raise ValueError(f"{text!r}: some visits must be left to shoppers")
    return kind(at_s, until_s, value)  # type: ignore[call-arg]


def _number(text: str, number: str) -> float:
    try:
        return float(number)
    except ValueError:
        raise ValueError(f"{text!r}: {number!r} is no number") from None
