"""BM25 over the items' texts, by the bm25s library, with English stems.

Knows texts; learns nothing from the training part but how frequent words are among the items.
"""

from collections.abc import Sequence

import bm25s
import numpy as np
import Stemmer

from evaluator.offline.contenders import names
from evaluator.offline.contenders.contender import Scores
from evaluator.offline.data import Case, EvaluationData


class BM25:
    """BM25 (Robertson et al. 1994) in Lucene's form, over all items; a feed's query is the texts of the history."""

    def __init__(self, language: str = "") -> None:
        self._stemmer = Stemmer.Stemmer(names.language(language))

    def fit(self, data: EvaluationData) -> None:
        """Index every item."""
        self._data = data
        self._places = {item: place for place, item in enumerate(data.items)}
        self.indexed = len(data.items)
        self._index = bm25s.BM25()
        self._index.index(self._tokens([one.text for one in data.items.values()]), show_progress=False)

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        """The score of each candidate; zero for those that share no word with the query."""
        return [self._one(case) for case in cases]

    def _one(self, case: Case) -> Scores:
        text = case.query or " ".join(self._data.items[item].text for item in case.history[:10])
        [tokens] = self._tokens([text])
        places = np.array([self._places[item] for item in case.items], np.intp)
        known = [token for token in tokens if token in self._index.vocab_dict]
        if not known:
            return np.zeros(len(places))
        return np.asarray(self._index.get_scores(known), np.float64)[places]

    def _tokens(self, texts: Sequence[str]) -> list[list[str]]:
        found: list[list[str]] = bm25s.tokenize(
            list(texts), stemmer=self._stemmer, return_ids=False, show_progress=False, token_pattern=r"(?u)\b\w+\b"
        )
        return found


CONTENDERS = {"bm25": BM25}
