"""A uniform sample of all examples ever seen, for rehearsal.

Bottom-k: keeps the examples whose ids have the lowest hashes (Cohen and Kaplan 2007). Order and repetition change
nothing, and the samples of two histories can be merged. Pure; knows nothing of where the sample is stored.
"""

import hashlib
import heapq
from collections.abc import Iterable

from evaluator.attribution.example import LabelledExample

TOP = 1 << 128


def rank(id: str) -> int:
    """A pseudo-random number in 0..2^128 that is fixed for each id."""
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=16, person=b"rehearsal").digest(), "big")


class Reservoir:
    """The ``size`` examples of lowest rank.

    Parameters
    ----------
    examples, bound
        Earlier results of :meth:`get` and ``bound``, to go on from. Ranks from ``bound`` on were dropped before, so
        none of them is taken later. A larger size therefore changes nothing; otherwise new examples would be favoured.

    Examples
    --------
    >>> examples = [LabelledExample(id=str(ts), ts=ts, shopper="u", item_id="i", shelf_id="s", surface="", position=0,
    ...     intent="look") for ts in range(100)]
    >>> there, back = Reservoir(5), Reservoir(5)
    >>> changes = [there.update(one) for one in examples]
    >>> for one in reversed(examples + examples): _ = back.update(one)
    >>> [one.id for one in there.get()], there.get() == back.get(), any(changes[-30:])
    (['0', '68', '75', '79', '99'], True, True)
    """

    def __init__(self, size: int, examples: Iterable[LabelledExample] = (), bound: int = TOP) -> None:
        self.size, self.bound = size, bound
        self._kept: dict[str, LabelledExample] = {}
        self._highest: list[tuple[int, str]] = []
        for example in examples:
            self.update(example)

    def update(self, example: LabelledExample) -> bool:
        """Take an example in; returns whether the sample changed."""
        place = rank(example.id)
        if place >= self.bound or example.id in self._kept:
            return False
        self._kept[example.id] = example
        heapq.heappush(self._highest, (-place, example.id))
        if len(self._kept) > self.size:
            self._drop()
        return True

    def remove(self, examples: Iterable[LabelledExample]) -> None:
        """Take examples out; the sample stays uniform, of one that is smaller until new ones come.

        Examples
        --------
        >>> one = LabelledExample(id="1", ts=5, shopper="u", item_id="i", shelf_id="s", surface="", position=0,
        ...     intent="look")
        >>> reservoir = Reservoir(5, [one])
        >>> reservoir.remove([one])
        >>> reservoir.get()
        []
        """
        gone = {example.id for example in examples}
        self._kept = {id: example for id, example in self._kept.items() if id not in gone}
        self._highest = [(place, id) for place, id in self._highest if id not in gone]
        heapq.heapify(self._highest)

    def get(self) -> list[LabelledExample]:
        """The sample, the oldest first."""
        return sorted(self._kept.values(), key=lambda one: (one.ts, one.id))

    def _drop(self) -> None:
        place, id = heapq.heappop(self._highest)
        self.bound = min(self.bound, -place)
        del self._kept[id]
