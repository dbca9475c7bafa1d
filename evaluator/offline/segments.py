"""Groups of cases that are told apart in reports: frequency of the query, cold items, language, price, length, shopper.

Pure: takes evaluation data, gives it with segments. A grouping that would have one group only is left out.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from evaluator.offline.data import Case, EvaluationData

COLD = 5
"""An item with fewer purchases or clicked lists in the training part is cold."""

FEW_PURCHASES = 20
"""A shopper with fewer past purchases is told apart."""

SCRIPTS = {
    "Japanese": r"[\u3040-\u30ff]",
    "Korean": r"[\uac00-\ud7af\u1100-\u11ff]",
    "Chinese": r"[\u3400-\u9fff]",
    "Cyrillic letters": r"[\u0400-\u04ff]",
    "Arabic letters": r"[\u0600-\u06ff]",
    "Greek letters": r"[\u0370-\u03ff]",
    "Hebrew letters": r"[\u0590-\u05ff]",
    "Thai letters": r"[\u0e00-\u0e7f]",
    "Indian letters": r"[\u0900-\u0dff]",
}
"""Letters that tell a language or a family of languages; kana stand before Chinese signs, which Japanese has too."""

SOME = 0.2
"""The share of a text's letters from which it is of a script: brands are written in Latin letters everywhere."""

ACCENTED = "accented Latin letters"

Group = Callable[[Case], str]
"""The group of a case; empty where it has none."""


def with_segments(data: EvaluationData) -> EvaluationData:
    """The same data, whose cases have segments."""
    groups: dict[str, Group] = {
        "items": _items(data),
        "language": lambda case: language(case.query or " ".join(data.items[item].text for item in case.history[:10])),
        "price": _prices(data),
    }
    groups["shopper"] = _known(data)
    if data.task == "feed":
        groups |= {"orders": _again, "past": _purchases}
    elif any(case.query for case in data.cases):
        groups |= {"query length": lambda case: _length(case.query), "words": _words(data)}
    if data.task == "clicks":
        groups["query"] = _frequency(data)
    found = [{by: name for by, group in groups.items() if (name := group(case))} for case in data.cases]
    varied = {by for by in groups if len({some[by] for some in found if by in some}) > 1}
    cases = [
        replace(case, segments={by: name for by, name in some.items() if by in varied})
        for case, some in zip(data.cases, found, strict=True)
    ]
    return replace(data, cases=cases)


def language(text: str) -> str:
    """Which letters a text has.

    Examples
    --------
    >>> [language(text) for text in ("hose 20 m", "花园软管", "Schläuche", "iPhone 手机", "шланг", "ホース 園芸", "42")]
    ['English letters', 'Chinese', 'accented Latin letters', 'Chinese', 'Cyrillic letters', 'Japanese', '']
    """
    letters = "".join(letter for letter in text if letter.isalpha())
    if not letters:
        return ""
    found = next((name for name, one in SCRIPTS.items() if len(re.findall(one, letters)) > SOME * len(letters)), "")
    return found or ("English letters" if letters.isascii() else ACCENTED)


def thirds(counts: Mapping[str, int]) -> dict[str, str]:
    """Head, middle or tail of each query: the most frequent ones that make a third of all searches are the head.

    Examples
    --------
    >>> thirds({"tv": 40, "hose": 30, "tap": 20, "tarp": 10})
    {'tv': 'head', 'hose': 'middle', 'tap': 'tail', 'tarp': 'tail'}
    """
    total, before, found = sum(counts.values()), 0, {}
    for query, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])):
        found[query] = ("head", "middle", "tail")[min(2, 3 * before // total)]
        before += count
    return found


def _relevant(case: Case) -> list[str]:
    """Items with more than half of the case's largest gain."""
    most = np.fmax.reduce(case.gains, initial=0.0)
    return [case.items[place] for place in np.flatnonzero(case.gains > most / 2)]


def _frequency(data: EvaluationData) -> Group:
    of = thirds(Counter(case.query for case in (*data.train, *data.cases)))
    return lambda case: of[case.query]


def _items(data: EvaluationData) -> Group:
    """Whether an item that the case is about is cold; graded data tells whether training judges it at all."""
    least = data.span[0]
    if data.task == "graded":
        judged = {item for case in data.train for item in case.items}
        return lambda case: "a best one is new" if set(_relevant(case)) - judged else "best ones known from training"
    counts: Counter[str] = Counter()
    for case in data.train:
        counts.update(item for item, gain in zip(case.items, case.gains, strict=True) if gain > least)
    return lambda case: _cold(_relevant(case), counts)


def _cold(items: Sequence[str], counts: Mapping[str, int]) -> str:
    if not items:
        return ""
    return "one of them is cold" if any(counts.get(item, 0) < COLD for item in items) else "none of them is cold"


def _prices(data: EvaluationData) -> Group:
    """The third of the cases by the median price of their relevant items."""

    def price(case: Case) -> float:
        known = [data.items[item].price for item in _relevant(case) if item in data.items]
        known = [value for value in known if not np.isnan(value)]
        return float(np.median(known)) if known else float("nan")

    prices = np.array([price(case) for case in data.cases])
    if np.isnan(prices).all():
        return lambda _: ""
    edges = np.nanquantile(prices, (1 / 3, 2 / 3))
    of = {case.id: value for case, value in zip(data.cases, prices.tolist(), strict=True)}

    def band(case: Case) -> str:
        value = of[case.id]
        return "" if np.isnan(value) else ("low", "middle", "high")[int(np.searchsorted(edges, value, side="right"))]

    return band


def _again(case: Case) -> str:
    past = set(case.history)
    return "some bought before" if any(item in past for item in _relevant(case)) else "all new to the shopper"


def _purchases(case: Case) -> str:
    few = f"fewer than {FEW_PURCHASES} purchases before"
    return few if len(case.history) < FEW_PURCHASES else f"{FEW_PURCHASES} purchases or more"


def _known(data: EvaluationData) -> Group:
    """Whether training has the shopper; nothing where each list is a shopper of its own."""
    known = {case.shopper for case in data.train if case.shopper}
    return lambda case: "" if not case.shopper else "known" if case.shopper in known else "new"


def _length(query: str) -> str:
    words = len(query.split())
    return "1 to 2 words" if words <= 2 else "3 to 4 words" if words <= 4 else "5 words or more"


def _words(data: EvaluationData) -> Group:
    seen = {word for case in data.train for word in case.query.casefold().split()}
    return lambda case: (
        "all known from training" if set(case.query.casefold().split()) <= seen else "some are new to training"
    )
