"""A version as a worker serves it, asked by texts: the gate's thin edge to models.

Knows an encoder, encoded items and a version's parts. What is judged is the path that serves, quantised items, fast
kernels, adapter and all, not the towers that were trained.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from evaluator.gate.dataset import Ask
from models.encoded import EncodedQuery
from models.encoder import Encoder, Precision
from models.factory import build
from models.scorer import Floats, ScoreRequest
from models.store.parts import Parts
from models.training.batches import FrozenItems


class Served:
    """A scorer of texts.

    Parameters
    ----------
    parts
        The version's, as :func:`models.store.parts.parts` or a folder of a trainer has them.
    encoder
        Of its weights and its adapter; reads queries.
    items
        All texts that will be asked for, as items and in histories, encoded by an encoder of the same ``version``:
        champion and challenger share them where that is equal.

    Examples
    --------
    >>> encoder = Encoder()
    >>> served = Served(Parts(), encoder, FrozenItems(encoder, ["Garden hose", "Desk lamp"]))
    >>> [rows] = served([Ask("hose", (), ("Garden hose", "Desk lamp"))])
    >>> rows.shape, bool(rows[0, 3] < rows[1, 3])
    ((2, 4), True)
    """

    def __init__(self, parts: Parts, encoder: Encoder, items: FrozenItems, precision: Precision = "auto") -> None:
        self.encoder, self.items = encoder, items
        self.scorer = build(
            parts.architecture,
            encoder,
            items.memory,
            list(items.slots).__getitem__,
            head=parts.head,
            cross_encoder=parts.cross_encoder,
            precision=precision,
        )

    def __call__(self, asks: Sequence[Ask]) -> list[Floats]:
        """Probabilities of the four intents, float32 [n, 4] for each context; KeyError for an item not given before."""
        texts = list(dict.fromkeys(text for ask in asks for text in (ask.query, *ask.asked)))
        queries = dict(zip(texts, self.encoder.encode_queries(texts), strict=True))
        return self.scorer.score([self._request(ask, queries) for ask in asks])

    def _request(self, ask: Ask, queries: Mapping[str, EncodedQuery]) -> ScoreRequest:
        past = [self.items.memory.pooled(self._slots(ask.history)).astype(np.float32)] if ask.history else []
        past += [queries[text].pooled[None, :] for text in ask.asked]
        return ScoreRequest(
            self._slots(ask.items),
            queries[ask.query] if ask.query else None,
            ask.query,
            np.concatenate(past) if past else None,
            np.array(ask.weights, np.float32) if ask.weights else None,
            np.array(ask.popularity, np.float32) if ask.popularity else None,
        )

    def _slots(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([self.items.slots[text] for text in texts], np.int64)
