"""Writing the examples of ``liveshelf.examples`` to disk, so that no committed one is lost by a kill at any point.

Knows the folder; nothing of Kafka. Examples wait in a buffer, without repetitions, until they fill a file. An offset is
safe to commit once all examples before it are on disk. Examples that were written but not committed come again; they
are recognised by id and ignored.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from cachetools import FIFOCache

from evaluator.attribution.example import LabelledExample
from evaluator.retraining.config import ExamplesConfig
from evaluator.retraining.store.archive import Archive, rechunked
from evaluator.retraining.store.columns import rows, table, whole
from evaluator.retraining.store.folder import Folder
from evaluator.retraining.store.reservoir import Reservoir
from evaluator.retraining.store.segment import Segment, expired, following, mergeable, not_replaced
from models.training.examples import ExamplesError

FUTURE_MS = 3_600_000
"""An example that is further in the future than this is refused."""

FORGOTTEN_KEPT = 1_000_000
"""The most shoppers that were forgotten and whose late examples are refused, the last ones."""

FIXED_BYTES = 600
"""Memory of an example, without its query and history."""

RANKED_BYTES = 300
"""Memory of what an item was ranked by, without its values."""


class Buffer:
    """Holds examples, which come in any order and some twice, until they are written.

    Examples
    --------
    >>> from msgspec.structs import replace
    >>> one = LabelledExample(id="1", ts=5, shopper="u", item_id="i", shelf_id="s", surface="", position=0,
    ...     intent="look")
    >>> buffer = Buffer(ExamplesConfig(flush_rows=2, span_s=1))
    >>> for offset, example in enumerate([one, one, None, replace(one, id="2", ts=1_700)]):
    ...     taken = buffer.update(0, offset, example, now=2_000)
    >>> buffer.due(2_000), buffer.offsets, {start: list(some) for start, some in buffer.spans().items()}
    (True, {0: 4}, {0: ['1'], 1000: ['2']})
    """

    def __init__(self, config: ExamplesConfig) -> None:
        self.config = config
        self.examples: dict[str, LabelledExample] = {}
        self.offsets: dict[int, int] = {}
        self._bytes = 0
        self._since: int | None = None

    def update(self, partition: int, offset: int, example: LabelledExample | None, now: int) -> bool:
        """Take the record at an offset in; None stands for a record that is no example.

        Returns
        -------
        bool
            False for an impossible example: from the future, or with a position out of bounds.
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
            self._bytes += 0 if example.ranked is None else RANKED_BYTES + len(example.ranked.values)
        return True

    def due(self, now: int) -> bool:
        """Whether it is time to write."""
        config = self.config
        if len(self.examples) >= config.flush_rows or self._bytes >= config.flush_bytes:
            return True
        return self._since is not None and now - self._since >= config.flush_s * 1000

    def spans(self) -> Mapping[int, Mapping[str, LabelledExample]]:
        """Examples by id, by the beginning of the span of event time in which they were seen."""
        span, found = self.config.span_s * 1000, defaultdict[int, dict[str, LabelledExample]](dict)
        for id, example in self.examples.items():
            found[example.ts // span * span][id] = example
        return dict(sorted(found.items()))

    def remove(self, unwanted: Callable[[LabelledExample], bool]) -> int:
        """Drop the examples that a function is true of; returns how many."""
        kept = {id: example for id, example in self.examples.items() if not unwanted(example)}
        removed, self.examples = len(self.examples) - len(kept), kept
        return removed

    def clear(self) -> None:
        """Empty the buffer."""
        self.examples, self.offsets, self._bytes, self._since = {}, {}, 0, None


ROW_GROUP = 65_536
END = 1 << 62


class ExampleStore:
    """The only writer of a folder, as a context manager; leaving it writes nothing more.

    ``counts`` says how many examples were ``written``, were there already (``again``), were too ``old`` to be kept
    except for rehearsal, were ``refused``, or were those of shoppers that are ``forgotten``.

    Raises
    ------
    ExamplesError
        When another process writes there, or the folder's segments have another span.
    """

    def __init__(self, config: ExamplesConfig) -> None:
        self.config = config
        self.counts: Counter[str] = Counter()
        self._folder = Folder(Path(config.folder))
        self._archive = Archive(self._folder.path)
        self._buffer = Buffer(config)
        self._safe: dict[int, int] = {}
        self._forgotten: FIFOCache[str, int] = FIFOCache(FORGOTTEN_KEPT)
        with ExitStack() as stack:
            stack.enter_context(self._folder.writing())
            self._check_span()
            self._reservoir, self._saved = self._restored()
            self._closing = stack.pop_all()

    def __enter__(self) -> "ExampleStore":
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def update(self, records: Iterable[tuple[int, int, LabelledExample | None]], now: int) -> Mapping[int, int]:
        """Take records in, as partition, offset and example; None stands for a record that is no example.

        Returns
        -------
        dict of int to int
            The offset of the next record to read, by partition, that is safe to commit; unchanged where
            nothing was written. Revoked partitions stay in it.

        Raises
        ------
        OSError
            When writing fails; nothing is lost, and the next call tries again.
        """
        for partition, offset, example in records:
            forgotten = example is not None and self._is_forgotten(example)
            if forgotten:
                self.counts["forgotten"] += 1
            if not self._buffer.update(partition, offset, None if forgotten else example, now):
                self.counts["refused"] += 1
        if self._buffer.due(now):
            self.flush(now)
        return dict(self._safe)

    def flush(self, now: int) -> Mapping[int, int]:
        """Write the whole buffer; returns what is then safe to commit."""
        spans = self._buffer.spans()
        for start, some in spans.items():
            self._write(start, some, now)
        changes = [self._reservoir.update(one) for one in self._buffer.examples.values()]
        if any(changes) or not self._saved:
            self._saved = False
            self._folder.write_rehearsal(table(self._reservoir.get()), self._reservoir.bound)
            self._saved = True
        self._safe |= self._buffer.offsets
        self._buffer.clear()
        self._tidy(now, spans.keys())
        return dict(self._safe)

    def forget(self, shoppers: Mapping[str, int]) -> int:
        """Remove the examples of shoppers that were seen up to a time (epoch ms), and refuse those that come later.

        Segments are rewritten one by one: a killed process leaves the remaining ones, and is to be told again.

        Returns
        -------
        int
            How many examples were removed.

        Raises
        ------
        OSError
            When writing fails; a repetition goes on.
        """
        for shopper, at in shoppers.items():
            self._forgotten[shopper] = max(at, self._forgotten.get(shopper, at))
        removed = self._buffer.remove(self._is_forgotten)
        names = pa.array(list(shoppers), pa.string())
        times = pa.array([self._forgotten[shopper] for shopper in shoppers], pa.int64())
        for one in not_replaced(self._folder.segments()):
            removed += self._rewrite(one, names, times)
        if gone := [one for one in self._reservoir.get() if self._is_forgotten(one)]:
            self._reservoir.remove(gone)
            self._saved = False
            self._folder.write_rehearsal(table(self._reservoir.get()), self._reservoir.bound)
            self._saved = True
        self.counts["forgotten"] += removed
        return removed

    def _rewrite(self, segment: Segment, names: Any, times: Any) -> int:
        """Leave out of a segment what is forgotten; returns how much that was. Segments without it are not written."""
        with self._folder.open(segment) as file:
            if not pc.any(pc.is_in(file.read(["shopper"])["shopper"], value_set=names)).as_py():
                return 0
            kept = []
            for batch in file.iter_batches(ROW_GROUP):
                until = times.take(pc.index_in(batch["shopper"], value_set=names))
                gone = pc.fill_null(pc.less_equal(batch["ts"], until), False)
                kept.append(whole(pa.Table.from_batches([batch])).filter(pc.invert(gone)))
            removed = int(file.metadata.num_rows) - sum(map(len, kept))
        if not removed:
            return 0
        if any(map(len, kept)):
            self._folder.write(segment, kept)
        else:
            self._folder.remove([segment])
        return removed

    def _is_forgotten(self, example: LabelledExample) -> bool:
        at = self._forgotten.get(example.shopper)
        return at is not None and example.ts <= at

    def waiting(self, since: int) -> int:
        """How many examples of the buffer were seen from ``since`` on (epoch ms)."""
        return sum(one.ts >= since for one in self._buffer.examples.values())

    def _write(self, start: int, some: Mapping[str, LabelledExample], now: int) -> None:
        span = self.config.span_s * 1000
        if start + span <= now - self.config.keep_s * 1000:
            self.counts["old"] += len(some)
            return
        known = self._archive.known(list(some), start)
        new = [one for id, one in some.items() if id not in known]
        if new:
            self._folder.write(following(self._folder.segments(start), start, span), [table(new)])
        self.counts.update(written=len(new), again=len(known))

    def _tidy(self, now: int, busy: Set[int]) -> None:
        """Merge one span's files, and remove segments that are too old or too many."""
        if parts := mergeable(not_replaced(self._folder.segments()), now, busy):
            whole = Segment(parts[0].start, parts[0].span, parts[0].first, parts[-1].last)
            self._folder.write(whole, rechunked(self._archive.span(whole.start), ROW_GROUP))
            self._folder.remove(parts)
        keep_ms = self.config.keep_s * 1000
        self._folder.remove(expired(self._folder.segments(), now, keep_ms, self.config.keep_bytes))

    def _check_span(self) -> None:
        for one in self._folder.segments():
            if one.span != self.config.span_s * 1000:
                raise ExamplesError(
                    f"{self.config.folder} holds segments of {one.span // 1000:,} s, not {self.config.span_s:,} s: set "
                    "span_s to that, or give another folder"
                )

    def _restored(self) -> tuple[Reservoir, bool]:
        """The sample, and whether it is saved. Where no sample is saved it is drawn from the segments."""
        found = self._folder.rehearsal()
        if found is None:
            return Reservoir(self.config.rehearsal, self._archive.read(0, END)), False
        return Reservoir(self.config.rehearsal, rows(found[0]), found[1]), True
