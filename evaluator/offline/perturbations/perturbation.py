"""What a perturbation is: a small change of a query, a listing or a shopper's past, and how perturbations are found.

Knows texts; nothing of models or of how harm is measured.
"""

import importlib
import pkgutil
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from evaluator.offline import perturbations
from evaluator.offline.perturbations.lexicon import Lexicon

STRENGTHS = (1, 2, 3)
"""From slight to strong."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be changed.

    Attributes
    ----------
    text
        The query, or the text of the listing.
    strength
        One of :data:`STRENGTHS`. Where a text has fewer places to change than that, all of them are changed.
    chance
        The only source of randomness.
    query
        For listings: the query that the listing is ranked for; empty in a feed.
    """

    text: str
    strength: int
    chance: random.Random
    lexicon: Lexicon = field(default_factory=Lexicon)
    query: str = ""


@dataclass(frozen=True, slots=True)
class QueryPerturbation:
    """Another way to write a query.

    Attributes
    ----------
    name
        As in reports, such as ``keyboard``.
    of
        The changed query; the same query where the perturbation does not apply. Such a case is left out.
    says
        What it does at each strength, in one sentence.
    asks_less
        Whether it takes away a part of what is asked, so that another order may be as good an answer.
    """

    name: str
    of: Callable[[Change], str]
    says: str
    asks_less: bool = False


@dataclass(frozen=True, slots=True)
class HistoryPerturbation:
    """A change of a shopper's past, in data without queries.

    Attributes
    ----------
    of
        Takes the ids of the past items, newest first, a strength and the randomness; the same ids where it does not
        apply.
    """

    name: str
    of: Callable[[Sequence[str], int, random.Random], tuple[str, ...]]
    says: str


@dataclass(frozen=True, slots=True)
class ListingPerturbation:
    """A change that one seller makes to a listing, or that befalls it.

    Attributes
    ----------
    of
        The changed text; the same text where it does not apply.
    target
        Whose listing: the candidate with the smallest gain, or the one with the largest.
    copies
        The changed text stands beside the listing, with those of the lesser strengths; else it takes its place.
    finding
        What a rise shows, such as ``A stuffed title fools it``; empty where a rise is no defect.
    """

    name: str
    of: Callable[[Change], str]
    says: str
    target: Literal["least", "most"] = "least"
    copies: bool = False
    finding: str = ""


Perturbation = QueryPerturbation | HistoryPerturbation | ListingPerturbation


def every() -> list[Perturbation]:
    """All perturbations, by module and in its order: the ``PERTURBATIONS`` of every module of the package.

    Examples
    --------
    >>> {"keyboard", "stuffing"} <= {one.name for one in every()}
    True
    """
    found: list[Perturbation] = []
    for module in sorted(one.name for one in pkgutil.iter_modules(perturbations.__path__)):
        found += getattr(importlib.import_module(f"{perturbations.__name__}.{module}"), "PERTURBATIONS", ())
    return found
