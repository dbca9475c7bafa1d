"""The late-interaction head's own explanations: what each word, or each past item, adds to the base score.

They are what a worker's ``reason`` is made of: the contributions are the scorer's own, and what they name is said by
:class:`models.words.Words` and :class:`models.late_interaction.Contributions`, here as there.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from evaluator.offline.data import EvaluationData
from evaluator.offline.explanations.explanation import Explained, Explanation, Target, for_all, past
from models.encoded import EncodedQuery
from models.encoder import Encoder
from models.item_store import ItemStore
from models.late_interaction import Contributions, LateInteraction, LateInteractionScorer
from models.scorer import Floats, ScoreRequest
from models.words import Words, words


class _Own:
    """What both methods need: a scorer over the items of some targets.

    Parameters
    ----------
    encoder, head
        Those of the contender.
    data
        Has the items' texts.
    """

    most = 40

    def __init__(self, encoder: Encoder, head: LateInteraction, data: EvaluationData) -> None:
        self.encoder, self.head, self.data = encoder, head, data

    def _scorer(self, wanted: Iterable[str]) -> tuple[LateInteractionScorer, dict[str, int]]:
        """A scorer of some items, and their slots."""
        items = list(dict.fromkeys(wanted))
        store = ItemStore(self.encoder.dim, self.encoder.token_dim, self.encoder.max_item_tokens)
        store.put_many(range(len(items)), self.encoder.encode_items([self.data.items[item].text for item in items]))
        return LateInteractionScorer(store, self.head), {item: slot for slot, item in enumerate(items)}


class TermMatches(_Own):
    """By words. The attributions of a query's words, and those of an item's, add up to MaxSim."""

    name = "term matches of MaxSim"

    def explain(self, targets: Sequence[Target]) -> list[Explained]:
        """Both sides of each."""
        scorer, slots = self._scorer(target.item for target in targets)
        queries = list(dict.fromkeys(target.case.query for target in targets))
        encoded = dict(zip(queries, self.encoder.encode_queries(queries), strict=True))
        split = dict(zip(queries, self.encoder.words(queries, self.encoder.max_query_tokens), strict=True))
        requests = [
            ScoreRequest(np.array([slots[target.item]], np.int64), encoded[target.case.query]) for target in targets
        ]
        found = scorer.contributions(requests)
        return [
            self._explained(target, split[target.case.query], of, _by_item_piece(scorer, request))
            for target, request, of in zip(targets, requests, found, strict=True)
        ]

    def _explained(self, target: Target, query: Words, found: Contributions, by_piece: Floats) -> Explained:
        text, item = target.case.query, self.data.items[target.item].text
        [read] = self.encoder.words([item], self.encoder.max_item_tokens)
        [named] = query.named(found.pieces, found.weights)
        places = tuple(place for one in named for place in one.places)
        return Explained(
            target,
            {
                "query": Explanation("query", words(text), for_all(query.sums(found.pieces)[0], text), places),
                "item": Explanation("item", words(item), for_all(read.sums(by_piece[: len(read.owner)]), item)),
            },
        )


class PastMatches(_Own):
    """By past items. Their attributions add up to the mean of ``history_max`` and ``history_mean``."""

    name = "similarity to past items"

    def explain(self, targets: Sequence[Target]) -> list[Explained]:
        """The past of each."""
        scorer, slots = self._scorer(item for target in targets for item in (target.item, *past(target.case)))
        pasts = [np.array([slots[item] for item in past(target.case)], np.int64) for target in targets]
        found = scorer.contributions(
            [
                ScoreRequest(np.array([slots[target.item]], np.int64), history=scorer.item_store.pooled(rows))
                for target, rows in zip(targets, pasts, strict=True)
            ]
        )
        return [Explained(target, {"history": _of_past(target, of)}) for target, of in zip(targets, found, strict=True)]


def _of_past(target: Target, found: Contributions) -> Explanation:
    items = past(target.case)
    named = [int(row) for row, alike in zip(*found.nearest(), strict=True) if alike] if items else []
    return Explanation("history", items, found.past[0].astype(np.float64), tuple(named))


def _by_item_piece(scorer: LateInteractionScorer, request: ScoreRequest) -> Floats:
    """What each word piece of an item adds to MaxSim, float32 [L]."""
    query = request.query
    assert isinstance(query, EncodedQuery)
    if not len(query.tokens):
        return np.zeros(scorer.item_store.max_tokens, np.float32)
    sums: Floats = scorer.term_matches(query, request.candidates)[0].sum(0)
    return sums
