"""The late-interaction head's own term matches: what each word of a query and of an item adds to MaxSim.

Knows the scorer's matches and its word pieces; the matching itself is :func:`models.kernels.term_matches`.
"""

from collections.abc import Sequence

import numpy as np

from evaluator.offline.data import EvaluationData
from evaluator.offline.explanations.explanation import Explained, Explanation, Target, by_word
from models.encoder import Encoder
from models.item_store import ItemStore
from models.late_interaction import LateInteraction, LateInteractionScorer
from models.scorer import Floats


class TermMatches:
    """See the module. The attributions of a query's words, and those of an item's, add up to MaxSim."""

    name = "term matches of MaxSim"
    most = 40

    def __init__(self, encoder: Encoder, head: LateInteraction, data: EvaluationData) -> None:
        self.encoder, self.head, self.data = encoder, head, data

    def explain(self, targets: Sequence[Target]) -> list[Explained]:
        """Both sides of each."""
        queries = list(dict.fromkeys(target.case.query for target in targets))
        encoded = dict(zip(queries, self.encoder.encode_queries(queries), strict=True))
        items = list(dict.fromkeys(target.item for target in targets))
        slots = {item: slot for slot, item in enumerate(items)}
        store = ItemStore(self.encoder.dim, self.encoder.token_dim, self.encoder.max_item_tokens)
        store.put_many(range(len(items)), self.encoder.encode_items([self.data.items[item].text for item in items]))
        scorer = LateInteractionScorer(store, self.head)
        found = []
        for target in targets:
            query = encoded[target.case.query]
            slot = np.array([slots[target.item]], np.int64)
            matches = scorer.term_matches(query, slot)[0] if len(query.tokens) else np.zeros((0, 0), np.float32)
            found.append(self._explained(target, matches))
        return found

    def _explained(self, target: Target, matches: Floats) -> Explained:
        query, item = target.case.query, self.data.items[target.item].text
        sums = [matches.sum(1).astype(np.float64), matches.sum(0).astype(np.float64)]
        words = []
        for text, values in zip((query, item), sums, strict=True):
            spans = self.encoder.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            pieces = spans["offset_mapping"][: len(values)]
            words.append(by_word(pieces, values[: len(pieces)], text))
        return Explained(
            target,
            {
                "query": Explanation("query", tuple(query.split()), words[0]),
                "item": Explanation("item", tuple(item.split()), words[1]),
            },
        )
