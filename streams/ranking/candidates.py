"""Merges the candidates of several sources into one list, and keeps which source found each.

Pure: takes the slots that each source found and returns their union; knows nothing of how they were found. Also
counts, over many shelves, how many of the top items each source found.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from streams.config import CandidatesConfig

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
    return slots[np.sort(np.unique(slots, return_index=True)[1])]


def union(
    sources: Mapping[Source, NDArray[np.int64]],
    caps: CandidatesConfig,
    exclude: Collection[int] = (),
    total: int | None = None,
) -> Candidates:
    """Merge what the sources found: every source's best, then every source's second best, and so on.

    Parameters
    ----------
    sources
        For each source that was queried, the slots it found, best first.
    caps
        The maximum number of slots in all, and of each source.
    exclude
        Slots to leave out, such as the item that similar items are searched for.
    total
        The maximum number of slots in all, if not ``caps.total``.

    Returns
    -------
    Candidates
        At most ``total``. An item's mask names all its sources, not just the first one that found it.

    Raises
    ------
    AttributeError
        When there is no source of such a name.

    Examples
    --------
    >>> found = {"vector": np.array([4, 5, 6]), "trending": np.array([5, 9])}
    >>> merged = union(found, CandidatesConfig(total=4), exclude={6})
    >>> [(slot, source_names(mask)) for slot, mask in zip(merged.slots.tolist(), merged.sources.tolist())]
    [(4, 'vector'), (5, 'vector+trending'), (9, 'trending')]
    """
    found = [slots[: getattr(caps, source)] for source, slots in sources.items()]
    sizes = [len(slots) for slots in found]
    if not sum(sizes):
        return Candidates(np.zeros(0, np.int64), np.zeros(0, np.uint16))
    turns = np.argsort(np.concatenate([np.arange(size) for size in sizes]), kind="stable")
    slots = np.concatenate(found)[turns]
    bits = np.repeat(np.array([BITS[source] for source in sources], np.uint16), sizes)[turns]
    by_slot = np.argsort(slots, kind="stable")
    ordered = slots[by_slot]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    masks = np.bitwise_or.reduceat(bits[by_slot], starts)
    first = np.argsort(by_slot[starts])  # each slot at its first turn
    slots, masks = ordered[starts][first], masks[first]
    if len(exclude):
        kept = ~np.isin(slots, list(exclude))
        slots, masks = slots[kept], masks[kept]
    most = caps.total if total is None else total
    return Candidates(slots[:most], masks[:most])


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
