"""LightGBM's LambdaMART on simple features: what a team without a deep model would train first.

Knows texts, cases and LightGBM. For search the features are word overlaps, BM25, lengths and popularity; for a feed
they are those of ``behaviour``.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt

from evaluator.offline.contenders.behaviour import Behaviour, Features, Sales, with_candidates
from evaluator.offline.contenders.bm25 import BM25
from evaluator.offline.contenders.contender import ContenderError, Scores, parameter
from evaluator.offline.contenders.simple import Popularity
from evaluator.offline.data import Case, EvaluationData

GRADES = 30
"""Gains become so many whole levels, as LightGBM wants them."""

MOST_PAIRS = 2_000_000
"""Training rows at most; of more, the newest cases count."""

MOST_ORDERS = 600
"""Orders of a feed to learn from at most: the newest."""

ORDERS_SHARE = 0.3
"""The newest share of a feed's orders that is learned from; similarities of items come from the older ones."""

FOLDS = 5
"""Parts of the training cases. A case's popularity is of the other parts: with only its own gains left out, trees read
its labels from the difference to other cases of the same items."""

LEAST_ORDERS = 20
"""Orders with a past that learning from a feed needs."""


class LambdaMART:
    """Gradient-boosted trees for ranking (Burges 2010), 100 trees of 15 leaves."""

    def __init__(self, seed: str = "") -> None:
        self.seed = int(parameter(seed, 0))
        self._bm25, self._popularity = BM25(), Popularity()
        self._behaviour: Behaviour | None = None

    def fit(self, data: EvaluationData) -> None:
        """Train on the cases of the training part.

        Raises
        ------
        ContenderError
            Where there is no training part, or nothing in it differs.
        """
        self._data = data
        if data.task == "feed":
            self._fit_feed(data)
        else:
            self._fit_search(data)

    def _fit_search(self, data: EvaluationData) -> None:
        train = [case for case in data.train if case.decided]
        if not train:
            raise ContenderError("LambdaMART needs training cases whose gains differ: give --train")
        self._bm25.fit(data)
        self.indexed = self._bm25.indexed
        rows, chosen = 0, []
        for case in reversed(train):
            rows += len(case.items)
            if rows > MOST_PAIRS:
                break
            chosen.append(case)
        self._train(chosen, self._search_features(chosen, self._sold_in_other_parts(chosen)), data.span)
        self._popularity.fit(data)

    def _sold_in_other_parts(self, cases: Sequence[Case]) -> list[Scores]:
        """The popularity of the items of training cases, each from the parts that the case is not in."""
        parts, sold = np.random.default_rng(self.seed).permutation(len(cases)) % FOLDS, [np.zeros(0)] * len(cases)
        for part in range(FOLDS):
            popularity = Popularity()
            popularity.fit(
                replace(self._data, train=[case for case, own in zip(cases, parts, strict=True) if own != part])
            )
            own = np.flatnonzero(parts == part).tolist()
            for place, counts in zip(own, popularity.score([cases[place] for place in own]), strict=True):
                sold[place] = counts * FOLDS / (FOLDS - 1)
        return sold

    def _fit_feed(self, data: EvaluationData) -> None:
        """Similarities for training come from older orders than those learned from; for ranking, from all."""
        orders, least = sorted(data.train, key=lambda case: case.ts), data.span[0]
        learned = min(MOST_ORDERS, round(len(orders) * ORDERS_SHARE))
        older, newer = orders[: len(orders) - learned], orders[len(orders) - learned :]
        newer = [case for case in newer if case.history]
        if len(newer) < LEAST_ORDERS:
            raise ContenderError(f"LambdaMART needs {LEAST_ORDERS} orders of shoppers with a past, it has {len(newer)}")
        sales, chance = Sales(orders, least), np.random.default_rng(self.seed)
        self._behaviour = Behaviour(older, sales, data.items, least)
        drawn = [with_candidates(case, sales, chance) for case in newer]
        chosen = [case for case in drawn if case.decided]
        self._train(chosen, self._behaviour.features(chosen), data.span)
        self._behaviour = Behaviour(orders, sales, data.items, least)

    def _train(self, cases: Sequence[Case], given: Sequence[Features], span: tuple[float, float]) -> None:
        low, high = span
        judged = [~np.isnan(case.gains) for case in cases]
        features = [part[known] for part, known in zip(given, judged, strict=True)]
        gains = [case.gains[known] for case, known in zip(cases, judged, strict=True)]
        labels = np.rint((np.concatenate(gains) - low) / max(high - low, 1e-9) * GRADES).clip(0, GRADES)
        settings: dict[str, Any] = {
            "objective": "lambdarank",
            "num_leaves": 15,
            "learning_rate": 0.1,
            "min_data_in_leaf": 50,
            "label_gain": list(range(GRADES + 1)),
            "seed": 1,
            "deterministic": True,
            "num_threads": 2,
            "verbosity": -1,
        }
        found = lightgbm.Dataset(np.concatenate(features), labels, group=[len(part) for part in gains])
        self._trees = lightgbm.train(settings, found, num_boost_round=100)

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        """The trees' sums."""
        if not cases:
            return []
        parts = self._features(cases)
        flat = np.asarray(self._trees.predict(np.concatenate(parts)), np.float64)
        return np.split(flat, np.cumsum([len(part) for part in parts])[:-1])

    def _features(self, cases: Sequence[Case]) -> list[Features]:
        if self._behaviour is not None:
            return self._behaviour.features(cases)
        return self._search_features(cases, self._popularity.score(cases))

    def _search_features(self, cases: Sequence[Case], popular: Sequence[Scores]) -> list[Features]:
        found = zip(cases, self._bm25.score(cases), popular, strict=True)
        return [self._of_texts(case, lexical, sold) for case, lexical, sold in found]

    def _of_texts(self, case: Case, lexical: Scores, sold: Scores) -> npt.NDArray[np.float64]:
        words = case.query.casefold().split()
        past = Counter(case.history)
        last = {item: place for place, item in reversed(list(enumerate(case.history)))}
        rows = []
        for place, item in enumerate(case.items):
            text = self._data.items[item].text.casefold()
            title = text.split()
            shared = sum(word in title for word in words)
            rows.append(
                (
                    lexical[place],
                    np.log1p(max(0.0, sold[place])),
                    shared,
                    shared / max(1, len(words)),
                    sum(word in text for word in words) / max(1, len(words)),
                    float(bool(words) and bool(title) and words[-1] == title[-1]),
                    len(words),
                    len(title),
                    past[item],
                    past[item] / max(1, len(case.history)),
                    last.get(item, len(case.history)),
                )
            )
        return np.array(rows, np.float64)


CONTENDERS = {"lambdamart": LambdaMART}
