"""Rows that are there twice, keys that have a newer row, and texts that say nearly the same.

Knows hashes and texts; nothing of files.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

TRIPLE = 3
"""Letters of a shingle."""

SIMILAR = 0.9
"""The Jaccard similarity of two texts' shingles from which on they say nearly the same."""

PERMUTATIONS = 64
BANDS = (8, 8)
"""Bands and rows of the hashes: two texts of similarity 0.9 meet in a band with probability 0.988."""

TELLING = re.compile(r"\d+(?:[.,]\d+)*|\b[^\W\d_]{1,2}\b")
"""Numbers and words of one or two letters: sizes, versions, counts."""


def repeats(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which rows equal an earlier one, by two independent hashes of each row.

    Examples
    --------
    >>> repeats(np.array([5, 7, 5, 5], np.uint64), np.array([1, 1, 1, 2], np.uint64)).tolist()
    [False, False, True, False]
    """
    order = np.lexsort((second, first))
    same = (first[order][1:] == first[order][:-1]) & (second[order][1:] == second[order][:-1])
    found = np.zeros(len(first), bool)
    found[order[1:][same]] = True
    return found


def superseded(keys: NDArray[np.uint64], times: NDArray[np.int64], asked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of the rows that are asked have a key of which a newer one is asked; of equal times the later row is newer.

    Examples
    --------
    >>> keys, times = np.array([1, 1, 2, 1], np.uint64), np.array([30, 20, 10, 90])
    >>> superseded(keys, times, np.array([True, True, True, False])).tolist()
    [False, True, False, False]
    """
    rows = np.flatnonzero(asked)
    order = rows[np.lexsort((rows, times[rows], keys[rows]))]
    found = np.zeros(len(keys), bool)
    found[order[:-1][keys[order[1:]] == keys[order[:-1]]]] = True
    return found


def shingles(text: str) -> frozenset[bytes]:
    """The letter triples of a text, its case aside.

    Examples
    --------
    >>> sorted(shingles("Abcd")), sorted(shingles("ab"))
    ([b'abc', b'bcd'], [b'ab'])
    """
    plain = text.casefold()
    last = max(1, len(plain) - TRIPLE + 1)
    return frozenset(plain[start : start + TRIPLE].encode() for start in range(last))


def near_pairs(texts: Sequence[str], seed: int = 0) -> list[tuple[int, int, float]]:
    """Pairs of different texts that say nearly the same: the places of both, the earlier first, and their similarity.

    MinHash and its bands find the candidates; the shingles themselves then decide. Texts with different numbers or
    different words of one or two letters are different things: a size, a version, a count.

    Examples
    --------
    >>> near_pairs(["RED RETROSPOT CHARLOTTE BAG", "BLUE DOG", "RED RETROSPOT CHARLOTTE BAG.", "BLUE DOG 2"])
    [(0, 2, 0.96...)]
    """
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=PERMUTATIONS, params=BANDS)
    sets = [shingles(text) for text in texts]
    telling = [tuple(sorted(TELLING.findall(text.casefold()))) for text in texts]
    found = []
    for place, sketch in enumerate(MinHash.generator(map(list, sets), num_perm=PERMUTATIONS, seed=seed + 1)):
        for other in index.query(sketch):
            similarity = len(sets[place] & sets[other]) / len(sets[place] | sets[other])
            if similarity >= SIMILAR and telling[place] == telling[other]:
                found.append((other, place, similarity))
        index.insert(place, sketch)
    return sorted(found)


def sampled(batches: Iterator[pl.Series], most: int) -> tuple[pl.Series, int]:
    """The different values of many batches, at most so many, drawn by their hash; and how many batches' values that is.

    Examples
    --------
    >>> values, seen = sampled(iter([pl.Series(["a", "b", "a"]), pl.Series(["b", "c", None])]), 10)
    >>> sorted(values), seen
    (['a', 'b', 'c'], 3)
    """
    kept = pl.DataFrame(schema={"text": pl.String, "hash": pl.UInt64})
    share = 1.0
    for batch in batches:
        new = pl.DataFrame({"text": batch.drop_nulls().unique()}).with_columns(hash=pl.col("text").hash())
        kept = pl.concat([kept, new.filter(pl.col("hash") < int(share * 2**64) if share < 1 else True)])
        kept = kept.unique("text")
        if kept.height > most:
            kept = kept.bottom_k(most, by="hash")
            share = float(kept.get_column("hash").max()) / 2**64  # type: ignore[arg-type]
    return kept.sort("hash").get_column("text"), round(kept.height / share)
