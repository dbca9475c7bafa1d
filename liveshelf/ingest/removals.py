"""Deletes items: reads ``shop.items``, finds the items that a file no longer has, and sends their tombstones.

Pure functions decide what to delete. `streams.catalog.embedding.Origin` decides which record of an item is the last, as
in the workers. Knows nothing of files or of the command line.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple

from liveshelf.ingest.batch_producer import BatchProducer, BrokerError
from streams.catalog.embedding import Origin
from streams.clock import wall_ms
from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.events.decode import Deleted, decode_item
from streams.kafka.errors import KAFKA_ERRORS
from streams.kafka.topic_reader import contents
from streams.kafka.topics import Topics

ALLOWED = 0.2
"""The default of the share of the live items that a file may delete."""

Progress = Callable[[int, int | None], None]
"""Called with how much is done and the total, None if the total is not known."""


class ItemState(NamedTuple):
    """The state of an item on ``shop.items``.

    Attributes
    ----------
    last
        The place of its last record.
    live
        Whether that record has a value.
    holding
        The partitions whose last record of the item has a value, in order. There are several if producers hash keys
        differently.
    """

    last: Origin
    live: bool
    holding: tuple[int, ...]

    def tombstones(self, now_ms: int) -> Iterator[tuple[int, int]]:
        """The partition and timestamp (epoch ms) of each tombstone that deletes the item.

        Each partition that holds the item gets one, else the item would come back when Kafka drops the tombstone. Each
        is newer than all records of the item, even if a producer's clock is ahead.

        Examples
        --------
        >>> list(ItemState(Origin(1, 7, 5_000), True, (0, 1)).tombstones(4_000))
        [(0, 5001), (1, 5001)]
        """
        for partition in self.holding:
            yield partition, max(now_ms, self.last.timestamp_ms + 1)


def item_state(known: ItemState | None, origin: Origin, live: bool) -> ItemState:
    """The state of an item after one more of its records; records come in the order of each partition.

    Examples
    --------
    >>> before = item_state(None, Origin(1, 7, 5_000), True)
    >>> item_state(before, Origin(0, 3, 4_000), True)
    ItemState(last=Origin(partition=1, offset=7, timestamp_ms=5000), live=True, holding=(0, 1))
    >>> item_state(before, Origin(1, 8, 6_000), False)
    ItemState(last=Origin(partition=1, offset=8, timestamp_ms=6000), live=False, holding=())
    """
    others = {*known.holding} - {origin.partition} if known else set[int]()
    holding = tuple(sorted(others | {origin.partition} if live else others))
    last = origin.after(known.last if known else None)
    if known is not None and last is None:
        return ItemState(known.last, known.live, holding)
    return ItemState(last or origin, live, holding)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The ids to delete, in order, and the number of live items; or why nothing may be deleted."""

    gone: tuple[str, ...]
    live: int
    why_not: str = ""


def missing(item_states: Mapping[str, ItemState], kept: Collection[str], allowed: float = ALLOWED) -> Verdict:
    """Decide which live items to delete: those that are not in the whole file.

    Parameters
    ----------
    kept
        The ids of the file's items.
    allowed
        The largest share of the live items to delete, 0 to 1.

    Examples
    --------
    >>> known = {name: ItemState(Origin(0, n, n), True, (0,)) for n, name in enumerate("abcde")}
    >>> missing(known, {"a", "b", "c", "d", "new"})
    Verdict(gone=('e',), live=5, why_not='')
    >>> missing(known, {"a", "b", "c"}).why_not
    '2 of 5 live items (40 %) are not in the file, and 20 % may be deleted; --allow-deletes 0.4 allows it'
    >>> missing(known, set(), allowed=1).why_not
    'the file has no items'
    """
    live = [item_id for item_id, one in item_states.items() if one.live]
    gone = tuple(sorted(item_id for item_id in live if item_id not in kept))
    why_not = ""
    if not kept:
        why_not = "the file has no items"
    elif gone and len(gone) / len(live) > allowed:
        share = len(gone) / len(live)
        why_not = (
            f"{len(gone):,} of {len(live):,} live items ({100 * share:.4g} %) are not in the file, and "
            f"{100 * allowed:.4g} % may be deleted; --allow-deletes {ceil(100 * share) / 100:g} allows it"
        )
    return Verdict(gone, len(live), why_not)


def item_states(config: StreamsConfig, progress: Progress) -> dict[str, ItemState]:
    """The state of each item on ``shop.items``. Records whose key is not an item id are ignored, as in the workers.

    Raises
    ------
    kafka.errors.KafkaError
        When the broker is out of reach or refuses.
    """
    found: dict[str, ItemState] = {}
    with closing(contents(config, Topics(config.topics.prefix).items)) as messages:
        for count, message in enumerate(messages, 1):
            named = decode_item(message.key, None, config.events)
            if isinstance(named, Deleted):
                origin = Origin(message.partition, message.offset, message.timestamp)
                found[named.item_id] = item_state(found.get(named.item_id), origin, message.value is not None)
            if not count % 1_000:
                progress(count, None)
    return found


@dataclass(slots=True)
class Removal:
    """The result of deleting.

    Parameters
    ----------
    items
        The number of items whose tombstones were sent.
    failed
        Tombstones that were not delivered, by the error's name.
    error
        Why it ended before all were sent, else empty.
    """

    items: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    error: str = ""
    interrupted: bool = False

    @property
    def whole(self) -> bool:
        """Whether all requested items are deleted."""
        return not (self.failed or self.error or self.interrupted)

    def sentences(self, asked: int) -> Iterator[str]:
        """The result in sentences.

        Examples
        --------
        >>> list(Removal(items=3).sentences(3))
        ['3 items deleted.']
        >>> list(Removal(items=2, failed=Counter(NotAcknowledged=1)).sentences(3))
        ['2 of 3 items deleted, less what follows.', '1 tombstones were not delivered: NotAcknowledged']
        """
        of = "" if self.items == asked else f" of {asked:,}"
        yield f"{self.items:,}{of} items deleted{', less what follows' if self.failed else ''}."
        for name, count in self.failed.most_common():
            yield f"{count:,} tombstones were not delivered: {name}"
        if self.error:
            yield self.error


def delete(going: Mapping[str, ItemState], kafka: KafkaConfig, topics: TopicsConfig, progress: Progress) -> Removal:
    """Send the tombstones of these items; the result holds the errors."""
    done = Removal()
    producer: BatchProducer | None = None
    try:
        producer = BatchProducer(kafka, Topics(topics.prefix).items, topics.max_message_bytes)
        for item_id, one in going.items():
            for partition, timestamp_ms in one.tombstones(wall_ms()):
                producer.send(item_id.encode(), None, partition, timestamp_ms)
            done.items += 1
            progress(done.items, len(going))
    except KeyboardInterrupt:
        done.interrupted = True
    except (*KAFKA_ERRORS, BrokerError) as error:
        done.error = f"Kafka at {kafka.bootstrap_servers}: {type(error).__name__}: {error}"
    finally:
        if producer is not None:
            producer.close()
            done.failed = producer.failed
    return done
