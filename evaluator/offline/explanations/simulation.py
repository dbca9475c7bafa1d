"""Simulatability (Doshi-Velez and Kim 2017): does an explanation alone tell which of two other items is ranked higher?

Pure; knows explanations, items' words and scores.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from evaluator.offline.explanations.explanation import Explanation, plain
from evaluator.offline.resampling import Numbers
from models.words import words


def words_of(text: str) -> set[str]:
    """A text's words, to be compared."""
    return {plain(word) for word in words(text)}


def by_words(explanations: Iterable[Explanation]) -> Callable[[str], float]:
    """What explanations by words say of an item: the sum of the attributions of the words that it shares.

    A word of several explanations has the mean of its attributions that are not zero: a word that matters only where
    both texts have it says nothing of an item that lacks it.

    Examples
    --------
    >>> says = by_words([Explanation("query", ("garden", "hose"), np.array([0.1, 0.4]))])
    >>> says("Rubber Hose, 20 m"), says("Desk lamp")
    (0.4, 0.0)
    """
    known: defaultdict[str, list[float]] = defaultdict(list)
    for one in explanations:
        for word, value in zip(one.parts, one.attributions.tolist(), strict=True):
            if value:
                known[plain(word)].append(value)
    weights = {word: float(np.mean(values)) for word, values in known.items()}
    return lambda text: sum(weights.get(word, 0.0) for word in words_of(text))


def by_items(explanations: Iterable[Explanation], texts: Callable[[str], str]) -> Callable[[str], float]:
    """What explanations by past items say of an item: their attributions, each by the share of words in common.

    Examples
    --------
    >>> says = by_items([Explanation("history", ("a",), np.array([0.4]))], {"a": "garden hose"}.__getitem__)
    >>> says("rubber hose") > says("desk lamp")
    True
    """
    past = [
        (words_of(texts(item)), value)
        for one in explanations
        for item, value in zip(one.parts, one.attributions.tolist(), strict=True)
    ]

    def says(text: str) -> float:
        own = words_of(text)
        return float(sum(value * len(words & own) / max(1, len(words | own)) for words, value in past))

    return says


def accuracy(said: Sequence[float], scores: Numbers, most: int, chance: np.random.Generator) -> float:
    """The share of pairs of items whose order by what is said of them is their order by score.

    A pair of which the same is said counts half; pairs of equal scores are left out. NaN without a pair.

    Examples
    --------
    >>> accuracy([0.4, 0.0, 0.0], np.array([3.0, 2.0, 1.0]), 20, np.random.default_rng(0)).__round__(3)
    0.833
    """
    count = len(said)
    pairs = [(one, other) for one in range(count) for other in range(one)] if count**2 < 50 * most else None
    if pairs is None:
        drawn = chance.integers(0, count, (most * 4, 2))
        pairs = [(int(one), int(other)) for one, other in drawn if one != other]
    chosen = [pairs[place] for place in chance.permutation(len(pairs))]
    decided = [(one, other) for one, other in chosen if scores[one] != scores[other]][:most]
    if not decided:
        return math.nan
    agreed = [np.sign(said[one] - said[other]) * np.sign(scores[one] - scores[other]) for one, other in decided]
    return float(np.mean(agreed) / 2 + 0.5)
