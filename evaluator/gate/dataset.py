"""Held-out examples as lists to be ranked, and scorers as functions of texts.

A shopper's impressions of one item in one context become one item with their mean target and their weights' sum, which
leaves every weighted sum of log losses and calibration gaps as it is. A version as a worker serves it is the gate's
only way to a model; knows nothing of verdicts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from evaluator.gate.bootstrap import Ways
from models.encoded import EncodedQuery
from models.encoder import Encoder, Precision
from models.factory import build
from models.intents import INTENTS
from models.scorer import Floats, ScoreRequest
from models.store.parts import Parts
from models.training.batches import FrozenItems
from models.training.examples import Example, by_context, context

BATCH = 64
"""Contexts scored in one call, as a worker's batch."""

ROUNDING = 1e-3


class GateRequest(NamedTuple):
    """A context and the texts of the items to score in it, as :class:`models.training.examples.Example` has them;
    ``popularity`` of each item, none where all are zero."""

    query: str
    history: tuple[str, ...]
    items: tuple[str, ...]
    asked: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    popularity: tuple[float, ...] = ()


Score = Callable[[Sequence[GateRequest]], list[Floats]]
"""Probabilities of the four intents, float32 [n, 4] for each context."""


class AnswerError(ValueError):
    """A scorer's answer is no probabilities; ``score`` is the scorer."""

    def __init__(self, score: Score, said: str) -> None:
        super().__init__(said)
        self.score = score


@dataclass(frozen=True, slots=True, eq=False)
class RankedList:
    """A list with what came of it: mean targets [n, 4], and weights [n], of its distinct items; ``shopper`` is who saw
    it, empty where that is not known."""

    ask: GateRequest
    targets: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    shopper: str = ""

    @property
    def query(self) -> str:
        """The query, however it is written; without one the history."""
        return " ".join(self.ask.query.casefold().split()) or "\n".join((*self.ask.history, *self.ask.asked))


@dataclass(frozen=True, slots=True)
class Groups:
    """Which lists are resampled as one: those of a shopper, whose likes are alike, and those of a query, which a model
    reads rightly or wrongly whoever asks it. A list whose shopper is not known has its query in their place."""

    shoppers: tuple[str, ...]
    queries: tuple[str, ...]
    unit: Literal["shoppers", "queries"]

    @classmethod
    def of(cls, lists: Sequence[RankedList]) -> "Groups":
        """Of some lists, in their order."""
        queries = tuple(one.query for one in lists)
        shoppers = tuple(one.shopper or query for one, query in zip(lists, queries, strict=True))
        return cls(shoppers, queries, "shoppers" if any(one.shopper for one in lists) else "queries")

    @property
    def ways(self) -> Ways:
        """For :meth:`evaluator.gate.bootstrap.Bootstrap.ratio`."""
        return self.shoppers, self.queries

    @property
    def count(self) -> int:
        """How many shoppers there are; queries where no shopper is known."""
        return len(set(self.shoppers))

    def said(self, needed: int) -> str:
        """How many it takes, in words."""
        return f"{needed:,} {self.unit}, there are {self.count:,}"


def ranked_lists(examples: Sequence[Example], most: int) -> list[RankedList]:
    """The newest contexts of examples in the order of time, each shopper's of its own, newest first.

    Examples
    --------
    >>> rows = [("a", "look"), ("b", "buy"), ("a", "ignore")]
    >>> shown = [Example(query="hose", item=item, intent=intent) for item, intent in rows]
    >>> [one] = ranked_lists(shown, 10)
    >>> one.ask.items, one.targets.tolist(), one.weights.tolist()
    (('a', 'b'), [[0.0, 0.0, 0.5, 0.5], [1.0, 0.0, 0.0, 0.0]], [2.0, 1.0])
    """
    found = []
    for group in by_context(reversed(examples), lambda example: (example.shopper, context(example)))[:most]:
        items = tuple(dict.fromkeys(example.item for example in group))
        places = {item: place for place, item in enumerate(items)}
        weights, targets = np.zeros(len(items)), np.zeros((len(items), len(INTENTS)))
        for example in group:
            weights[places[example.item]] += example.weight
            targets[places[example.item]] += example.weight * example.target()
        first = group[0]
        popular = {example.item: example.popularity for example in group}
        ask = GateRequest(
            first.query, first.history, items, first.asked, first.weights, tuple(popular[one] for one in items)
        )
        found.append(RankedList(ask, targets / weights[:, None], weights, first.shopper))
    return found


def pools(lists: Sequence[RankedList], size: int, count: int, seed: int) -> list[GateRequest]:
    """Contexts with as many candidates as a worker ranks: a list's own items, and others drawn from all lists."""
    chance = np.random.default_rng(seed)
    popular = {item: value for one in lists for item, value in zip(one.ask.items, one.ask.popularity, strict=False)}
    every = list(dict.fromkeys(item for one in lists for item in one.ask.items))
    chosen = chance.permutation(len(lists))[:count]
    found = []
    for one in (lists[place].ask for place in chosen):
        others = (every[place] for place in chance.permutation(len(every))[:size])
        items = tuple(dict.fromkeys((*one.items, *others)))[:size]
        found.append(one._replace(items=items, popularity=tuple(popular.get(item, 0.0) for item in items)))
    return found


def answers(score: Score, asks: Sequence[GateRequest]) -> list[Floats]:
    """What a scorer says, batch by batch.

    Raises
    ------
    AnswerError
        Where it is not one row of four probabilities an item.
    """
    found: list[Floats] = []
    for start in range(0, len(asks), BATCH):
        some = asks[start : start + BATCH]
        rows = score(some)
        if [part.shape for part in rows] != [(len(ask.items), len(INTENTS)) for ask in some]:
            raise AnswerError(score, "its answers are not one row of four probabilities for each item")
        for ask, part in zip(some, rows, strict=True):
            if not ((part >= 0).all() and np.allclose(part.sum(axis=1), 1, atol=ROUNDING)):
                raise AnswerError(score, f"what it says of {ask.query or ask.history!r} is no probabilities")
        found += rows
    return found


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
    >>> [rows] = served([GateRequest("hose", (), ("Garden hose", "Desk lamp"))])
    >>> rows.shape, bool(rows[0, 3] < rows[1, 3])
    ((2, 4), True)
    """

    def __init__(self, parts: Parts, encoder: Encoder, items: FrozenItems, precision: Precision = "auto") -> None:
        self.encoder, self.items = encoder, items
        self.scorer = build(
            parts.architecture,
            encoder,
            items.item_store,
            list(items.slots).__getitem__,
            head=parts.head,
            cross_encoder=parts.cross_encoder,
            precision=precision,
        )

    def __call__(self, asks: Sequence[GateRequest]) -> list[Floats]:
        """Probabilities of the four intents, float32 [n, 4] for each context; KeyError for an item not given before."""
        texts = list(dict.fromkeys(text for ask in asks for text in (ask.query, *ask.asked)))
        queries = dict(zip(texts, self.encoder.encode_queries(texts), strict=True))
        return self.scorer.score([self._request(ask, queries) for ask in asks])

    def _request(self, ask: GateRequest, queries: Mapping[str, EncodedQuery]) -> ScoreRequest:
        past = [self.items.item_store.pooled(self._slots(ask.history)).astype(np.float32)] if ask.history else []
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
