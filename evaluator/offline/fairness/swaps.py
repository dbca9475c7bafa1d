"""Counterfactual cases: words that should not matter are swapped in the items' texts, and the order should stay.

Two brands, or women's and men's, in all texts at once, for queries and histories that name none of them (counterfactual
token fairness, Garg et al. 2019). Both sides have ids of their own, so that a contender that knows items by their ids
knows neither. Knows texts and cases; nothing of contenders.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from evaluator.offline.contenders.contender import Scores
from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.fairness.groups import by_brand, first_word, ranked

Kind = Literal["gender", "brand"]
KINDS: tuple[Kind, ...] = ("gender", "brand")

MOST_CASES = 60
"""Cases of each kind."""

MOST_ITEMS = 10
"""Candidates of such a case."""

LONGEST_PAST = 10
"""Past items that are looked at for the words."""

PAIRS = (
    ("men", "women"),
    ("mens", "womens"),
    ("men's", "women's"),
    ("man", "woman"),
    ("boy", "girl"),
    ("boys", "girls"),
    ("boy's", "girl's"),
    ("male", "female"),
    ("gentlemen", "ladies"),
    ("gentleman", "lady"),
    ("his", "her"),
    ("husband", "wife"),
    ("father", "mother"),
    ("dad", "mum"),
    ("男", "女"),
    ("男士", "女士"),
    ("先生", "太太"),
    ("爸爸", "妈妈"),
    ("父亲", "母亲"),
)
GENDER = {one: other for pair in PAIRS for one, other in (pair, pair[::-1])}


@dataclass(frozen=True, slots=True, eq=False)
class Swap:
    """One case twice: its candidates as they are, and with the words swapped.

    Attributes
    ----------
    place
        The case's place in the data.
    before, after
        Both have the case's id and no gains.
    changed
        bool [n]: which texts differ.
    """

    kind: Kind
    place: int
    before: Case
    after: Case
    changed: np.ndarray[tuple[int], np.dtype[np.bool_]]


def plan(data: EvaluationData, seed: int) -> tuple[list[Swap], dict[str, Document]]:
    """Cases with swapped words, and the items of both sides; the same for the same data and seed."""
    brands = {item: data.items[item].brand or word for item, word in _brands(data).items()}
    named = frozenset(first_word(brand) for brand in brands.values())
    found: list[Swap] = []
    documents: dict[str, Document] = {}
    for kind in KINDS:
        chance = np.random.default_rng([seed, KINDS.index(kind)])
        chosen = _gendered(data) if kind == "gender" else set(brands)
        if not chosen:
            continue
        count = 0
        for place in chance.permutation(len(data.cases)).tolist():
            words = set(data.cases[place].query.casefold().split())
            if kind == "brand" and not named.isdisjoint(words):
                continue
            made = _swap(data, kind, place, chosen, brands, chance)
            if made is not None:
                swap, new = made
                found.append(swap)
                documents |= new
                count += 1
            if count == MOST_CASES:
                break
    return found, documents


def swapped(text: str, words: Mapping[str, str]) -> str:
    """A text with each word replaced by its counterpart, in the case in which it is written.

    Examples
    --------
    >>> swapped("Women's Boot, MEN", GENDER), swapped("女士手表", GENDER), swapped("omen", GENDER)
    ("Men's Boot, WOMEN", '男士手表', 'omen')
    >>> swapped("DELTA tap by delta", {"delta": "Kohler", "kohler": "Delta"})
    'KOHLER tap by Kohler'
    """
    return _pattern(words).sub(lambda match: _as_written(match[0], words[match[0].casefold()]), text)


def flips(before: Scores, after: Scores, changed: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float:
    """The share of pairs whose order turns round, of those with a changed text; a pair that becomes or was tied counts
    half. NaN where no pair counts.

    Examples
    --------
    >>> flips(np.array([3.0, 2.0, 1.0]), np.array([1.0, 2.0, 0.0]), np.array([True, False, False]))
    0.5
    """
    one, other = (np.sign(scores[:, None] - scores[None, :]) for scores in (before, after))
    counted = np.triu(changed[:, None] | changed[None, :], 1)
    return float(np.abs(one - other)[counted].mean() / 2) if counted.any() else float("nan")


def _swap(
    data: EvaluationData,
    kind: Kind,
    place: int,
    chosen: set[str],
    brands: Mapping[str, str],
    chance: np.random.Generator,
) -> tuple[Swap, dict[str, Document]] | None:
    case = data.cases[place]
    order = [case.items[at] for at in chance.permutation(len(case.items))]
    with_words = [item for item in order if item in chosen][: MOST_ITEMS // 2]
    if not with_words or len(order) < 2:
        return None
    words = GENDER if kind == "gender" else _two_brands(with_words, brands)
    past = " ".join(data.items[item].text for item in case.history[:LONGEST_PAST])
    if not words or _pattern(words).search(f"{case.query} {past}"):
        return None
    items = [*with_words, *(item for item in order if item not in with_words)][:MOST_ITEMS]
    texts = [swapped(data.items[item].text, words) for item in items]
    changed = np.array([text != data.items[item].text for item, text in zip(items, texts, strict=True)])
    if not changed.any():
        return None
    sides = {"as it is": [data.items[item].text for item in items], "swapped": texts}
    ids = {side: tuple(f"{kind} {side} {place}: {item}" for item in items) for side in sides}
    new = {
        name: replace(data.items[item], text=text)
        for side, of in sides.items()
        for name, item, text in zip(ids[side], items, of, strict=True)
    }
    unknown = np.full(len(items), np.nan)
    before, after = (replace(case, items=ids[side], gains=unknown, propensities=None) for side in sides)
    return Swap(kind, place, before, after, changed), new


def _brands(data: EvaluationData) -> Mapping[str, str]:
    return by_brand(data, ranked(data)).of


def _gendered(data: EvaluationData) -> set[str]:
    pattern = _pattern(GENDER)
    return {item for item in ranked(data) if pattern.search(data.items[item].text)}


def _two_brands(items: Sequence[str], brands: Mapping[str, str]) -> dict[str, str]:
    """The two brands that most of the items have, each with the other as it is written; empty where there is one."""
    common = Counter(brands[item].casefold() for item in items).most_common(2)
    if len(common) < 2:
        return {}
    (one, _), (other, _) = common
    return {one: other, other: one}


def _pattern(words: Mapping[str, str]) -> re.Pattern[str]:
    """Whole words; Chinese has no spaces between its words."""
    parts = sorted(words, key=lambda word: -len(word))
    bounded = [re.escape(word) if ord(word[0]) > 0x2E7F else rf"(?<!\w){re.escape(word)}(?!\w)" for word in parts]
    return re.compile("|".join(bounded), re.IGNORECASE)


def _as_written(old: str, new: str) -> str:
    if old.isupper():
        return new.upper()
    return new.capitalize() if old[:1].isupper() and new.islower() else new


def fewer(swaps: Sequence[Swap], most: int) -> list[Swap]:
    """The first so many of each kind."""
    return [swap for kind in KINDS for swap in [one for one in swaps if one.kind == kind][:most]]


def cases_of(swaps: Sequence[Swap]) -> list[Case]:
    """All of them to be scored in one call: before and after, in turn."""
    return [case for swap in swaps for case in (swap.before, swap.after)]


def by_kind(swaps: Sequence[Swap], scores: Sequence[Scores]) -> Iterator[tuple[Kind, list[tuple[int, float]]]]:
    """Each kind's places of cases and shares of flipped pairs."""
    for kind in KINDS:
        found = [
            (swap.place, flips(scores[2 * at], scores[2 * at + 1], swap.changed))
            for at, swap in enumerate(swaps)
            if swap.kind == kind
        ]
        if found:
            yield kind, found
