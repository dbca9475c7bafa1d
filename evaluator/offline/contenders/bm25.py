"""BM25 over the items' texts, by the bm25s library, with English stems.

Knows texts; learns nothing from the training part but how frequent words are among the items.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import bm25s
import numpy as np
import Stemmer

from evaluator.offline.contenders import names
from evaluator.offline.contenders.contender import Scores
from evaluator.offline.data import Case, EvaluationData


class _Index(NamedTuple):
    bm25: Any
    places: dict[str, int]


class BM25:
    """BM25 (Robertson et al. 1994) in Lucene's form, over all items; a feed's query is the texts of the history."""

    def __init__(self, language: str = "") -> None:
        self._stemmer = Stemmer.Stemmer(names.language(language))
        self._all: _Index | None = None

    def fit(self, data: EvaluationData) -> None:
        """Index the items of the data. Those that dimensions have ranked besides change no other item's score."""
        self._data, self._further = data, frozenset(data.further)
        own = [item for item in data.items if item not in self._further]
        self.indexed = len(own)
        self._own, self._all = self._index(own), None

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        """The score of each candidate; zero for those that share no word with the query."""
        return [self._one(case) for case in cases]

    def _one(self, case: Case) -> Scores:
        index = self._own
        if not self._further.isdisjoint(case.items):
            self._all = self._all or self._index(list(self._data.items))
            index = self._all
        text = case.query or " ".join(self._data.items[item].text for item in case.history[:10])
        [tokens] = self._tokens([text])
        places = np.array([index.places[item] for item in case.items], np.intp)
        known = [token for token in tokens if token in index.bm25.vocab_dict]
        if not known:
            return np.zeros(len(places))
        return np.asarray(index.bm25.get_scores(known), np.float64)[places]

    def _index(self, items: Sequence[str]) -> "_Index":
        bm25 = bm25s.BM25()
        bm25.index(self._tokens([self._data.items[item].text for item in items]), show_progress=False)
        return _Index(bm25, {item: place for place, item in enumerate(items)})

    def _tokens(self, texts: Sequence[str]) -> list[list[str]]:
        found: list[list[str]] = bm25s.tokenize(
            list(texts), stemmer=self._stemmer, return_ids=False, show_progress=False, token_pattern=r"(?u)\b\w+\b"
        )
        return found


CONTENDERS = {"bm25": BM25}
