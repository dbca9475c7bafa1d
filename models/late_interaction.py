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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import normalize

from models import cpu
from models.encoded import EncodedQuery
from models.encoder import TOKEN_DIM, Precision
from models.intents import INTENTS
from models.item_store import Gathered, ItemStore
from models.kernels import Kernels, KernelTable, Matched, QueryTokens, exact, term_matches
from models.projection import orthogonal
from models.scorer import Floats, ScoreRequest
from models.trigrams import share
from models.weights import WeightsError

MATCH_FEATURES = ("maxsim", "weakest", "exact", "overlap", "rare")
TRIGRAM_FEATURES = ("trigrams", "trigrams_of_item")
CONTEXT_FEATURES = ("cosine", "history_max", "history_mean", "popularity", "has_query", "has_history", "length")
LONG_QUERY = 8.0
"""The number of content tokens of a query whose ``length`` feature is one."""


DROPOUT = 0.1
TOPICS = 16
"""Features of a query alone and of an item alone, for the learned part: some queries and items are clicked more."""

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
        named = dict(zip(self.names, features.unbind(-1), strict=True))
        query = self.config.maxsim * named["maxsim"] + (1 - self.config.maxsim) * named["cosine"]
        history = 0.5 * (named["history_max"] + named["history_mean"])
        # Without a query, only the history counts.
        weight = torch.where(named["has_query"] > 0, self.config.history, 1.0)
        return query + weight * history + self.config.popularity * named["popularity"]

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


@dataclass(frozen=True, slots=True)
class _Match:
    """A query matched with its candidates: features of words and topics [n, K + 39], cosines [n], pooled vectors."""

    features: torch.Tensor
    cosine: torch.Tensor
    pooled: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """What a query's pieces add to MaxSim of its candidates, [n, Q], and their weights, [Q]; of each slot the row."""

    query: EncodedQuery
    rows: dict[int, int]
    pieces: Floats
    weights: Floats


def _read(query: EncodedQuery, slots: npt.NDArray[np.int64], tokens: QueryTokens, matched: Matched) -> _Read:
    rows = {slot: row for row, slot in enumerate(slots.tolist())}
    return _Read(query, rows, (matched.best.T * tokens.weights).numpy(), tokens.weights.numpy())


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
        kernels = self.head.config.kernels
        self._no_query = torch.zeros(item_store.dim)
        self._read: dict[int, _Read] = {}
        self._table = None if precision == "float32" else KernelTable(kernels, int8="int8" in cpu.features())

    def over(self, item_store: ItemStore) -> "LateInteractionScorer":
        """The same scorer of other items, encoded by the same encoder."""
        other = copy.copy(self)
        other.item_store, other._read = item_store, {}
        return other

    @torch.inference_mode()
    def score(self, requests: Sequence[ScoreRequest]) -> list[Floats]:
        """Probabilities of the four intents, float32 [n, 4] per request."""
        if not requests:
            return []
        self._read = {}
        features = self._features(requests)
        sizes = [len(request.candidates) for request in requests]
        return [part.numpy() for part in self.head(features).softmax(-1).split(sizes)]

    @torch.inference_mode()
    def features(self, request: ScoreRequest) -> torch.Tensor:
        """The head's input for each candidate, float32 [n, F], columns as :attr:`HeadConfig.features`."""
        self._read = {}
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
        return term_matches(self._prepare(query), self.item_store.gather(candidates)).numpy()

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
            Contributions(*self._pieces(request), *past)
            for request, past in zip(requests, self._past(requests), strict=True)
        ]

    def _pieces(self, request: ScoreRequest) -> tuple[Floats, Floats]:
        """What the pieces of the query add to each candidate's MaxSim, [n, Q], and their weights."""
        query, slots = request.query, request.candidates
        if query is None or not len(query.tokens) or not len(slots):
            pieces = 0 if query is None else len(query.tokens)
            return np.zeros((len(slots), pieces), np.float32), np.zeros(pieces, np.float32)
        read = self._read.get(id(query))
        rows = [read.rows.get(slot, -1) for slot in slots.tolist()] if read and read.query is query else [-1]
        if read is None or min(rows, default=0) < 0:
            tokens = self._prepare(query)
            read = _read(query, slots, tokens, self._matched(tokens, self.item_store.gather(slots)))
            rows = list(range(len(slots)))
        return read.pieces[rows], read.weights

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

    def _matched(self, tokens: QueryTokens, items: Gathered) -> Matched:
        return self._table(tokens, items) if self._table else exact(tokens, items, self.head.config.kernels)

    def _prepare(self, query: EncodedQuery) -> QueryTokens:
        there = torch.ones(len(query.tokens), dtype=torch.bool)
        return self.head.prepare(torch.from_numpy(query.tokens), there, torch.from_numpy(query.ids.view(np.int16)))

    def _features(self, requests: Sequence[ScoreRequest]) -> torch.Tensor:
        """As :meth:`features`, of the requests one after the other. A query is matched once with the same candidates,
        so that a query's personal shelves cost little more than its general one."""
        out = torch.zeros(sum(len(request.candidates) for request in requests), len(self.head.names))
        parts = torch.split(out, [len(request.candidates) for request in requests])
        wordless = [
            not len(request.candidates) or request.query is None or not len(request.query.tokens)
            for request in requests
        ]
        pooled = iter(
            self._wordless(
                [pair for pair, none in zip(zip(requests, parts, strict=True), wordless, strict=True) if none]
            )
        )
        matches: dict[tuple[int, int], _Match] = {}
        for request, part, none in zip(requests, parts, wordless, strict=True):
            vectors = next(pooled) if none else self._by_words(request, part, matches)
            self._by_context(request, part, vectors)
        return out

    def _wordless(self, some: Sequence[tuple[ScoreRequest, torch.Tensor]]) -> Sequence[torch.Tensor]:
        """Fill in the topics of requests that have no words to compare; returns the items' vectors for each. Tokens,
        most of an item's bytes, are not copied."""
        if not some:
            return ()
        sizes = [len(part) for _, part in some]
        pooled = torch.from_numpy(self.item_store.pooled(np.concatenate([request.candidates for request, _ in some])))
        topics = self.head.topics(self._no_query, pooled)
        for (_, part), own in zip(some, torch.split(topics, sizes), strict=True):
            part[:, self.head.config.matched : -len(CONTEXT_FEATURES)] = own
        return torch.split(pooled, sizes)

    def _by_words(
        self, request: ScoreRequest, out: torch.Tensor, matches: dict[tuple[int, int], _Match]
    ) -> torch.Tensor:
        """Fill in what a query's words have in common with its candidates; returns these' vectors."""
        query = request.query
        assert query is not None
        same = id(query), id(request.candidates)
        if same not in matches:
            matches[same] = self._match(query, request.candidates)
        match = matches[same]
        context = out[:, -len(CONTEXT_FEATURES) :]
        out[:, : match.features.shape[1]] = match.features
        context[:, 0] = match.cosine
        context[:, 4] = 1.0
        context[:, 6] = len(query.tokens) / LONG_QUERY
        return match.pooled

    def _by_context(self, request: ScoreRequest, out: torch.Tensor, pooled: torch.Tensor) -> None:
        """Fill in what does not depend on the query's words."""
        context = out[:, -len(CONTEXT_FEATURES) :]
        if len(out) and request.history is not None and len(request.history):
            context[:, 1], context[:, 2] = _history(request.history, request.weights, pooled)
            context[:, 5] = 1.0
        if request.popularity is not None:
            context[:, 3] = torch.from_numpy(request.popularity)

    def _match(self, query: EncodedQuery, candidates: npt.NDArray[np.int64]) -> _Match:
        items = self.item_store.gather(candidates)
        tokens = self._prepare(query)
        matched = self._matched(tokens, items)
        self._read[id(query)] = _read(query, candidates, tokens, matched)
        trigrams = torch.from_numpy(share(query.trigrams, items.trigrams.numpy().view(np.uint64)))
        pooled = torch.from_numpy(query.pooled)
        found = torch.cat([matched.features, trigrams, self.head.topics(pooled, items.pooled)], dim=-1)
        return _Match(found, items.pooled @ pooled, items.pooled)


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


def _history(history: Floats, weights: Floats | None, pooled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Largest weighted cosine and weighted mean cosine of each item [n, D] to the history [h, D]."""
    weight = torch.ones(len(history)) if weights is None else torch.from_numpy(weights)
    cosine = pooled @ torch.from_numpy(history).T
    return (cosine * weight).amax(1), cosine @ weight / weight.sum().clamp_min(1e-6)
