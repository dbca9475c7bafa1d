"""Items that go: what stands on ``shop.items``, which of it a file no longer has, and the tombstones that delete it.

What is to go is decided by pure functions. Which of an item's records is its last is decided as the workers do it, by
`streams.catalog.embedding.Origin`. Knows nothing of files or of the command line.
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
"""The share of the live items that a file may delete, unless another is given."""

Progress = Callable[[int, int | None], None]
"""Takes how much is done and of how much, None where that is not known."""


class ItemState(NamedTuple):
    """How an item stands on ``shop.items``.

    Attributes
    ----------
    last
        Where its last record is.
    live
        Whether that has a value.
    holding
        The partitions whose last record of it has a value, in order. There are several where producers hash keys
        differently.
    """

    last: Origin
    live: bool
    holding: tuple[int, ...]

    def tombstones(self, now_ms: int) -> Iterator[tuple[int, int]]:
        """The partition and timestamp (epoch ms) of each tombstone that deletes the item.

        Each partition that holds the item gets one, else the item would be back once Kafka drops the tombstone. Each is
        newer than all records of the item, also where a producer's clock is ahead.

        Examples
        --------
        >>> list(ItemState(Origin(1, 7, 5_000), True, (0, 1)).tombstones(4_000))
        [(0, 5001), (1, 5001)]
        """
        for partition in self.holding:
            yield partition, max(now_ms, self.last.timestamp_ms + 1)


def item_state(known: ItemState | None, origin: Origin, live: bool) -> ItemState:
    """How an item stands after one more of its records, taken in the order of each partition.

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
    """What shall be deleted, in the order of the ids, of how many live items; or why nothing may be."""

    gone: tuple[str, ...]
    live: int
    why_not: str = ""


def missing(item_states: Mapping[str, ItemState], kept: Collection[str], allowed: float = ALLOWED) -> Verdict:
    """The live items that a whole file does not have.

    Parameters
    ----------
    kept
        The ids of the file's items.
    allowed
        The share of the live items that may go, 0 to 1.

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
    """How each item that has a record stands on ``shop.items``; records without an item's id as their key count for
    nothing, as with the workers.

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
    """What came of deleting.

    Parameters
    ----------
    items
        How many items' tombstones were handed over.
    failed
        Tombstones that the broker has not, by the error's name.
    error
        Why it ended before all were sent, or nothing.
    """

    items: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    error: str = ""
    interrupted: bool = False

    @property
    def whole(self) -> bool:
        """Whether every item is deleted that was to be."""
        return not (self.failed or self.error or self.interrupted)

    def sentences(self, asked: int) -> Iterator[str]:
        """What came of it, for people.

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
    """Send the tombstones of these items; errors are told in what is returned."""
    done = Removal()
    outbox: BatchProducer | None = None
    try:
        outbox = BatchProducer(kafka, Topics(topics.prefix).items, topics.max_message_bytes)
        for item_id, one in going.items():
            for partition, timestamp_ms in one.tombstones(wall_ms()):
                outbox.send(item_id.encode(), None, partition, timestamp_ms)
            done.items += 1
            progress(done.items, len(going))
    except KeyboardInterrupt:
        done.interrupted = True
    except (*KAFKA_ERRORS, BrokerError) as error:
        done.error = f"Kafka at {kafka.bootstrap_servers}: {type(error).__name__}: {error}"
    finally:
        if outbox is not None:
            outbox.close()
            done.failed = outbox.failed
    return done
