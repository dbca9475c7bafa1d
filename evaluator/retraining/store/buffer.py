"""Examples that are not on disk yet, each once, and how far their partitions were read. Pure."""

from collections import defaultdict
from collections.abc import Mapping

from evaluator.attribution.example import Labelled
from evaluator.retraining.store.config import ExamplesConfig

FUTURE_MS = 3_600_000
"""An example that says it was seen so much later than now is refused."""

FIXED_BYTES = 600
"""What an example takes in memory, but for its query and history."""


class Buffer:
    """Takes examples in any order, some twice, until they are written.

    Examples
    --------
    >>> from msgspec.structs import replace
    >>> one = Labelled(id="1", ts=5, shopper="u", item_id="i", shelf_id="s", surface="", position=0, intent="look")
    >>> buffer = Buffer(ExamplesConfig(flush_rows=2, span_s=1))
    >>> for offset, example in enumerate([one, one, None, replace(one, id="2", ts=1_700)]):
    ...     taken = buffer.update(0, offset, example, now=2_000)
    >>> buffer.due(2_000), buffer.offsets, {start: list(some) for start, some in buffer.spans().items()}
    (True, {0: 4}, {0: ['1'], 1000: ['2']})
    """

    def __init__(self, config: ExamplesConfig) -> None:
        self.config = config
        self.examples: dict[str, Labelled] = {}
        self.offsets: dict[int, int] = {}
        self._bytes = 0
        self._since: int | None = None

    def update(self, partition: int, offset: int, example: Labelled | None, now: int) -> bool:
        """Take the record at an offset in; None stands for one that is no example.

        Returns
        -------
        bool
            False for an example that cannot be: seen in the future, or with numbers out of bounds.
        """
        self.offsets[partition] = max(offset + 1, self.offsets.get(partition, 0))
        self._since = now if self._since is None else self._since
        if example is None:
            return True
        if not (0 <= example.ts <= now + FUTURE_MS and 0 <= example.position < 1 << 31):
            return False
        if example.id not in self.examples:
            self.examples[example.id] = example
            self._bytes += FIXED_BYTES + 4 * len(example.query) + sum(60 + 4 * len(one) for one in example.history)
        return True

    def due(self, now: int) -> bool:
        """Whether it is time to write."""
        config = self.config
        if len(self.examples) >= config.flush_rows or self._bytes >= config.flush_bytes:
            return True
        return self._since is not None and now - self._since >= config.flush_s * 1000

    def spans(self) -> Mapping[int, Mapping[str, Labelled]]:
        """Examples by id, by the beginning of the span of event time in which they were seen."""
        span, found = self.config.span_s * 1000, defaultdict[int, dict[str, Labelled]](dict)
        for id, example in self.examples.items():
            found[example.ts // span * span][id] = example
        return dict(sorted(found.items()))

    def clear(self) -> None:
        """Forget what was written."""
        self.examples, self.offsets, self._bytes, self._since = {}, {}, 0, None
