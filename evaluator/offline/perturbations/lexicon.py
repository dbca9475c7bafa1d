"""What the perturbations know of a catalogue: synonyms, and its most frequent words.

A word of queries has a word of titles as synonym when judgements, titles and neighbours agree:

- of the good answers whose title lacks the query's word, :data:`SHARE` or more have the other word, :data:`LIFT` times
  as many as other titles, for at least :data:`QUERIES` queries;
- the two seldom stand in one title (:data:`TOGETHER`), as what is named once is not named again;
- their neighbours in titles are alike (:data:`ALIKE`, cosine), so that they fill the same places.

Pure. Items that were added for other perturbations are not read.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from evaluator.offline.data import Case, EvaluationData
from evaluator.offline.perturbations.inflection import singular

WORD = re.compile(r"[^\W\d_]{3,}")

GOOD = 0.75
"""The share of the span of gains from which an answer is good."""

COMMON = 20
"""How many frequent words are kept."""

SHARE, LIFT, QUERIES, TOGETHER, ALIKE = 0.4, 20.0, 3, 0.05, 0.2

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Lexicon:
    """See the module.

    Attributes
    ----------
    synonyms
        A word of titles by a word of queries, both in the singular and in lower case.
    common
        The most frequent words of titles, first the most frequent.
    """

    synonyms: Mapping[str, str] = field(default_factory=dict)
    common: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: EvaluationData) -> "Lexicon":
        """Mined from the titles and judgements of the training part, for the words of the queries that are ranked."""
        titles = {item: roots(data.items[item].text) for item in _ranked(data)}
        frequent = Counter(word for title in titles.values() for word in set(title))
        wanted = {word for case in data.cases for word in roots(case.query)}
        return cls(_synonyms(data, titles, frequent, wanted), _most(frequent))


def common_words(data: EvaluationData) -> tuple[str, ...]:
    """The most frequent words of titles, first the most frequent."""
    return _most(Counter(word for item in _ranked(data) for word in set(roots(data.items[item].text))))


def _most(frequent: Counter[str]) -> tuple[str, ...]:
    return tuple(sorted(frequent, key=lambda word: (-frequent[word], word))[:COMMON])


def roots(text: str) -> tuple[str, ...]:
    """Words of three letters or more, in lower case and in the singular.

    Examples
    --------
    >>> roots("5 Garden Hoses")
    ('garden', 'hose')
    """
    return tuple(singular(word) for word in WORD.findall(text.casefold()))


def _ranked(data: EvaluationData) -> Iterable[str]:
    lists = dict.fromkeys(case.items for some in (data.train, data.cases) for case in some)  # a feed's cases share one
    return dict.fromkeys(item for items in lists for item in items)


def _synonyms(
    data: EvaluationData, titles: Mapping[str, tuple[str, ...]], frequent: Counter[str], wanted: set[str]
) -> dict[str, str]:
    found: dict[str, str] = {}
    candidates = list(_candidates(data, titles, frequent, wanted))
    together = _together(titles.values(), {pair for _, pair in candidates})
    neighbours = _neighbours(titles.values(), {word for _, pair in candidates for word in pair})
    for _, (word, other) in sorted(candidates, reverse=True):
        rarer = max(1, min(frequent[word], frequent[other]))
        if together[word, other] / rarer <= TOGETHER and alike(neighbours[word], neighbours[other]) >= ALIKE:
            found.setdefault(word, other)
    return found


def _candidates(
    data: EvaluationData, titles: Mapping[str, tuple[str, ...]], frequent: Counter[str], wanted: set[str]
) -> Iterator[tuple[float, Pair]]:
    """Pairs of a query's word and a title's that judgements connect, and how closely, 0 to 1."""
    lacking: Counter[str] = Counter()
    instead: Counter[Pair] = Counter()
    queries: defaultdict[Pair, set[str]] = defaultdict(set)
    for case in data.train:
        asked = set(roots(case.query))
        for item in _good(case, data.span):
            title = set(titles[item])
            for word in (asked & wanted) - title:
                lacking[word] += 1
                for other in title - asked:
                    instead[word, other] += 1
                    queries[word, other].add(case.query)
    for pair, count in instead.items():
        share = count / lacking[pair[0]]
        if share >= SHARE and share * len(titles) >= LIFT * frequent[pair[1]] and len(queries[pair]) >= QUERIES:
            yield share, pair


def _good(case: Case, span: tuple[float, float]) -> Iterator[str]:
    enough = span[0] + GOOD * (span[1] - span[0])
    return (item for item, gain in zip(case.items, case.gains, strict=True) if gain >= enough)


def _together(titles: Iterable[tuple[str, ...]], pairs: set[Pair]) -> Counter[Pair]:
    """How many titles have both words of a pair."""
    partners: defaultdict[str, set[str]] = defaultdict(set)
    for word, other in pairs:
        partners[word].add(other)
    found: Counter[Pair] = Counter()
    for title in titles:
        words = set(title)
        for word in words & partners.keys():
            for other in partners[word] & words:
                found[word, other] += 1
    return found


def _neighbours(titles: Iterable[tuple[str, ...]], words: set[str]) -> defaultdict[str, Counter[str]]:
    """How often each word stands right before (``<``) and right after (``>``) the words, ends of titles included."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for title in titles:
        if words.isdisjoint(title):
            continue
        padded = ("", *title, "")
        for before, word, after in zip(padded, padded[1:], padded[2:], strict=False):
            if word in words:
                found[word].update((f"<{before}", f">{after}"))
    return found


def alike(one: Counter[str], other: Counter[str]) -> float:
    """The cosine of two counts; zero where one has none.

    Examples
    --------
    >>> alike(Counter("ab"), Counter("aabb")), alike(Counter("a"), Counter("b")), alike(Counter(), Counter("a"))
    (1.0, 0.0, 0.0)
    """
    dot = sum(count * other[name] for name, count in one.items())
    norms = math.sqrt(sum(n * n for n in one.values()) * sum(n * n for n in other.values()))
    return round(dot / norms, 12) if norms else 0.0
