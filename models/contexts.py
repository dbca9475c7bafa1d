"""What items have in common with the contexts that they are candidates of, but for words: the features, compiled.

These are learned topics of a query and of an item, cosines to a query and to a weighted history, popularity, and what is
known of the context itself. Knows vectors and weights only.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.compiled import compiled, compiled_sums
from models.item_store import Stored, restore

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

CONTEXT_FEATURES = ("cosine", "history_max", "history_mean", "popularity", "has_query", "has_history", "length")
LONG_QUERY = 8.0
"""The number of content tokens of a query whose ``length`` feature is one."""

TOPICS = 16
"""Features of a query alone and of an item alone, for the learned part: some queries and items are clicked more."""


class Contexts(NamedTuple):
    """Contexts, n of them, and the popularity of their candidates.

    Attributes
    ----------
    queries, lengths
        float32 [q, D]: pooled vectors of the queries, and how many tokens each has, int64 [q].
    asked
        int64 [n]: the query of each context, -1 for none.
    history, weights
        float32 [h, D] and [h]: the rows of all histories, one history after the other, and how much each row counts.
    ends
        int64 [n + 1]: zero, then where each history ends.
    popularity
        float32 [m]: of each candidate of each context.
    """

    queries: Floats
    lengths: Numbers
    asked: Numbers
    history: Floats
    weights: Floats
    ends: Numbers
    popularity: Floats


class Topics(NamedTuple):
    """The linear maps that give queries and items their topics: float32 [TOPICS, D], and [TOPICS] that are added."""

    query: Floats
    query_bias: Floats
    item: Floats
    item_bias: Floats


@compiled
def context_features(
    contexts: Contexts, topics: Topics, items: Stored, owner: Numbers, out: Floats, first: int
) -> None:
    """Write the features that do not depend on words.

    Parameters
    ----------
    items, owner
        The candidates, and the context of each, int64 [m].
    out, first
        float32 [m, F]: from the column ``first`` on the query's topics, the item's, and :data:`CONTEXT_FEATURES`.
    """
    own = np.empty((len(contexts.queries) + 1, TOPICS), np.float32)
    own[-1] = topics.query_bias  # of no query
    for query in range(len(contexts.queries)):
        _products(contexts.queries[query], topics.query, own[query])
        own[query] += topics.query_bias
    # Contexts share many items: an item's topics stay in one of some places until another item takes it.
    kept = np.full(1 << 12, -1, np.int64)
    theirs = np.empty((len(kept), TOPICS), np.float32)
    vector, cosine = np.empty(items.pooled.shape[1], np.float32), np.empty(1, np.float32)
    cosines = np.empty(len(contexts.history), np.float32)
    for number in range(len(items.rows)):
        row, item = items.rows[number], items.places[number]
        found, context, place = out[row, first:], owner[row], item % len(kept)
        restore(items.pooled[item], vector)
        if kept[place] != item:
            _products(vector, topics.item, theirs[place])
            kept[place] = item
        query, rest = contexts.asked[context], 2 * TOPICS
        for topic in range(TOPICS):
            found[topic] = own[query, topic]
            found[TOPICS + topic] = theirs[place, topic] + topics.item_bias[topic]
        found[rest + 3] = contexts.popularity[row]
        if query >= 0:
            _products(vector, contexts.queries[query : query + 1], cosine)
            found[rest], found[rest + 4] = cosine[0], np.float32(1)
            found[rest + 6] = np.float32(contexts.lengths[query] / LONG_QUERY)
        start, end = contexts.ends[context], contexts.ends[context + 1]
        if start < end:
            _products(vector, contexts.history[start:end], cosines)
            best, total, weight = np.float32(-np.inf), np.float32(0), np.float32(0)
            for past in range(start, end):
                weighted = cosines[past - start] * contexts.weights[past]
                best = max(best, weighted)
                total += weighted
                weight += contexts.weights[past]
            found[rest + 1], found[rest + 2] = best, total / max(weight, np.float32(1e-6))
            found[rest + 5] = np.float32(1)


@compiled_sums
def _products(vector: Floats, rows: Floats, out: Floats) -> None:
    """Write the product of a vector [D] with each row [r, D] to [r]; four rows at once, which read the vector once."""
    first, dim = 0, len(vector)
    while first + 4 <= len(rows):
        a, b, c, d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for at in range(dim):
            value = vector[at]
            a += value * rows[first, at]
            b += value * rows[first + 1, at]
            c += value * rows[first + 2, at]
            d += value * rows[first + 3, at]
        out[first], out[first + 1], out[first + 2], out[first + 3] = a, b, c, d
        first += 4
    for row in range(first, len(rows)):
        total = np.float32(0)
        for at in range(dim):
            total += vector[at] * rows[row, at]
        out[row] = total
