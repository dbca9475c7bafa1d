"""Encoded items and queries: the encoder's output as values, and the compact bytes of items on the embeddings topic.

Knows shapes, number formats and the wire form; nothing of the model that made them.
"""

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.trigrams import WORDS, TrigramBits, trigrams  # noqa: F401 (the last one for the examples)

FORMAT = 5
_HEADER = struct.Struct("<2sBxHHH")
_MAGIC = b"LE"


class EncodedError(ValueError):
    """Bytes are no encoded item: they are cut short, of another format, or have invalid values."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedItem:
    """A catalogue item after its one BERT pass.

    Attributes
    ----------
    tokens
        int8 [n, T]: unit-norm token states in the items' space, quantised symmetrically; ``tokens * scales[:, None]``
        restores them.
    scales
        float16 [n]: one step size per token, above zero.
    pooled
        float16 [D]: unit-norm mean of all token states, as sentence-transformers pools.
    ids
        uint16 [n]: each token's word piece, as :func:`fold` numbers them.
    trigrams
        uint64 [8]: the whole text's trigrams, as :func:`models.trigrams.trigrams` gives them.

    Examples
    --------
    >>> item = EncodedItem.quantise(np.eye(2, 4, dtype=np.float32), np.zeros(4, np.float32), [7, 8], trigrams("tap"))
    >>> len(item.to_bytes()), EncodedItem.from_bytes(item.to_bytes()).ids.tolist()
    (98, [8, 9])
    >>> EncodedItem.from_bytes(item.to_bytes()[:-1])
    Traceback (most recent call last):
    ...
    models.encoded.EncodedError: 97 bytes, but 2 tokens of 4 dimensions and a mean of 4 take 98
    """

    tokens: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float16]
    pooled: npt.NDArray[np.float16]
    ids: npt.NDArray[np.uint16]
    trigrams: TrigramBits

    @classmethod
    def quantise(
        cls, tokens: npt.NDArray[np.float32], pooled: npt.NDArray[np.float32], ids: npt.ArrayLike, bits: TrigramBits
    ) -> "EncodedItem":
        """From float32 unit-norm token states [n, T] and pooled vector [D], the tokenizer's token ids [n], and the
        text's trigrams."""
        values, scales = quantise(tokens)
        return cls(values, scales.astype(np.float16), pooled.astype(np.float16), fold(ids), bits)

    def restored(self) -> npt.NDArray[np.float32]:
        """The token states as float32 [n, T], at most half a step from the encoded ones."""
        return self.tokens.astype(np.float32) * self.scales.astype(np.float32)[:, None]

    def to_bytes(self) -> bytes:
        """Little-endian: header, scales, pooled, ids, trigrams, tokens; ``74 + 4n + 2D + nT`` bytes.

        Raises
        ------
        EncodedError
            When there are non-finite numbers, as from a broken encoder.
        """
        _check(self.scales, self.pooled)
        count, width = self.tokens.shape
        numbers = self.scales.astype("<f2"), self.pooled.astype("<f2"), self.ids.astype("<u2")
        arrays = *numbers, self.trigrams.astype("<u8"), self.tokens
        header = _HEADER.pack(_MAGIC, FORMAT, count, width, len(self.pooled))
        return header + b"".join(array.tobytes() for array in arrays)

    @classmethod
    def from_bytes(cls, data: bytes) -> "EncodedItem":
        """Read what :meth:`to_bytes` wrote, without copying.

        Raises
        ------
        EncodedError
            When the bytes are cut short, too long, of another format, or hold non-finite numbers.
        """
        if len(data) < _HEADER.size:
            raise EncodedError(f"{len(data)} bytes are too few for an encoded item")
        magic, form, count, width, dim = _HEADER.unpack_from(data)
        if magic != _MAGIC or form != FORMAT:
            raise EncodedError(f"not an encoded item of format {FORMAT}: begins with {data[:3]!r}")
        size = _HEADER.size + 4 * count + 2 * dim + 8 * WORDS + count * width
        if len(data) != size:
            raise EncodedError(
                f"{len(data)} bytes, but {count} tokens of {width} dimensions and a mean of {dim} take {size}"
            )
        scales = np.frombuffer(data, "<f2", count, _HEADER.size)
        pooled = np.frombuffer(data, "<f2", dim, _HEADER.size + 2 * count)
        ids = np.frombuffer(data, "<u2", count, _HEADER.size + 2 * count + 2 * dim)
        bits = np.frombuffer(data, "<u8", WORDS, _HEADER.size + 4 * count + 2 * dim)
        tokens = np.frombuffer(data, np.int8, count * width, size - count * width).reshape(count, width)
        _check(scales, pooled)
        return cls(tokens, scales, pooled, ids, bits)


@dataclass(frozen=True, slots=True, eq=False)
class EncodedQuery:
    """A query after its one BERT pass: float32 unit-norm token states [q, D] and pooled vector [D], ids uint16 [q],
    trigrams uint64 [8]."""

    tokens: npt.NDArray[np.float32]
    pooled: npt.NDArray[np.float32]
    ids: npt.NDArray[np.uint16]
    trigrams: TrigramBits


def _check(scales: npt.NDArray[np.float16], pooled: npt.NDArray[np.float16]) -> None:
    if not (np.isfinite(scales).all() and (scales > 0).all() and np.isfinite(pooled).all()):
        raise EncodedError("scales must be finite and above zero, pooled values finite")


def fold(ids: npt.ArrayLike) -> npt.NDArray[np.uint16]:
    """A tokenizer's token ids as two-byte numbers from 1 on; 0 stands for no token.

    A vocabulary of more than 65,534 pieces is folded: two pieces may get the same number, so that about one exact match
    in thousands is false. 65,535 is never used: it stands for an absent token of a query.

    Examples
    --------
    >>> fold([0, 30521, 65534]).tolist()
    [1, 30522, 1]
    """
    return (np.asarray(ids, np.int64) % 65_534 + 1).astype(np.uint16)


def quantise(rows: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Symmetric int8 with one scale per row. Scales are rounded to float16, so that both sides use the same step.

    Examples
    --------
    >>> values, scales = quantise(np.array([[0.5, -1.0]], np.float32))
    >>> values.tolist(), float(scales[0] * 127) > 0.99
    ([[64, -127]], True)
    """
    peak = np.abs(rows).max(axis=1, initial=0.0)
    scales = np.maximum(peak / 127.0, 6e-5).astype(np.float16).astype(np.float32)
    values = np.clip(np.rint(rows / scales[:, None]), -127, 127).astype(np.int8)
    return values, scales
