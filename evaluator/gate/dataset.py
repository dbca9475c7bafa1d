"""Held-out examples as lists to be ranked, and scorers as functions of texts.

A shopper's impressions of one item in one context become one item with their mean target and their weights' sum.
Weighted sums of log losses and calibration gaps stay the same. The gate reaches a model only through a version as a
worker serves it. Knows nothing of verdicts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from evaluator.gate.bootstrap import Groupings
from models.encoded import EncodedQuery
from models.encoder import Encoder, Precision
from models.factory import build
from models.intents import INTENTS
from models.scorer import Floats, ScoreRequest
from models.store.parts import Parts
from models.training.batches import FrozenItems
from models.training.examples import Example, by_context, context

BATCH = 64
"""Contexts scored in one call, as in a worker's batch."""

ROUNDING = 1e-3


class GateRequest(NamedTuple):
    """A context and the texts of the items to score in it, as :class:`models.training.examples.Example` has them;
    ``popularity`` is one number an item, or empty where all are zero."""

    query: str
    history: tuple[str, ...]
    items: tuple[str, ...]
    asked: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    popularity: tuple[float, ...] = ()


Score = Callable[[Sequence[GateRequest]], list[Floats]]
"""Probabilities of the four intents, float32 [n, 4] for each context."""


class AnswerError(ValueError):
    """A scorer's answer is not probabilities; ``score`` is the scorer."""

    def __init__(self, score: Score, said: str) -> None:
        super().__init__(said)
        self.score = score


@dataclass(frozen=True, slots=True, eq=False)
class RankedList:
    """A list and its outcomes: mean targets [n, 4] and weights [n] of its distinct items. ``shopper`` is who saw it,
    empty where that is not known."""

    request: GateRequest
    targets: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    shopper: str = ""

    @property
    def query(self) -> str:
        """The query without regard to case and spaces; the history where there is no query."""
        request = self.request
        return " ".join(request.query.casefold().split()) or "\n".join((*request.history, *request.asked))


@dataclass(frozen=True, slots=True)
class Groups:
    """Which lists are resampled together: those of a shopper, because tastes are alike, and those of a query, because a
    model reads a query equally well for everybody. A list without a known shopper is grouped by its query."""

    shoppers: tuple[str, ...]
    queries: tuple[str, ...]
    unit: Literal["shoppers", "queries"]

    @classmethod
    def of(cls, lists: Sequence[RankedList]) -> "Groups":
        """The groups of some lists, in the lists' order."""
        queries = tuple(one.query for one in lists)
        shoppers = tuple(one.shopper or query for one, query in zip(lists, queries, strict=True))
        return cls(shoppers, queries, "shoppers" if any(one.shopper for one in lists) else "queries")

    @property
    def groupings(self) -> Groupings:
        """For :meth:`evaluator.gate.bootstrap.Bootstrap.ratio`."""
        return self.shoppers, self.queries

    @property
    def count(self) -> int:
        """How many shoppers there are; queries where no shopper is known."""
        return len(set(self.shoppers))

    def said(self, needed: int) -> str:
        """In words: how many groups are needed."""
        return f"{needed:,} {self.unit}"


def ranked_lists(examples: Sequence[Example], most: int) -> list[RankedList]:
    """The newest contexts of examples that are sorted by time; newest first, one list a shopper and context.

    Examples
    --------
    >>> rows = [("a", "look"), ("b", "buy"), ("a", "ignore")]
    >>> shown = [Example(query="hose", item=item, intent=intent) for item, intent in rows]
    >>> [one] = ranked_lists(shown, 10)
    >>> one.request.items, one.targets.tolist(), one.weights.tolist()
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
        request = GateRequest(
            first.query, first.history, items, first.asked, first.weights, tuple(popular[one] for one in items)
        )
        found.append(RankedList(request, targets / weights[:, None], weights, first.shopper))
    return found


def pools(lists: Sequence[RankedList], size: int, count: int, seed: int) -> list[GateRequest]:
    """Contexts with as many candidates as a worker ranks: a list's own items, then others drawn from all lists."""
    chance = np.random.default_rng(seed)
    requests = [one.request for one in lists]
    popular = {item: value for one in requests for item, value in zip(one.items, one.popularity, strict=False)}
    every = list(dict.fromkeys(item for one in requests for item in one.items))
    chosen = chance.permutation(len(lists))[:count]
    found = []
    for one in (requests[place] for place in chosen):
        others = (every[place] for place in chance.permutation(len(every))[:size])
        items = tuple(dict.fromkeys((*one.items, *others)))[:size]
        found.append(one._replace(items=items, popularity=tuple(popular.get(item, 0.0) for item in items)))
    return found


def answers(score: Score, requests: Sequence[GateRequest]) -> list[Floats]:
    """A scorer's answers, computed batch by batch.

    Raises
    ------
    AnswerError
        Where an answer is not one row of four probabilities an item.
    """
    found: list[Floats] = []
    for start in range(0, len(requests), BATCH):
        some = requests[start : start + BATCH]
        rows = score(some)
        if [part.shape for part in rows] != [(len(request.items), len(INTENTS)) for request in some]:
            raise AnswerError(score, "its answers are not one row of four probabilities for each item")
        for request, part in zip(some, rows, strict=True):
            if not ((part >= 0).all() and np.allclose(part.sum(axis=1), 1, atol=ROUNDING)):
                raise AnswerError(score, f"its answers to {request.query or request.history!r} are not probabilities")
        found += rows
    return found


class Served:
    """Scores texts as a worker does.

    Parameters
    ----------
    parts
        The version's parts, from :func:`models.store.parts.parts` or from a trainer's folder.
    encoder
        Encodes queries, with the version's weights and adapter.
    items
        All texts of candidates and histories, encoded by an encoder of the same ``version``. Champion and challenger
        share them where their encoders are equal.

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
            items.texts.__getitem__,
            head=parts.head,
            cross_encoder=parts.cross_encoder,
            precision=precision,
        )

    def __call__(self, requests: Sequence[GateRequest]) -> list[Floats]:
        """Probabilities of the four intents, float32 [n, 4] for each context; KeyError for an item not given before."""
        texts = list(dict.fromkeys(text for request in requests for text in (request.query, *request.asked)))
        queries = dict(zip(texts, self.encoder.encode_queries(texts), strict=True))
        return self.scorer.score([self._request(request, queries) for request in requests])

    def _request(self, request: GateRequest, queries: Mapping[str, EncodedQuery]) -> ScoreRequest:
        past = (
            [self.items.item_store.pooled(self._slots(request.history)).astype(np.float32)] if request.history else []
        )
        past += [queries[text].pooled[None, :] for text in request.asked]
        return ScoreRequest(
            self._slots(request.items),
            queries[request.query] if request.query else None,
            request.query,
            np.concatenate(past) if past else None,
            np.array(request.weights, np.float32) if request.weights else None,
            np.array(request.popularity, np.float32) if request.popularity else None,
        )

    def _slots(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([self.items.slots[text] for text in texts], np.int64)
