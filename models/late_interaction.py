"""The late-interaction head: predicts the four intents from how a query, a history and an item match.

The base part is set by hand, so it ranks well before any training. The learned part starts at zero and is added to it.
A query's token states first pass a learned map and get learned weights: training can change these without encoding
items again, at no cost per candidate.
Knows vectors and features; nothing of texts, nor of the encoder that made the vectors.
"""

import copy
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import normalize

from models.contexts import CONTEXT_FEATURES, TOPICS, Contexts, Topics, context_features
from models.encoded import EncodedQuery
from models.encoder import TOKEN_DIM, Precision
from models.intents import INTENTS
from models.item_store import ItemStore, Slots
from models.kernels import NO_TOKEN, Kernels, KernelTable, PairsMatched, QueryBatch, QueryTokens, exact, term_matches
from models.projection import orthogonal
from models.scorer import Floats, ScoreRequest
from models.trigrams import WORDS, TrigramBits, share
from models.weights import WeightsError

MATCH_FEATURES = ("maxsim", "weakest", "exact", "overlap", "rare")
TRIGRAM_FEATURES = ("trigrams", "trigrams_of_item")

DROPOUT = 0.1

ALIKE = 0.3
"""The cosine from which an item is said to be like another."""

VOCABULARY = 65_536
"""How many numbers :func:`models.encoded.fold` can give to word pieces, as int16 indexes them."""


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """Shape of the head, and the base part's constants; ``docs/scorer.md`` has the measurements behind them.

    ``dim`` and ``token_dim`` are the encoder's D and T: widths of a query's and of an item's token states.
    ``maxsim`` is MaxSim's share of a query's relevance, the rest is the pooled cosine's. ``engaged`` gives the log odds
    of anything but ``ignore`` at relevance zero, ``slope`` their growth, ``shares`` their split over buy, read, look.
    """

    kernels: Kernels = field(default_factory=Kernels)
    dim: int = 384
    token_dim: int = TOKEN_DIM
    hidden: int = 64
    maxsim: float = 0.6
    history: float = 0.3
    popularity: float = 0.1
    engaged: float = -4.0
    slope: float = 6.0
    shares: tuple[float, float, float] = (0.1, 0.3, 0.6)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in their order."""
        kernels = (f"kernel_{centre:.2f}" for centre in self.kernels.centres())
        topics = (f"{side}_topic_{number}" for side in ("query", "item") for number in range(TOPICS))
        return (*kernels, *MATCH_FEATURES, *TRIGRAM_FEATURES, *topics, *CONTEXT_FEATURES)

    @property
    def matched(self) -> int:
        """How many of the features, counted from the first, come from matching a query's words with an item's."""
        return self.kernels.count + len(MATCH_FEATURES) + len(TRIGRAM_FEATURES)


class LateInteraction(nn.Module):
    """Features to logits: the base part plus a two-layer learned part whose last layer starts at zero.

    It also holds the result of calibration: a scale and a bias per intent, applied to the logits.

    Examples
    --------
    >>> head = LateInteraction()
    >>> head(torch.zeros(5, len(head.config.features))).shape
    torch.Size([5, 4])
    """

    shares: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor
    rarity: torch.Tensor

    def __init__(self, config: HeadConfig | None = None) -> None:
        super().__init__()
        self.config = config or HeadConfig()
        self.names = self.config.features
        self._maxsim = self.names.index("maxsim")
        last = nn.Linear(self.config.hidden, len(INTENTS))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # every worker's fresh head is the same head
            first = nn.Linear(len(self.config.features), self.config.hidden)
            self.query_topic = nn.Linear(self.config.dim, TOPICS)
            self.item_topic = nn.Linear(self.config.dim, TOPICS)
        self.learned = nn.Sequential(first, nn.GELU(), nn.Dropout(DROPOUT), last)
        self.query_map = nn.Linear(self.config.dim, self.config.token_dim, bias=False)
        self.query_weight = nn.Linear(self.config.dim, 1, bias=False)
        with torch.no_grad():
            self.query_map.weight.copy_(torch.from_numpy(orthogonal(self.config.dim, self.config.token_dim).T))
        nn.init.zeros_(self.query_weight.weight)
        self.register_buffer("shares", torch.tensor(self.config.shares).log(), persistent=False)
        self.register_buffer("scale", torch.ones(len(INTENTS)))
        self.register_buffer("bias", torch.zeros(len(INTENTS)))
        self.register_buffer("rarity", torch.ones(VOCABULARY, dtype=torch.float16))

    def prepare(self, states: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor) -> QueryTokens:
        """Prepare query token states float32 [..., Q, D] for matching, given a mask bool [..., Q] of the present tokens
        and their word pieces int16 [..., Q]."""
        weights = self.query_weight(states).squeeze(-1).masked_fill(~mask, -torch.inf)
        rarity = self.rarity[ids.long() % VOCABULARY].float() * mask
        rarity = rarity / rarity.sum(-1, keepdim=True).clamp_min(1e-6)
        return QueryTokens(normalize(self.query_map(states), dim=-1), weights.softmax(-1), ids, rarity)

    def topics(self, query: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Features [n, 32] from the pooled vectors of one query [D], or one for each item [n, D], and of items [n, D].
        A query without words has a vector of zeros."""
        own, theirs = self.query_topic(query), self.item_topic(items)
        return torch.cat([own.expand(len(theirs), -1), theirs], dim=-1)

    def linear_topics(self) -> Topics:
        """The maps of :meth:`topics`."""
        maps = self.query_topic, self.item_topic
        return Topics(*(part.detach().numpy() for one in maps for part in (one.weight, one.bias)))

    def learn_rarity(self, texts: Iterable[npt.NDArray[np.uint16]]) -> None:
        """Weight word pieces by their rarity in texts, ``log((n + 1) / (count + 1))`` (Spärck Jones 1972), from each
        text's folded ids."""
        counts, number = np.zeros(VOCABULARY, np.int64), 0
        for ids in texts:
            counts[np.unique(ids)] += 1
            number += 1
        self.rarity.copy_(torch.from_numpy(np.log((number + 1) / (counts + 1))))

    @property
    def knows_rarity(self) -> bool:
        """Whether :meth:`learn_rarity` was called."""
        return bool((self.rarity != 1).any())

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """float32 [n, F] to logits [n, 4], columns as :data:`models.intents.INTENTS`."""
        engaged = self.config.engaged + self.config.slope * self.relevance(features)
        base = torch.cat([engaged.unsqueeze(-1) + self.shares, torch.zeros_like(engaged).unsqueeze(-1)], dim=-1)
        return (base + torch.as_tensor(self.learned(features))) * self.scale + self.bias

    def relevance(self, features: torch.Tensor) -> torch.Tensor:
        """The base score, [n]: before training, utility ranks exactly as it does."""
        cosine, high, mean, popularity, has_query = features[..., -len(CONTEXT_FEATURES) :].unbind(-1)[:5]
        query = self.config.maxsim * features[..., self._maxsim] + (1 - self.config.maxsim) * cosine
        history = 0.5 * (high + mean)
        # Without a query, only the history counts.
        weight = torch.where(has_query > 0, self.config.history, 1.0)
        return query + weight * history + self.config.popularity * popularity

    def save(self, folder: Path) -> None:
        """Write ``config.json`` and ``model.safetensors``."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"architecture": "late_interaction", **dataclasses.asdict(self.config)}, indent=2)
        (folder / "config.json").write_text(text + "\n")
        save_file(self.state_dict(), folder / "model.safetensors")

    @classmethod
    def load(cls, folder: Path) -> "LateInteraction":
        """Read what :meth:`save` wrote.

        Raises
        ------
        WeightsError
            When the folder holds no head of this architecture.
        """
        try:
            values = json.loads((folder / "config.json").read_text())
            if values.pop("architecture") != "late_interaction":
                raise WeightsError(f"{folder} holds another architecture")
            kernels, shares = Kernels(**values.pop("kernels")), tuple(values.pop("shares"))
            head = cls(HeadConfig(kernels=kernels, shares=shares, **values))
            head.load_state_dict(load_file(folder / "model.safetensors"))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise WeightsError(f"{folder} holds no late-interaction head: {error}") from error
        return head

    def fingerprint(self) -> str:
        """Eight hex digits over configuration and weights."""
        digest = hashlib.blake2b(repr(self.config).encode(), digest_size=4)
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class _Words:
    """Queries matched with the words of items, m pairs in all.

    Attributes
    ----------
    numbers
        Of each query, by :func:`id`, its number.
    queries
        The queries, n of them, kept so that no other gets their ids.
    keys
        int64 [m]: which query and slot each pair has, as :func:`_keys` numbers them.
    features
        float32 [m, K + 7]: the first features of :attr:`HeadConfig.features`.
    pieces, weights
        float32 [m, Q] and [n, Q]: what each of a query's pieces adds to MaxSim, and its weight in it.
    """

    numbers: Mapping[int, int]
    queries: Sequence[EncodedQuery]
    keys: npt.NDArray[np.int64]
    features: Floats
    pieces: Floats
    weights: Floats

    def find(self, queries: Sequence[EncodedQuery], slots: Sequence[Slots]) -> npt.NDArray[np.int64] | None:
        """Where each query's pairs with its slots are, int64; None where one is missing."""
        wanted = _keys([self.numbers.get(id(query), -1) for query in queries], slots)
        order = self.keys.argsort()
        places = self.keys.searchsorted(wanted, sorter=order)
        if len(wanted) and places.max() == len(order):
            return None
        rows: npt.NDArray[np.int64] = order[places]
        return rows if np.array_equal(self.keys[rows], wanted) else None


def _keys(numbers: Sequence[int], slots: Sequence[Slots]) -> npt.NDArray[np.int64]:
    """A number for each pair of a query, given by its number, and one of its slots."""
    owner: npt.NDArray[np.int64] = np.repeat(np.array(numbers, np.int64), [len(own) for own in slots])
    return (owner << 40) | _joined(slots)


def _joined(slots: Sequence[Slots]) -> Slots:
    return np.concatenate([np.zeros(0, np.int64), *slots])


def _asked(requests: Sequence[ScoreRequest]) -> tuple[list[EncodedQuery], npt.NDArray[np.int64]]:
    """The different queries that have words, and of each request the number of its query, -1 for none."""
    numbers: dict[int, int] = {}
    queries, asked = list[EncodedQuery](), list[int]()
    for request in requests:
        query = request.query
        if query is None or not len(query.tokens):
            asked.append(-1)
            continue
        if id(query) not in numbers:
            numbers[id(query)] = len(queries)
            queries.append(query)
        asked.append(numbers[id(query)])
    return queries, np.array(asked, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Contributions:
    """What each part of a context adds to the base score of some items.

    Attributes
    ----------
    pieces
        float32 [n, Q]: what each of the query's word pieces adds to ``maxsim``; they add up to it.
    weights
        float32 [Q]: the pieces' weights in it.
    past
        float32 [n, h]: what each row of the history adds to the mean of ``history_max`` and ``history_mean``; they add
        up to it.
    cosines
        float32 [n, h]: the items' cosines to these rows.
    """

    pieces: Floats
    weights: Floats
    past: Floats
    cosines: Floats

    def nearest(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Of each item the row of the past that adds most, int64 [n], and whether both are alike: their cosine is at
        least :data:`ALIKE`. There must be a row."""
        best = self.past.argmax(1)
        return best, self.cosines[np.arange(len(best)), best] >= ALIKE


class LateInteractionScorer:
    """Scores items of an item store with a late-interaction head.

    Parameters
    ----------
    item_store
        Holds the encoded items; candidates are its slots.
    head
        A trained head; by default a fresh one, which ranks by MaxSim, cosine, history and popularity.
    encoder_version
        The version of the encoder of the stored items; part of the scorer's version.
    precision
        ``"float32"`` is the reference; else the fast path is used, whose probabilities differ by less than 0.01.

    Examples
    --------
    >>> import numpy as np
    >>> from models.encoder import Encoder
    >>> encoder = Encoder()
    >>> item_store = ItemStore(encoder.dim, encoder.token_dim, encoder.max_item_tokens)
    >>> item_store.put_many([0, 1], encoder.encode_items(["Canon inkjet printer", "Leather sofa"]))
    >>> [query] = encoder.encode_queries(["printer"])
    >>> [scores] = LateInteractionScorer(item_store).score([ScoreRequest(np.array([0, 1]), query)])
    >>> bool(scores[0, 0] > 2 * scores[1, 0])
    True
    """

    name = "late_interaction"

    def __init__(
        self,
        item_store: ItemStore,
        head: LateInteraction | None = None,
        *,
        encoder_version: str = "",
        precision: Precision = "auto",
    ) -> None:
        self.item_store = item_store
        self.head = (head or LateInteraction(HeadConfig(dim=item_store.dim, token_dim=item_store.token_dim))).eval()
        if (self.head.config.dim, self.head.config.token_dim) != (item_store.dim, item_store.token_dim):
            raise WeightsError(
                f"the head was made for vectors of {self.head.config.dim} and {self.head.config.token_dim} dimensions, "
                f"the encoder gives {item_store.dim} and {item_store.token_dim}"
            )
        self.version = f"{self.name}:{self.head.fingerprint()}@{encoder_version}"
        self._words: _Words | None = None
        self._table = None if precision == "float32" else KernelTable(self.head.config.kernels)
        self._warm_up()

    def over(self, item_store: ItemStore) -> "LateInteractionScorer":
        """The same scorer of other items, encoded by the same encoder."""
        other = copy.copy(self)
        other.item_store, other._words = item_store, None
        return other

    def _warm_up(self) -> None:
        """Compile what is compiled, so that no batch waits for it; or load it, if this machine has it already."""
        dim = self.item_store.dim
        query = EncodedQuery(
            np.zeros((1, dim), np.float32), np.zeros(dim, np.float32), np.ones(1, np.uint16), np.zeros(WORDS, np.uint64)
        )
        self.features(ScoreRequest(np.zeros(0, np.int64), query))

    @torch.inference_mode()
    def score(self, requests: Sequence[ScoreRequest]) -> list[Floats]:
        """Probabilities of the four intents, float32 [n, 4] per request."""
        if not requests:
            return []
        logits = self.head(self._features(requests))
        # The softmax is faster over four rows than over four columns.
        found = logits.T.softmax(0).T.contiguous().numpy()
        ends = np.cumsum([len(request.candidates) for request in requests]).tolist()
        return [found[start:end] for start, end in pairwise([0, *ends])]

    @torch.inference_mode()
    def features(self, request: ScoreRequest) -> torch.Tensor:
        """The head's input for each candidate, float32 [n, F], columns as :attr:`HeadConfig.features`."""
        return self._features([request])

    @torch.inference_mode()
    def term_matches(self, query: EncodedQuery, candidates: npt.NDArray[np.int64]) -> Floats:
        """What each pair of a query's and an item's word piece adds to the feature ``maxsim``, float32 [n, Q, L].

        Examples
        --------
        >>> import numpy as np
        >>> from models.encoder import Encoder
        >>> encoder = Encoder()
        >>> item_store = ItemStore(encoder.dim, encoder.token_dim, encoder.max_item_tokens)
        >>> item_store.put_many([0], encoder.encode_items(["blue garden hose"]))
        >>> [query] = encoder.encode_queries(["hose"])
        >>> LateInteractionScorer(item_store).term_matches(query, np.array([0]))[0, 0].argmax().item()
        2
        """
        tokens = self._prepare([query]).one(0, len(query.tokens))
        return term_matches(tokens, self.item_store.gather(candidates)).numpy()

    @torch.inference_mode()
    def contributions(self, requests: Sequence[ScoreRequest]) -> list[Contributions]:
        """What each word piece of the query and each row of the history adds to each candidate's base score.

        The learned part is left out: it has no share that is one word's alone. What the last call of :meth:`score` has
        matched is not matched again.

        Examples
        --------
        >>> import numpy as np
        >>> from models.encoder import Encoder
        >>> encoder = Encoder()
        >>> item_store = ItemStore(encoder.dim, encoder.token_dim, encoder.max_item_tokens)
        >>> item_store.put_many([0, 1], encoder.encode_items(["blue garden hose", "desk lamp"]))
        >>> [query] = encoder.encode_queries(["hose reel"])
        >>> request = ScoreRequest(np.array([0]), query, history=item_store.pooled(np.array([1, 0])))
        >>> [found] = LateInteractionScorer(item_store).contributions([request])
        >>> found.pieces.argmax().item(), found.past.argmax().item()
        (0, 1)
        """
        return [
            Contributions(*pieces, *past)
            for pieces, past in zip(self._pieces(requests), self._past(requests), strict=True)
        ]

    def _pieces(self, requests: Sequence[ScoreRequest]) -> Iterator[tuple[Floats, Floats]]:
        """What the pieces of each query add to each candidate's MaxSim, [n, Q], and their weights."""
        queries, asked = _asked(requests)
        worded = [
            (request.candidates, number)
            for request, number in zip(requests, asked.tolist(), strict=True)
            if number >= 0
        ]
        slots, numbers = [own for own, _ in worded], [number for _, number in worded]
        words = self._words
        rows = words and words.find([queries[number] for number in numbers], slots)
        if words is None or rows is None:
            words = self._match(queries, numbers, slots)
            rows = np.arange(len(words.keys))
        pieces, end = words.pieces[rows], 0
        for request, number in zip(requests, asked.tolist(), strict=True):
            count = len(request.candidates)
            if number < 0:
                yield np.zeros((count, 0), np.float32), np.zeros(0, np.float32)
                continue
            query = queries[number]
            own = words.weights[words.numbers[id(query)], : len(query.tokens)]
            yield pieces[end : end + count, : len(query.tokens)], own
            end += count

    def _past(self, requests: Sequence[ScoreRequest]) -> list[tuple[Floats, Floats]]:
        """What the rows of each history add, and their cosines; computed together, padded with zeros."""
        rows = [0 if request.history is None else len(request.history) for request in requests]
        counts = [len(request.candidates) if own else 0 for request, own in zip(requests, rows, strict=True)]
        with_past = [place for place, own in enumerate(rows) if own]
        history = np.zeros((len(with_past), max(rows, default=0), self.item_store.dim), np.float32)
        weights = np.zeros(history.shape[:2], np.float32)
        pooled = np.zeros((len(with_past), max(counts, default=0), self.item_store.dim), np.float32)
        for number, place in enumerate(with_past):
            request, own = requests[place], rows[place]
            history[number, :own] = request.history
            weights[number, :own] = 1.0 if request.weights is None else request.weights
        if with_past:
            there = np.arange(pooled.shape[1]) < np.array(counts)[with_past, None]
            pooled[there] = self.item_store.pooled(np.concatenate([requests[place].candidates for place in with_past]))
        cosines = pooled @ history.transpose(0, 2, 1)
        shares = history_shares(cosines, weights)
        found = [(np.zeros((len(request.candidates), 0), np.float32),) * 2 for request in requests]
        for number, place in enumerate(with_past):
            part = np.s_[number, : counts[place], : rows[place]]
            found[place] = shares[part], cosines[part]
        return found

    def _features(self, requests: Sequence[ScoreRequest]) -> torch.Tensor:
        """As :meth:`features`, of the requests one after the other."""
        sizes = np.array([len(request.candidates) for request in requests], np.int64)
        owner = np.repeat(np.arange(len(requests)), sizes)
        out = np.zeros((len(owner), len(self.head.names)), np.float32)
        queries, asked = _asked(requests)
        self._words = None
        if queries:
            self._by_words(requests, queries, asked, out)
        contexts, topics = self._contexts(requests, queries, asked), self.head.linear_topics()
        with self.item_store.read(_joined([request.candidates for request in requests])) as items:
            for part in items:
                context_features(contexts, topics, part, owner, out, self.head.config.matched)
        return torch.from_numpy(out)

    def _contexts(
        self, requests: Sequence[ScoreRequest], queries: Sequence[EncodedQuery], asked: npt.NDArray[np.int64]
    ) -> Contexts:
        """What the items of each request are compared with, but for words."""
        nothing = np.zeros((0, self.item_store.dim), np.float32)
        past, weights, popularity = [nothing], [nothing[:, 0]], [nothing[:, 0]]
        for request in requests:
            past.append(nothing if request.history is None else request.history)
            rows, count = len(past[-1]), len(request.candidates)
            weights.append(np.ones(rows, np.float32) if request.weights is None else request.weights)
            popularity.append(np.zeros(count, np.float32) if request.popularity is None else request.popularity)
        return Contexts(
            np.concatenate([nothing, *(query.pooled[None] for query in queries)], dtype=np.float32),
            np.array([len(query.tokens) for query in queries], np.int64),
            asked,
            np.concatenate(past, dtype=np.float32),
            np.concatenate(weights, dtype=np.float32),
            np.cumsum([len(rows) for rows in past]),
            np.concatenate(popularity, dtype=np.float32),
        )

    def _by_words(
        self,
        requests: Sequence[ScoreRequest],
        queries: Sequence[EncodedQuery],
        asked: npt.NDArray[np.int64],
        out: Floats,
    ) -> None:
        """Fill in what the words of queries have in common with their candidates. A query is matched once with the same
        candidates, so that a query's personal shelves cost little more than its general one."""
        starts: dict[tuple[int, int], int] = {}
        numbers, slots, rows, total = list[int](), list[Slots](), list[Slots](), 0
        for request, number in zip(requests, asked.tolist(), strict=True):
            if number < 0:
                continue
            size, same = len(request.candidates), (number, id(request.candidates))
            if same not in starts:
                starts[same] = total
                total += size
                numbers.append(number)
                slots.append(request.candidates)
            rows.append(np.arange(starts[same], starts[same] + size))
        self._words = self._match(queries, numbers, slots)
        worded = np.repeat(asked >= 0, [len(request.candidates) for request in requests])
        out[worded, : self.head.config.matched] = self._words.features[_joined(rows)]

    def _match(self, queries: Sequence[EncodedQuery], numbers: Sequence[int], slots: Sequence[Slots]) -> _Words:
        """Match queries, given by their numbers, with the items of some slots each."""
        tokens, lengths = self._prepare(queries), np.array([len(query.tokens) for query in queries], np.int64)
        bits = np.array([query.trigrams for query in queries], np.uint64).reshape(-1, WORDS)
        if self._table is None:
            found = self._exact(tokens, lengths, bits, numbers, slots)
        else:
            owner = np.repeat(np.array(numbers, np.int64), [len(own) for own in slots])
            with self.item_store.read(_joined(slots)) as items:
                found = self._table.match(QueryBatch.of(tokens, lengths, bits), items, owner)
        return _Words(
            {id(query): number for number, query in enumerate(queries)},
            queries,
            _keys(numbers, slots),
            *found,
            tokens.weights.numpy(),
        )

    def _exact(
        self,
        queries: QueryTokens,
        lengths: npt.NDArray[np.int64],
        bits: TrigramBits,
        numbers: Sequence[int],
        slots: Sequence[Slots],
    ) -> PairsMatched:
        """The reference of :meth:`KernelTable.match`, a query at a time."""
        count, longest = self.head.config.matched, queries.weights.shape[1]
        features, pieces = [np.zeros((0, count), np.float32)], [np.zeros((0, longest), np.float32)]
        for number, own in zip(numbers, slots, strict=True):
            items, query = self.item_store.gather(own), queries.one(number, int(lengths[number]))
            matched = exact(query, items, self.head.config.kernels)
            trigrams = share(bits[number], items.trigrams.numpy().view(np.uint64))
            features.append(np.concatenate([matched.features.numpy(), trigrams], axis=1))
            added = (matched.best.T * query.weights).numpy()
            pieces.append(np.pad(added, ((0, 0), (0, longest - added.shape[1]))))
        return PairsMatched(np.concatenate(features), np.concatenate(pieces))

    def _prepare(self, queries: Sequence[EncodedQuery]) -> QueryTokens:
        """Queries ready to be matched, padded to the longest."""
        lengths = np.array([len(query.tokens) for query in queries], np.int64)
        there = np.arange(lengths.max(initial=0)) < lengths[:, None]
        states = np.zeros((*there.shape, self.item_store.dim), np.float32)
        ids = np.full(there.shape, NO_TOKEN, np.int16)
        if queries:
            states[there] = np.concatenate([query.tokens for query in queries])
            ids[there] = np.concatenate([query.ids for query in queries]).view(np.int16)
        return self.head.prepare(torch.from_numpy(states), torch.from_numpy(there), torch.from_numpy(ids))


def history_shares(cosines: Floats, weights: Floats) -> Floats:
    """What each past row adds to the mean of ``history_max`` and ``history_mean``, float32 [..., n, h].

    Parameters
    ----------
    cosines
        float32 [..., n, h]: the items' cosines to the rows.
    weights
        float32 [..., h], zero for a row that is no part of the past.

    Examples
    --------
    >>> history_shares(np.array([[0.5, 1.0]], np.float32), np.array([1.0, 0.25], np.float32)).round(3)
    array([[0.45, 0.1 ]], dtype=float32)
    """
    if not cosines.size:
        return cosines
    weight = weights[..., None, :]
    weighted = cosines * weight
    shares = weighted / np.maximum(weight.sum(-1, keepdims=True), 1e-6)
    best = np.where(weight > 0, weighted, -np.inf).argmax(-1)[..., None]
    np.put_along_axis(shares, best, np.take_along_axis(shares + weighted, best, -1), -1)
    halves: Floats = shares / 2
    return halves
