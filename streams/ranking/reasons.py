"""The reason of a shelf's item: what it owes its place to, as a short text that a program can read.

It is ``KIND`` or ``KIND:PART:PART…``, each part escaped as the parts of Redis keys are, so a part may hold anything.
``docs/redis.md`` lists the kinds. Pure: knows contributions to scores, words and sources; not how they were made.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from models.words import Words
from streams.ranking.candidates import BITS, EXPLORED, source_names
from streams.redis.keys import escape, unescape

if TYPE_CHECKING:  # readers of reasons need no torch
    from models.late_interaction import Contributions

LONGEST_PART = 120
"""Bytes of an escaped part; a longer one is left out."""

_FOUND_BY_CONTENT = BITS["vector"] | BITS["lexical"]


@lru_cache(maxsize=10_000)
def reason(kind: str, *parts: str) -> str:
    """A reason; parts that are too long are left out.

    Examples
    --------
    >>> reason("matches", "garden", "hose"), reason("like", "a:1 <b>"), reason("like", "x" * 200), reason("trending")
    ('matches:garden:hose', 'like:a%3A1%20%3Cb%3E', 'like', 'trending')
    """
    short = [part for part in parts if len(part) <= LONGEST_PART]
    return ":".join((kind, *(escaped for part in short if 0 < len(escaped := escape(part)) <= LONGEST_PART)))


def read(text: str) -> tuple[str, tuple[str, ...]]:
    """The kind of a reason, and its parts.

    Examples
    --------
    >>> read("like:a%3A1"), read("vector+lexical")
    (('like', ('a:1',)), ('vector+lexical', ()))
    """
    kind, *parts = text.split(":")
    return kind, tuple(map(unescape, parts))


def of_search(masks: Sequence[int], words: Words, found: "Contributions") -> list[str]:
    """Of items found for a query, given the masks of their sources: the query's words that they match."""
    named = words.named(found.pieces, found.weights)
    told = {one: reason("matches", *(word.text for word in one)) for one in set(named) if one}
    return [
        told[one] if one and not mask & EXPLORED else of_sources(mask) for mask, one in zip(masks, named, strict=True)
    ]


def of_past(
    items: Sequence[str],
    masks: Sequence[int],
    past: Sequence[tuple[str, str]],
    found: "Contributions",
    together: Mapping[str, Iterable[str]],
) -> list[str]:
    """Of items that a shopper's past, or another item, brought: the part of the past that adds most to their score.

    Parameters
    ----------
    items, masks
        The ids of the items, and the masks of their sources.
    past
        A kind of reason and a part for each row of the history, such as ``("like", "i12")``.
    together
        Of some past items, the items that others acted on with them.
    """
    rows, alike = found.nearest()
    of_rows = [reason(kind, part) for kind, part in past]
    reasons = []
    for item, mask, row, near in zip(items, masks, rows.tolist(), alike.tolist(), strict=True):
        if mask & EXPLORED:
            reasons.append("explore")
        elif near and mask & _FOUND_BY_CONTENT:
            reasons.append("again" if past[row] == ("like", item) else of_rows[row])
        elif mask & BITS["together"]:
            anchor = next((one for one, others in together.items() if item in others), None)
            reasons.append("together" if anchor is None else reason("together", anchor))
        else:
            reasons.append(of_sources(mask))
    return reasons


@cache
def of_sources(mask: int) -> str:
    """Where nothing else is known: the sources that found the item.

    Examples
    --------
    >>> of_sources(BITS["vector"] | BITS["trending"]), of_sources(BITS["lexical"] | EXPLORED), of_sources(0)
    ('vector+trending', 'explore', 'new')
    """
    return "explore" if mask & EXPLORED else source_names(mask) or "new"
