"""Merges the candidates of several sources into one list, and keeps which source found each.

Pure: takes the slots that each source found and returns their union; knows nothing of how they were found. Also
counts, over many shelves, how many of the top items each source found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from streams.config import CandidatesConfig
from streams.features.own import NOTHING, PLACE, keys_of

Slots = NDArray[np.int64]

Source = Literal["vector", "lexical", "together", "trending", "own", "linear", "week", "day", "new"]
SOURCES: tuple[Source, ...] = get_args(Source)
BITS: dict[str, int] = {source: 1 << place for place, source in enumerate(SOURCES)}
EXPLORED = 1 << len(SOURCES)
"""Not a source: the bit that the policy adds to an item placed by exploration."""

_NAMES = tuple(
    "+".join(name for place, name in enumerate((*SOURCES, "explore")) if mask >> place & 1)
    for mask in range(2 * EXPLORED)
)


def source_names(mask: int) -> str:
    """The names of a mask's sources; empty where no source found the item.

    Examples
    --------
    >>> source_names(BITS["vector"] | BITS["trending"]), source_names(BITS["lexical"] | EXPLORED)
    ('vector+trending', 'lexical+explore')
    """
    return _NAMES[mask]


@dataclass(frozen=True, slots=True)
class Candidates:
    """The candidates of a shelf: distinct slots (int64, [n]) and the mask of each one's sources (uint16, [n])."""

    slots: NDArray[np.int64]
    sources: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.slots)

    def keep(self, mask: NDArray[np.bool_]) -> "Candidates":
        """The candidates for which the mask, [n], is true."""
        return Candidates(self.slots[mask], self.sources[mask])

    def filled(self, slots: NDArray[np.int64], total: int) -> "Candidates":
        """The candidates and, without a source, the first of some distinct slots that are none yet, up to a total.

        Examples
        --------
        >>> Candidates(np.array([4, 5]), np.array([1, 2], np.uint16)).filled(np.array([5, 7, 8]), 3).slots.tolist()
        [4, 5, 7]
        """
        more = slots[~np.isin(slots, self.slots)][: max(0, total - len(self))]
        return Candidates(np.concatenate([self.slots, more]), np.pad(self.sources, (0, len(more))))


def distinct(slots: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each slot once, in the order of first places.

    Examples
    --------
    >>> distinct(np.array([7, 4, 7, 5])).tolist()
    [7, 4, 5]
    """
    return np.fromiter(dict.fromkeys(slots.tolist()), np.int64)  # for some hundreds faster than sorting


def unions(
    shelves: Sequence[Mapping[Source, Slots]],
    caps: CandidatesConfig,
    exclude: Sequence[Slots] | None = None,
    total: int | None = None,
) -> list[Candidates]:
    """Merge what the sources found for each shelf: every source's best, then every source's second best, and so on.

    Parameters
    ----------
    shelves
        For each source that was queried, the slots it found, best first.
    caps
        The maximum number of slots in all, and of each source.
    exclude
        Of each shelf slots to leave out, such as the item that similar items are searched for.
    total
        The maximum number of slots of a shelf, if not ``caps.total``.

    Returns
    -------
    list of Candidates
        At most ``total`` each. An item's mask names all its sources, not just the first one that found it.

    Raises
    ------
    AttributeError
        When there is no source of such a name.

    Examples
    --------
    >>> found = {"vector": np.array([4, 5, 6]), "trending": np.array([5, 9])}
    >>> [merged] = unions([found], CandidatesConfig(total=4), exclude=[np.array([6])])
    >>> [(slot, source_names(mask)) for slot, mask in zip(merged.slots.tolist(), merged.sources.tolist())]
    [(4, 'vector'), (5, 'vector+trending'), (9, 'trending')]
    """
    parts = [slots[: getattr(caps, source)] for sources in shelves for source, slots in sources.items()]
    sizes = np.array([len(slots) for slots in parts], np.int64)
    named = [len(sources) for sources in shelves]
    numbers = np.arange(len(shelves))
    bits = np.array([BITS[source] for sources in shelves for source in sources], np.uint16)
    # A slot's turn: its place in its source, then the source's place among the shelf's.
    turns = (np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)) * len(SOURCES)
    turns += np.repeat(np.array([place for count in named for place in range(count)], np.int64), sizes)
    keys = keys_of(np.repeat(np.repeat(numbers, named), sizes), np.concatenate([NOTHING, *parts]))
    masks = np.repeat(bits, sizes)
    if exclude is not None:
        of = np.repeat(numbers, [len(some) for some in exclude])
        kept = ~np.isin(keys, keys_of(of, np.concatenate([NOTHING, *exclude])))
        keys, turns, masks = keys[kept], turns[kept], masks[kept]
    if not len(keys):
        return [Candidates(NOTHING, np.zeros(0, np.uint16)) for _ in shelves]
    by_key = np.argsort(keys)
    ordered = keys[by_key]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    masks = np.bitwise_or.reduceat(masks[by_key], starts)
    keys = ordered[starts]
    first = np.argsort(keys >> 32 << 32 | np.minimum.reduceat(turns[by_key], starts))  # each slot at its first turn
    slots, masks = keys[first] & PLACE, masks[first]
    ends = np.searchsorted(keys >> 32, np.arange(len(shelves) + 1)).tolist()
    most = caps.total if total is None else total
    return [
        Candidates(slots[begin : min(end, begin + most)], masks[begin : min(end, begin + most)])
        for begin, end in pairwise(ends)
    ]


@dataclass(frozen=True, slots=True)
class SourceShare:
    """The share of counted items that a source found, and the share that only it found."""

    brought: float
    alone: float


class SourceRecall:
    """The share of the top items that each source found.

    Examples
    --------
    >>> recall = SourceRecall()
    >>> recall.update(np.array([BITS["vector"], BITS["vector"] | BITS["lexical"]], dtype=np.uint16))
    >>> recall.get()["vector"]
    SourceShare(brought=1.0, alone=0.5)
    >>> recall.get()["lexical"]
    SourceShare(brought=0.5, alone=0.0)
    """

    def __init__(self) -> None:
        self._counts = np.zeros(EXPLORED, dtype=np.int64)

    def update(self, masks: NDArray[np.uint16]) -> None:
        """Count the top items of one shelf, given the masks of their sources."""
        self._counts += np.bincount(masks & (EXPLORED - 1), minlength=EXPLORED)

    @property
    def n(self) -> int:
        """Items counted so far."""
        return int(self._counts.sum())

    def get(self) -> dict[Source, SourceShare]:
        """The share of each source; all zero before the first item."""
        n = max(self.n, 1)
        masks = np.arange(EXPLORED)
        return {
            source: SourceShare(
                brought=float(self._counts[masks & BITS[source] > 0].sum() / n),
                alone=float(self._counts[BITS[source]] / n),
            )
            for source in SOURCES
        }
