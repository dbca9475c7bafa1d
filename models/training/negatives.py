"""Negatives for contexts with too few: items of a batch's other contexts, and hard ones mined from the catalogue.

Knows texts, vectors and examples; nothing of files or streams. Without negatives a scorer learns that everything is
bought. Any word distinguishes a random negative from a positive. Hard negatives look like positives, so training gains
most from them; but the hardest are often unknown positives, which nobody took because they were never shown. Hence the
guard (:class:`Guard`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import sparse

from models.encoder import Encoder
from models.scorer import Floats
from models.training.batches import Batch, Collator, Context, FrozenItems, PairCollator
from models.training.examples import LEVELS, Example, by_context, context

Mine = Literal["random", "lexical", "vector", "both"]
MINES = get_args(Mine)

POSITIVE = LEVELS["look"]
"""The lowest level of a positive."""

DEPTH = 50
"""Candidates of each source for a context."""

BLOCK = 256
"""Contexts that are compared with the whole catalogue at once."""

K1, B = 1.2, 0.75

Ranks = npt.NDArray[np.int64]
Score = Callable[[Sequence[Example]], Floats]
"""Gives the scorer's expected levels [n] of examples, in their order."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Excludes probable false negatives.

    Even without a guard, an item with a label in the context is never one of its negatives, nor is an item whose text
    differs from it only in case and spaces. In addition, in this order:

    Attributes
    ----------
    skip
        The number of each source's best unknown candidates to leave out: unknown positives are most frequent at the top
        of a good ranking.
    similarity
        A candidate whose pooled vector has a higher cosine than this with any positive of the context is excluded: a
        variant of a bought item would have been bought as well.
    margin
        A candidate with a score above ``(1 - margin)`` of the lowest positive's is excluded: positive-aware mining
        (Moreira et al. 2024, "NV-Retriever", there TopK-PercPos at 95 %). It depends on the present scorer and its
        errors: a true negative that the scorer takes for a positive is excluded with the false ones.
    """

    skip: int = 2
    similarity: float = 0.9
    margin: float = 0.05


class Miner:
    """Finds negatives in a catalogue.

    Parameters
    ----------
    encoder
        Encodes queries, and splits texts into word pieces.
    items
        Encoded items; they must include all texts of the examples' items and histories.
    pool
        Texts that may become negatives; by default those of all items.

    Examples
    --------
    >>> encoder = Encoder()
    >>> texts = ["Garden hose 20 m", "Hose reel", "Hose connector", "Desk lamp", "Steel ladder"]
    >>> miner = Miner(encoder, FrozenItems(encoder, texts))
    >>> bought = [Example(query="garden hose", item="Garden hose 20 m", intent="buy")]
    >>> sorted(one.item for one in miner.mine(bought, 2, "lexical")[1:])
    ['Hose connector', 'Hose reel']
    """

    def __init__(self, encoder: Encoder, items: FrozenItems, pool: Iterable[str] | None = None) -> None:
        self.encoder = encoder
        self.texts = list(items.slots if pool is None else dict.fromkeys(pool))
        self.slots = {text: slot for slot, text in enumerate(self.texts)}
        self._same_text: dict[str, list[int]] = {}
        for slot, text in enumerate(self.texts):
            self._same_text.setdefault(plain(text), []).append(slot)
        self.pooled = items.item_store.pooled(np.array([items.slots[text] for text in self.texts])).astype(np.float32)
        self._words: dict[str, int] = {}
        self._bm25: sparse.csr_array | None = None

    def mine(
        self,
        examples: Sequence[Example],
        count: int,
        how: Mine,
        guard: Guard | None = None,
        score: Score | None = None,
        seed: int = 0,
    ) -> list[Example]:
        """Fill each context with a positive up to ``count`` negatives, as far as there are candidates.

        Parameters
        ----------
        guard
            None allows each candidate without a label in the context.
        score
            The scores for the guard's margin; without it there is no margin.

        Returns
        -------
        list
            The examples by context: first the context's own, then its negatives, hardest first.
        """
        groups = by_context(examples)
        wanting = [group for group in groups if _lacking(group, count) > 0]
        found = self._candidates(wanting, how, guard, seed)
        if guard is not None and score is not None:
            found = _below_positives(wanting, found, guard.margin, score, self.texts)
        chosen = {
            context(group[0]): [_negative(group[0], self.texts[slot]) for slot in slots[: _lacking(group, count)]]
            for group, slots in zip(wanting, found, strict=True)
        }
        return [one for group in groups for one in (*group, *chosen.get(context(group[0]), ()))]

    def _candidates(self, groups: Sequence[list[Example]], how: Mine, guard: Guard | None, seed: int) -> list[Ranks]:
        found: list[Ranks] = []
        for start in range(0, len(groups), BLOCK):
            some = groups[start : start + BLOCK]
            sources = list(self._sources(some, how, Random(f"{seed}:{start}")))
            for row, group in enumerate(some):
                found.append(self._allowed(group, [ranks[row] for ranks in sources], guard))
        return found

    def _sources(self, groups: Sequence[list[Example]], how: Mine, rng: Random) -> Iterator[Ranks]:
        """Slots [contexts, depth] of each source, best first, padded with -1."""
        most = max(len(group) for group in groups)
        depth = min(DEPTH + most, len(self.texts))
        if how == "random":
            yield np.array([rng.sample(range(len(self.texts)), depth) for _ in groups])
        if how in ("vector", "both"):
            yield _top(self._queries(groups) @ self.pooled.T, depth)
        if how in ("lexical", "both"):
            scores = self._lexical([group[0] for group in groups])
            ranks = _top(scores, depth)
            yield np.where(np.take_along_axis(scores, ranks, axis=1) > 0, ranks, -1)  # a match has a common word

    def _allowed(self, group: list[Example], ranked: Sequence[Ranks], guard: Guard | None) -> Ranks:
        """Unknown candidates, alternately of all sources, each once, without those too similar to a positive."""
        known = [slot for one in group for slot in self._same_text[plain(one.item)]]
        skip = 0 if guard is None else guard.skip
        lists = [slots[(slots >= 0) & ~np.isin(slots, known)][skip:] for slots in ranked]
        width = max(map(len, lists))
        padded = np.full((len(lists), width), -1)
        for row, slots in zip(padded, lists, strict=True):
            row[: len(slots)] = slots
        merged = padded.T.ravel()
        merged = merged[merged >= 0]
        merged = merged[np.sort(np.unique(merged, return_index=True)[1])]
        if guard is None:
            return merged
        positives = self.pooled[[self.slots[one.item] for one in group if one.level >= POSITIVE]]
        allowed: Ranks = merged[(self.pooled[merged] @ positives.T).max(1) <= guard.similarity]
        return allowed

    def _queries(self, groups: Sequence[list[Example]]) -> Floats:
        """A vector for each context [n, D]: the query's, or the history's mean."""
        firsts = [group[0] for group in groups]
        encoded = iter(self.encoder.encode_queries([first.query for first in firsts if first.query.strip()]))
        rows = [
            next(encoded).pooled
            if first.query.strip()
            else self.pooled[[self.slots[text] for text in first.history]].mean(0)
            for first in firsts
        ]
        return np.stack(rows)

    def _lexical(self, firsts: Sequence[Example]) -> Floats:
        """BM25 of every item [contexts, items] over the model's word pieces; a history's query is its newest item."""
        if self._bm25 is None:
            self._bm25 = self._index()
        rows = self.encoder.word_pieces([first.query.strip() or first.history[0] for first in firsts])
        queries = sparse.lil_array((len(rows), len(self._words)), dtype=np.float32)
        for row, pieces in enumerate(rows):
            for piece in set(pieces) & self._words.keys():
                queries[row, self._words[piece]] = 1
        scores: Floats = (queries.tocsr() @ self._bm25.T).toarray()
        return scores

    def _index(self) -> sparse.csr_array:
        texts = self.encoder.word_pieces(self.texts)
        rows = [row for row, pieces in enumerate(texts) for _ in pieces]
        columns = [self._words.setdefault(piece, len(self._words)) for pieces in texts for piece in pieces]
        shape = (len(texts), len(self._words))
        counts = sparse.coo_array((np.ones(len(rows), np.float32), (rows, columns)), shape).tocsr().tocoo()
        lengths = np.array([len(pieces) for pieces in texts], np.float32)
        holding = np.bincount(counts.col, minlength=shape[1])
        rarity = np.log1p((len(texts) - holding + 0.5) / (holding + 0.5)).astype(np.float32)
        norm = K1 * (1 - B + B * lengths / max(float(lengths.mean()), 1e-9))
        weights = rarity[counts.col] * counts.data * (K1 + 1) / (counts.data + norm[counts.row])
        return sparse.csr_array((weights.astype(np.float32), (counts.row, counts.col)), shape)


@dataclass(frozen=True, slots=True)
class Open(Context):
    """A context for training that gets items of other contexts as negatives."""


class InBatch:
    """Gives each open context of a batch positives of other contexts as negatives, at random but the same for the same
    batch.

    They need no encoding, because their items are in the batch already. As in mining, an item with a label in the
    context is never one of its negatives. The rest of the guard is not needed: positives of other contexts are like
    random items, among which false negatives are rare.

    Parameters
    ----------
    collate
        Makes the batch.
    count
        The number of negatives to which a context is filled up.
    examples
        All examples, so that all labels of a context are known even where its list is split into several pieces.

    Examples
    --------
    >>> pairs = [Example(query=q, item=i, intent="buy") for q, i in (("hose", "Garden hose"), ("lamp", "Desk lamp"))]
    >>> batch = [Open(number, (one,)) for number, one in enumerate(pairs)]
    >>> [[one.item for one in context.examples] for context in InBatch(None, 3, pairs).filled(batch)]
    [['Garden hose', 'Desk lamp'], ['Desk lamp', 'Garden hose']]
    """

    def __init__(self, collate: Collator | PairCollator | None, count: int, examples: Sequence[Example]) -> None:
        self.collate, self.count = collate, count
        self.known = {context(group[0]): {plain(one.item) for one in group} for group in by_context(examples)}

    def __call__(self, batch: Sequence[Context]) -> Batch:
        """As the collator's."""
        assert self.collate is not None
        return self.collate(self.filled(batch))

    def filled(self, batch: Sequence[Context]) -> list[Context]:
        """The batch with negatives; contexts that are not open stay as they are."""
        rng = Random(",".join(str(one.number) for one in batch))
        wanted = [example.item for one in batch for example in one.examples if example.level >= POSITIVE]
        pool = list(dict.fromkeys(wanted))
        return [self._filled(one, pool, rng) if isinstance(one, Open) else one for one in batch]

    def _filled(self, one: Context, pool: Sequence[str], rng: Random) -> Context:
        first, lacking = one.examples[0], _lacking(one.examples, self.count)
        others = [text for text in pool if plain(text) not in self.known[context(first)]]
        chosen = rng.sample(others, min(lacking, len(others)))
        return Context(one.number, (*one.examples, *(_negative(first, text) for text in chosen)))


def plain(text: str) -> str:
    """A text without differences in case and spaces.

    Examples
    --------
    >>> plain(" Garden  HOSE ")
    'garden hose'
    """
    return " ".join(text.lower().split())


def _lacking(group: Sequence[Example], count: int) -> int:
    """The number of negatives that a context lacks; zero where it has no positive."""
    negatives = sum(one.level < POSITIVE for one in group)
    return max(0, count - negatives) if negatives < len(group) else 0


def _negative(like: Example, text: str) -> Example:
    return Example(
        query=like.query, history=like.history, asked=like.asked, weights=like.weights, item=text, intent="ignore"
    )


def _below_positives(
    groups: Sequence[list[Example]], found: Sequence[Ranks], margin: float, score: Score, texts: Sequence[str]
) -> list[Ranks]:
    """Candidates with scores clearly below that of their context's lowest positive."""
    positives = [[one for one in group if one.level >= POSITIVE] for group in groups]
    scored = [
        one
        for group, kept, slots in zip(groups, positives, found, strict=True)
        for one in (*kept, *(_negative(group[0], texts[slot]) for slot in slots))
    ]
    levels = score(scored)
    below: list[Ranks] = []
    start = 0
    for kept, slots in zip(positives, found, strict=True):
        middle, end = start + len(kept), start + len(kept) + len(slots)
        below.append(slots[levels[middle:end] <= (1 - margin) * levels[start:middle].min()])
        start = end
    return below


def _top(scores: Floats, depth: int) -> Ranks:
    """Columns of the highest values of each row [n, depth], best first."""
    best = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    ranks: Ranks = np.take_along_axis(best, order, axis=1)
    return ranks
