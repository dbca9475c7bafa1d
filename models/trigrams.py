"""The character trigrams of a text, as 512 bits. Similar words share trigrams where they share no word pieces, such as
misspellings, plurals, and numbers joined to their units. Of writing without spaces it is pairs of characters.

Knows texts and bits; nothing of models. A trigram's bit is its CRC-32 modulo 512, the same on every machine.
"""

import zlib

import numpy as np
import numpy.typing as npt

from models.terms import fold, grams, spaced

BITS = 512
WORDS = BITS // 64

TrigramBits = npt.NDArray[np.uint64]


def trigrams(text: str) -> TrigramBits:
    """Bits uint64 [8] of all trigrams of the folded text's words, a space before and after each word; and of
    :func:`models.terms.grams`.

    Examples
    --------
    >>> alike = trigrams("chritstmas lights"), trigrams("Christmas light")
    >>> [f"{value:.2f}" for value in share(*alike)]
    ['0.69', '0.79']
    >>> float(share(trigrams("牛奶"), trigrams("兒童牛奶 1L"))[0])
    1.0
    """
    found = np.zeros(BITS, np.uint8)
    found[[zlib.crc32(gram) % BITS for gram in _trigrams(text)]] = 1
    return np.packbits(found, bitorder="little").view("<u8").astype(np.uint64)


def share(query: TrigramBits, items: TrigramBits) -> npt.NDArray[np.float32]:
    """The share of a query's bits ([8], or [n, 8] for pairs) that each item ([n, 8], or [8]) has, and the share of the
    item's bits that the query has, float32 [n, 2] or [2]; zero if there are no bits."""
    both = np.bitwise_count(items & query).sum(-1, dtype=np.float32)
    own = np.bitwise_count(query).sum(-1, dtype=np.float32)
    theirs = np.bitwise_count(items).sum(-1, dtype=np.float32)
    found: npt.NDArray[np.float32] = both[..., None] / np.stack(np.broadcast_arrays(own, theirs), -1).clip(1)
    return found


def _trigrams(text: str) -> set[bytes]:
    folded = fold(text)
    padded = [f" {word} " for word in spaced(folded).split()]
    found = {word[at : at + 3] for word in padded for at in range(len(word) - 2)}
    return {gram.encode("utf-8", "replace") for gram in found.union(grams(folded))}
