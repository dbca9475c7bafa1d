"""Negatives for contexts that have too few: other contexts' items of a batch, and hard ones mined from the catalogue.

Knows texts, vectors and examples; nothing of files or streams. Without negatives a scorer learns that everything is
bought. Random ones are told apart by any word; hard ones look right and are not, so they teach most, and the hardest
are often right after all: nobody was shown them, so nobody took them. Hence the guard (:class:`Guard`).
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
"""From this level on an item was wanted at all."""

DEPTH = 50
"""Candidates that each source brings for a context."""

BLOCK = 256
"""Contexts compared with the whole catalogue at once."""

K1, B = 1.2, 0.75

Ranks = npt.NDArray[np.int64]
Score = Callable[[Sequence[Example]], Floats]
"""Expected levels [n] of examples, as the scorer now sees them, in their order."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Keeps out what may well be right: false negatives.

    Always, guard or not, an item that was judged, shown or acted upon in the context is none of its negatives, nor is
    one whose text is the same but for case and spaces: that is known, not guessed. Beyond that, in order:

    Attributes
    ----------
    skip
        So many of each source's best unknown candidates are passed over: the top of a good ranking is where unknown
        positives are densest.
    similarity
        A candidate whose pooled vector has a higher cosine than this with any positive of the context is out: a
        variant of what was bought would have been bought as well.
    margin
        A candidate whose score is above ``(1 - margin)`` of the lowest positive's is out: positive-aware mining
        (Moreira et al. 2024, "NV-Retriever", there TopK-PercPos at 95 %). It leans on the scorer as it is, and so
        errs where that does; a negative that it already mistakes for a positive is lost with the false ones.
    """

    skip: int = 2
    similarity: float = 0.9
    margin: float = 0.05


class Miner:
    """Finds negatives in a catalogue.

    Parameters
    ----------
    encoder
        Reads queries, and cuts texts to word pieces.
    items
        Items as they are encoded; all texts of the examples' items and histories among them.
    pool
        Texts that may become negatives; by default all of them.

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
        self._alike: dict[str, list[int]] = {}
        for slot, text in enumerate(self.texts):
            self._alike.setdefault(plain(text), []).append(slot)
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
        """Fill every context that has a positive up to ``count`` negatives, as far as there are any.

        Parameters
        ----------
        guard
            None takes every candidate that is not known.
        score
            What the guard's margin goes by; without it there is no margin.

        Returns
        -------
        list
            The examples by context, each context's own first, then its negatives, hardest first.
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

    def _sources(self, groups: Sequence[list[Example]], how: Mine, chance: Random) -> Iterator[Ranks]:
        """Slots [contexts, depth] of each source, best first, filled up with -1."""
        most = max(len(group) for group in groups)
        depth = min(DEPTH + most, len(self.texts))
        if how == "random":
            yield np.array([chance.sample(range(len(self.texts)), depth) for _ in groups])
        if how in ("vector", "both"):
            yield _top(self._queries(groups) @ self.pooled.T, depth)
        if how in ("lexical", "both"):
            scores = self._lexical([group[0] for group in groups])
            ranks = _top(scores, depth)
            yield np.where(np.take_along_axis(scores, ranks, axis=1) > 0, ranks, -1)  # no word in common is no match

    def _allowed(self, group: list[Example], ranked: Sequence[Ranks], guard: Guard | None) -> Ranks:
        """Unknown candidates of all sources by turns, each once, without those too much like a positive."""
        known = [slot for one in group for slot in self._alike[plain(one.item)]]
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
        """A vector for each context [n, D]: the query's, or the mean of the history's."""
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
        """BM25 of every item [contexts, items] over the model's word pieces; a history counts by its newest item."""
        if self._bm25 is None:
            self._bm25 = self._index()
        rows = self.encoder.word_pieces([first.query.strip() or first.history[0] for first in firsts])
        asked = sparse.lil_array((len(rows), len(self._words)), dtype=np.float32)
        for row, pieces in enumerate(rows):
            for piece in set(pieces) & self._words.keys():
                asked[row, self._words[piece]] = 1
        scores: Floats = (asked.tocsr() @ self._bm25.T).toarray()
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
    """A context to train on that takes other contexts' items as negatives."""


class InBatch:
    """Gives each open context of a batch others' positives as negatives, at random but the same for the same batch.

    They cost no encoding: their items are in the batch already. As in mining, an item known in the context is none of
    its negatives. The rest of the guard is not needed: what somebody else wanted in another context is a good random
    item, and among random items false negatives are rare.

    Parameters
    ----------
    collate
        Makes the batch.
    count
        Negatives a context is filled up to.
    examples
        All there are, so that what is known of a context is known also where its list stands in several pieces.

    Examples
    --------
    >>> made = [Example(query=q, item=i, intent="buy") for q, i in (("hose", "Garden hose"), ("lamp", "Desk lamp"))]
    >>> batch = [Open(number, (one,)) for number, one in enumerate(made)]
    >>> [[one.item for one in context.examples] for context in InBatch(None, 3, made).filled(batch)]
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
        chance = Random(",".join(str(one.number) for one in batch))
        wanted = [example.item for one in batch for example in one.examples if example.level >= POSITIVE]
        pool = list(dict.fromkeys(wanted))
        return [self._filled(one, pool, chance) if isinstance(one, Open) else one for one in batch]

    def _filled(self, one: Context, pool: Sequence[str], chance: Random) -> Context:
        first, lacking = one.examples[0], _lacking(one.examples, self.count)
        others = [text for text in pool if plain(text) not in self.known[context(first)]]
        chosen = chance.sample(others, min(lacking, len(others)))
        return Context(one.number, (*one.examples, *(_negative(first, text) for text in chosen)))


def plain(text: str) -> str:
    """A text without what makes no difference.

    Examples
    --------
    >>> plain(" Garden  HOSE ")
    'garden hose'
    """
    return " ".join(text.lower().split())


def _lacking(group: Sequence[Example], count: int) -> int:
    """Negatives that a context is short of; none where it has no positive to set them against."""
    negatives = sum(one.level < POSITIVE for one in group)
    return max(0, count - negatives) if negatives < len(group) else 0


def _negative(like: Example, text: str) -> Example:
    return Example(
        query=like.query, history=like.history, asked=like.asked, weights=like.weights, item=text, intent="ignore"
    )


def _below_positives(
    groups: Sequence[list[Example]], found: Sequence[Ranks], margin: float, score: Score, texts: Sequence[str]
) -> list[Ranks]:
    """Candidates that the scorer puts clearly below their context's lowest positive."""
    positives = [[one for one in group if one.level >= POSITIVE] for group in groups]
    asked = [
        one
        for group, kept, slots in zip(groups, positives, found, strict=True)
        for one in (*kept, *(_negative(group[0], texts[slot]) for slot in slots))
    ]
    levels = score(asked)
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
