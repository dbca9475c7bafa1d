"""Groups of items between which exposure is compared: brands, price bands, new and old items.

Knows items and the training part; nothing of rankings.
"""

import html
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluator.message import Text, said
from evaluator.offline.data import Document, EvaluationData

LEAST_ITEMS = 5
"""Items that a brand needs to be mined from titles."""

FIRST = 0.8
"""The share of a mined brand's titles that begin with it: other first words, such as colours, stand elsewhere too."""

COVERED = 1 / 3
"""The share of the items whose brand must be known; where it is less, there is no grouping by brand."""

NEWEST = 0.2
"""The share of the items that are new, where it is known when they appeared first."""

NEW, OLD = "new", "old"


@dataclass(frozen=True, slots=True)
class Grouping:
    """Items by one property.

    Attributes
    ----------
    of
        An item's group by its id; items whose group is not known are left out.
    note
        How the groups were made.
    """

    name: str
    of: Mapping[str, str]
    note: Text


def groupings(data: EvaluationData) -> list[Grouping]:
    """All groupings that the data has."""
    items = ranked(data)
    found = [by_brand(data, items), by_price(data, items), by_age(data, items)]
    return [one for one in found if len(set(one.of.values())) > 1]


def ranked(data: EvaluationData) -> list[str]:
    """The candidates of all cases, each once."""
    lists = dict.fromkeys(case.items for case in data.cases)  # cases of a feed share theirs
    return list(dict.fromkeys(item for items in lists for item in items))


def by_brand(data: EvaluationData, items: Sequence[str]) -> Grouping:
    """Brands as the items have them, else mined from the beginnings of titles."""
    of = {item: brand for item in items if (brand := html.unescape(data.items[item].brand).casefold())}
    if len(of) >= COVERED * len(items):
        return Grouping("brand", of, "brands as given")
    known = mined_brands(document.text for document in catalogue(data).values())
    first = {item: first_word(data.items[item].text) for item in items}
    of = {item: word for item, word in first.items() if word in known}
    return Grouping("brand", of, "a brand is the first word of titles, where it seldom stands elsewhere")


def catalogue(data: EvaluationData) -> Mapping[str, Document]:
    """The items of all cases, those to learn from too; without what dimensions have ranked besides."""
    names = dict.fromkeys([*ranked(data), *(item for case in data.train for item in case.items)])
    return {item: data.items[item] for item in names}


def mined_brands(texts: Iterable[str]) -> frozenset[str]:
    """Words with which titles begin and that seldom stand elsewhere; none where few titles begin with such a word.

    Examples
    --------
    >>> sorted(mined_brands(f"{brand} {thing}" for brand in ("Ryobi", "Delta") for thing in ("drill", "saw") * 3))
    ['delta', 'ryobi']
    >>> mined_brands(["red hose", "hose red", "tap red", "red tap"] * 9)
    frozenset()
    """
    begin, everywhere, count = Counter[str](), Counter[str](), 0
    for text in texts:
        count += 1
        begin[first_word(text)] += 1
        everywhere.update({_bare(word) for word in text.split()})
    found = {
        word: times
        for word, times in begin.items()
        if times >= LEAST_ITEMS and len(word) > 2 and word.isalpha() and times >= FIRST * everywhere[word]
    }
    return frozenset(found) if sum(found.values()) >= COVERED * count else frozenset()


def first_word(text: str) -> str:
    """The first word in small letters; empty where there is none."""
    return _bare(next(iter(text.split()), ""))


def by_price(data: EvaluationData, items: Sequence[str]) -> Grouping:
    """Three bands of as many items each, where most prices are known."""
    prices = {item: data.items[item].price for item in items if not math.isnan(data.items[item].price)}
    if len(prices) < len(items) / 2:
        return Grouping("price", {}, "")
    low, high = np.quantile(list(prices.values()), (1 / 3, 2 / 3))
    bands = {item: "low" if price <= low else "middle" if price <= high else "high" for item, price in prices.items()}
    return Grouping("price", bands, said("low up to {low:.2f}, high above {high:.2f}", low=low, high=high))


def by_age(data: EvaluationData, items: Sequence[str]) -> Grouping:
    """New items and old ones: by when they appeared first, else by whether the training part has a gain of them."""
    seen = {item: first for item in items if (first := data.items[item].first_seen) is not None}
    if len(seen) >= len(items) / 2:
        since = np.quantile(list(seen.values()), 1 - NEWEST)
        ages = {item: NEW if first > since else OLD for item, first in seen.items()}
        return Grouping("age", ages, said("new are the {share:.0%} that appeared last", share=NEWEST))
    sold = popularity(data)
    ages = {item: OLD if sold[item] else NEW for item in items} if sold else {}
    return Grouping("age", ages, "new are those without a gain in the training part")


def popularity(data: EvaluationData) -> Counter[str]:
    """How often each item had a gain above the smallest one in the training part."""
    return Counter(
        item
        for case in data.train
        for item, gain in zip(case.items, case.gains.tolist(), strict=True)
        if gain > data.span[0]
    )


def _bare(word: str) -> str:
    return re.sub(r"^\W+|\W+$", "", word).casefold()
