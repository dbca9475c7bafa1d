"""What a contender's scores depend on at all: the query, and an item's brand. Found by leaving words out.

Knows a bench, and a sample's ablation. The items with words left out are ranked like any other item, so every contender
can be asked.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from evaluator.offline.contenders.contender import Scores, TextContender, checked
from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.dimensions.dimension import Bench
from evaluator.offline.explanations.explanation import Explained, target
from evaluator.offline.explanations.occlusion import falls, without_each
from evaluator.offline.explanations.sample import Sample, affordable
from evaluator.offline.explanations.words import brand_places, each_left_out
from evaluator.offline.resampling import Numbers

BRANDED = 40
"""Cases whose best item is also ranked with each of its words left out."""

MATTERS = 1e-3
"""Changes of a score that matter, in standard deviations."""


@dataclass(frozen=True, slots=True, eq=False)
class BrandReliance:
    """How much of items' scores is on the brand.

    Attributes
    ----------
    shares
        float64 [cases]: the brand's share of the sizes of the best item's attributions; NaN where nothing is known.
    words
        The brand's mean share of the words; NaN where no share is known.
    """

    shares: Numbers
    words: float

    @property
    def reads_items(self) -> bool:
        """Whether any word of any item changes its score."""
        return bool(np.isfinite(self.shares).any())


def further_items(data: EvaluationData, seed: int) -> dict[str, Document]:
    """The best items of some cases with each of their words left out, the same for all contenders."""
    return {
        _id(item, place): replace(data.items[item], text=text)
        for _, item in _best_items(data, seed)
        for place, text in enumerate(each_left_out(data.items[item].text))
    }


def brand_reliance(bench: Bench) -> BrandReliance:
    """Of the items that :func:`further_items` has given; none where it was not asked."""
    brands, cases = {}, []
    for place, item in islice(_best_items(bench.data, bench.seed), affordable(bench, BRANDED)):
        words = bench.data.items[item].text.split()
        items = (item, *(_id(item, number) for number in range(len(words))))
        if all(one in bench.data.items for one in items):
            brands[place] = brand_places(words, bench.data.items[item].brand)
            cases.append([target(bench.data.cases[place], one).case for one in items])
    flat = [case for some in cases for case in some]
    scores = iter(_scores(bench, flat))
    shares, words_shares = np.full(len(bench.data.cases), np.nan), []
    for (place, brand), some in zip(brands.items(), cases, strict=True):
        full, *without = (float(next(scores)[0]) for _ in some)
        sizes = np.abs(falls(full, np.array(without)))
        if brand and sizes.sum() > 0:
            shares[place] = sizes[list(brand)].sum() / sizes.sum()
            words_shares.append(len(brand) / len(sizes))
    return BrandReliance(shares, float(np.mean(words_shares)) if words_shares else math.nan)


def _scores(bench: Bench, cases: Sequence[Case]) -> list[Scores]:
    """Of texts, where the contender takes them: it need not keep what it has of these items then."""
    if isinstance(bench.contender, TextContender):
        return checked(bench.contender.score_texts(cases, [bench.data.texts(case) for case in cases]), cases)
    return checked(bench.contender.score(cases), cases)


def reads_query(sample: Sample) -> Numbers:
    """Of each case of a search whether a query's word that is left out changes the difference between the scores of its
    first and its middle item, float64 [cases] of 0 and 1."""
    if sample.bench.data.task == "feed":
        return np.full(len(sample.bench.data.cases), np.nan)
    wanted = {
        place: [without_each(one.target, "query", len(sample.ablation.parts(one.target, "query"))) for one in some]
        for place, some in sample.of.items()
    }
    sample.ablation.scores([one for some in wanted.values() for part in some for one in part])

    def reads(place: int, _: Sequence[Explained]) -> float:
        first, middle = (sample.ablation.scores(part) for part in wanted[place])
        apart = first - middle
        return float(np.abs(apart - apart[0]).max() > MATTERS * sample.scale)

    return sample.values(reads)


def _best_items(data: EvaluationData, seed: int) -> Iterator[tuple[int, str]]:
    """Places of some cases and their best items; a feed has none, as it is explained by past items."""
    if data.task == "feed":
        return
    seen: set[str] = set()
    for place in np.random.default_rng(seed).permutation(len(data.cases)).tolist():
        case = data.cases[place]
        item = case.items[int(np.argmax(np.nan_to_num(case.gains)))]
        if item not in seen and len(data.items[item].text.split()) > 1:
            seen.add(item)
            yield place, item
        if len(seen) >= BRANDED:
            return


def _id(item: str, place: int) -> str:
    return f"{item} without word {place + 1}"
