"""Which trigrams of letters a text has, as 512 bits: what words share where word pieces do not, such as misspellings,
plurals, and numbers glued to their units.

Knows texts and bits; nothing of models. A trigram's bit is its CRC-32 modulo 512, the same on every machine.
"""

import zlib

import numpy as np
import numpy.typing as npt

BITS = 512
WORDS = BITS // 64

Letters = npt.NDArray[np.uint64]


def trigrams(text: str) -> Letters:
    """Bits uint64 [8] of all trigrams of the text's words in lower case, a space before and after each word.

    Examples
    --------
    >>> alike = trigrams("chritstmas lights"), trigrams("Christmas light")
    >>> [f"{value:.2f}" for value in share(*alike)]
    ['0.69', '0.79']
    """
    found = np.zeros(BITS, np.uint8)
    found[[zlib.crc32(gram) % BITS for gram in _trigrams(text)]] = 1
    return np.packbits(found, bitorder="little").view("<u8").astype(np.uint64)


def share(query: Letters, items: Letters) -> npt.NDArray[np.float32]:
    """What share of a query's bits ([8], or [n, 8] to go in pairs) each item ([n, 8], or [8]) has, and what share of
    the item's bits the query has, float32 [n, 2] or [2]; zero where there are none."""
    both = np.bitwise_count(items & query).sum(-1, dtype=np.float32)
    own = np.bitwise_count(query).sum(-1, dtype=np.float32)
    theirs = np.bitwise_count(items).sum(-1, dtype=np.float32)
    found: npt.NDArray[np.float32] = both[..., None] / np.stack(np.broadcast_arrays(own, theirs), -1).clip(1)
    return found


def _trigrams(text: str) -> set[bytes]:
    padded = [f" {word} " for word in text.lower().split()]
    return {word[at : at + 3].encode("utf-8", "replace") for word in padded for at in range(len(word) - 2)}
