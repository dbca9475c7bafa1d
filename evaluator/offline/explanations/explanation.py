"""What an explanation is: how much each word of a query or an item, or each past item of a shopper, adds to a score.

Values only; knows nothing of how attributions are made.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np

from evaluator.offline.data import Case
from evaluator.offline.resampling import Numbers
from models.words import Words, word_spans

Side = Literal["query", "item", "history"]
"""What is attributed to: the query's words, the item's words, or the shopper's past items."""

PAST = 10
"""How many of a shopper's newest distinct past items are told apart, as many as make a context in a worker."""


class Target(NamedTuple):
    """A score to be explained: an item's in a case. Its gains are hidden."""

    case: Case
    item: str


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """What each part of one side adds to a score.

    Attributes
    ----------
    parts
        Words as they are written (:mod:`models.words`), or ids of past items, newest first.
    attributions
        float64 [parts]: above zero where the part raises the score.
    named
        Places of the parts that a shelf's ``reason`` names; None where a worker gives this side no reason.
    """

    side: Side
    parts: tuple[str, ...]
    attributions: Numbers
    named: tuple[int, ...] | None = None

    @property
    def says_something(self) -> bool:
        """Whether any part has an attribution."""
        return bool(np.abs(self.attributions).max(initial=0.0) > 0)


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """A score with its explanations.

    Attributes
    ----------
    gap
        How far the sum of all attributions is from the score's difference to the baseline, as a share of this; NaN for
        a method that does not promise that both are equal.
    """

    target: Target
    sides: Mapping[Side, Explanation]
    gap: float = math.nan


class Explainer(Protocol):
    """Explains the scores of one contender.

    Attributes
    ----------
    name
        The method, for people.
    most
        Cases that it can explain in a few seconds.
    """

    name: str
    most: int

    def explain(self, targets: Sequence[Target]) -> list[Explained]:
        """Explain some scores, in the order given."""


def target(case: Case, item: str, query: str | None = None) -> Target:
    """A target without the case's gains, for this item alone; ``query`` replaces the case's own."""
    wanted = case.query if query is None else query
    blind = np.full(1, np.nan)
    return Target(Case(case.id, (item,), blind, wanted, case.history, case.shopper, case.ts), item)


def past(case: Case) -> tuple[str, ...]:
    """The past items that are told apart."""
    return tuple(dict.fromkeys(case.history))[:PAST]


def plain(word: str) -> str:
    """A word without case and marks, as words are compared.

    Examples
    --------
    >>> plain("Hose,"), plain("1/2\\""), plain("(-)")
    ('hose', '1/2', '(-)')
    """
    return re.sub(r"^\W+|\W+$", "", word.casefold()) or word.casefold()


def by_word(spans: Sequence[tuple[int, int]], values: Numbers, text: str) -> Numbers:
    """Sums over word pieces by the word in which each begins, for all words of a text.

    Parameters
    ----------
    spans
        Where each piece begins and ends in the text; an empty one belongs to no word.
    values
        float64 [pieces]

    Examples
    --------
    >>> by_word([(0, 3), (3, 5), (6, 9)], np.array([1.0, 2.0, 4.0]), "tapes red long").tolist()
    [3.0, 4.0, 0.0]
    """
    return for_all(Words.of(text, spans).sums(values), text)


def for_all(values: Numbers, text: str) -> Numbers:
    """Values of a text's first words, and zero for the others, of which nothing is known."""
    return np.pad(values, (0, len(word_spans(text)) - len(values)))
