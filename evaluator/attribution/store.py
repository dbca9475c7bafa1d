"""The evaluator's state in Redis, and the only door to it: partitions, rates by the minute, and through
``shelf_store`` what is known of shelves.

A batch is committed in one script, and only on top of the commit that it was computed from: whatever dies, and whoever
works on, each event counts once. Knows Redis; nothing of Kafka, nor of how events are joined.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec
from redis.asyncio import Redis

from evaluator.attribution import example
from evaluator.attribution.example import LabelledExample
from evaluator.attribution.partition import HOUR_MS, Commit, RateKey, Saved, checked_state, checked_track
from evaluator.attribution.shelf_store import ShelfStore
from evaluator.experiments.canary import STATE, checked_piece
from evaluator.metrics.rates import Slice, Tally
from streams.events.decode import UNDECODABLE
from streams.redis.lua import Scripts, replacing

log = logging.getLogger(__name__)

K = TypeVar("K")
T = TypeVar("T")

SUMS = ("impressions", "clicks", "purchases", "revenue", "revenue_squared")

_slice_encoder = msgspec.msgpack.Encoder()
_slice_decoder = msgspec.msgpack.Decoder(tuple[int, str, str, str, str, str])


class OutpacedError(RuntimeError):
    """Another evaluator has gone on with the partition: what is in memory is of no use; load again."""


class JoinStore:
    """Reads and writes of one evaluator group.

    Parameters
    ----------
    client
        A connected asyncio client, owned by the caller.
    group
        The evaluator's consumer group, part of every key.
    state_ttl_s, rates_ttl_s, shelf_ttl_s
        Lifetimes of a partition nobody works on, of an hour's rates, and of what is known of a shelf.

    Attributes
    ----------
    shelves
        What is known of shelves.
    """

    def __init__(self, client: "Redis", group: str, *, state_ttl_s: int, rates_ttl_s: int, shelf_ttl_s: int) -> None:
        self.client, self.group = client, group
        self.state_ttl_s, self.rates_ttl_s = state_ttl_s, rates_ttl_s
        self.shelves = ShelfStore(client, group, shelf_ttl_s)
        self._scripts = Scripts(client, "evaluator.attribution", ("commit", "load", "keep"))

    def key(self, partition: int, *rest: str) -> str:
        """A key of a partition; all of one partition share a hash slot."""
        return ":".join(("ls", f"{{{self.group}.{partition}}}", *rest))

    async def load(self, partition: int) -> Saved:
        """What was committed last."""
        keys = [self.key(partition, name) for name in ("state", "meta", "bots", "experiment")]
        states, meta, tracks, experiment = await self._hashes(keys)
        last = meta.pop(b"commit", b"")
        told = await self._readable(keys[1], meta, _total)
        states = await self._readable(keys[0], states, checked_state)
        tracks = await self._readable(keys[2], tracks, checked_track)
        experiment = await self._readable(keys[3], experiment, checked_piece)
        offset, watermark = told.pop("offset", -1), told.pop("watermark", 0)
        return Saved(offset, last, watermark, states, told, tracks, experiment)

    async def commit(self, partition: int, commit: Commit) -> None:
        """Write a batch in one step.

        Raises
        ------
        OutpacedError
            When what is in Redis is not what the batch was computed from.
        """
        hours: defaultdict[int, list[Any]] = defaultdict(list)
        for (minute, cut), sums in commit.rates.items():
            for number, name in enumerate(SUMS):
                if value := getattr(sums, name):
                    field = _slice_encoder.encode((minute, *cut, str(number)))
                    hours[minute // HOUR_MS] += [field, repr(float(value))]
        parts: list[list[Any]] = [
            [part for pair in commit.set_.items() for part in pair],
            commit.removed,
            [part for pair in commit.totals.items() for part in pair],
            [part for one in commit.examples for part in (one.id, example.encoder.encode(one))],
            [part for pair in commit.tracks.items() for part in pair],
            commit.forgotten,
            ["1"] if commit.anew else [],
            [part for pair in commit.experiment.items() for part in pair],
            *hours.values(),
        ]
        keys = [self.key(partition, name) for name in ("state", "meta", "examples", "bots", "experiment")]
        keys += [self.key(partition, "rates", str(hour)) for hour in hours]
        head = [commit.before, commit.after, commit.offset, commit.name, commit.watermark]
        words = [*head, self.state_ttl_s, self.rates_ttl_s, *(word for part in parts for word in (len(part), *part))]

        async def send(pipe: Any) -> list[Any]:
            self._scripts.add(pipe, "commit", keys, *words)
            return list(await pipe.execute())

        [done] = await self._scripts.run(send)
        if not done:
            raise OutpacedError(f"partition {partition} has gone on beyond offset {commit.before}")

    async def examples(self, partition: int) -> list[LabelledExample]:
        """Examples that are committed and not yet known to be in Kafka."""
        key = self.key(partition, "examples")
        [found] = await self._hashes([key])
        examples = await self._readable(key, found, lambda name, value: (name, example.decoder.decode(value)))
        return list(examples.values())

    async def sent(self, partition: int, examples: Iterable[LabelledExample]) -> None:
        """Forget examples: Kafka has them."""
        await cast(Any, self.client.hdel(self.key(partition, "examples"), *(one.id for one in examples)))

    async def rates(self, partition: int, hours: Iterable[int]) -> dict[RateKey, Tally]:
        """Sums by minute and slice of some hours (since the epoch)."""
        keys = [self.key(partition, "rates", str(hour)) for hour in hours]
        found: defaultdict[RateKey, Tally] = defaultdict(Tally)
        for key, fields in zip(keys, await self._hashes(keys), strict=True):
            for (minute, cut, what), value in (await self._readable(key, fields, _sum)).items():
                sums = found[minute, cut]
                setattr(sums, what, type(getattr(sums, what))(value))
        return dict(found)

    async def experiments(self, partitions: Iterable[int]) -> list[bytes]:
        """What each partition's experiment knows, without the filters; read, it is kept for longer."""
        keys = [self.key(partition, "experiment") for partition in partitions]

        async def read() -> list[Any]:
            async with self.client.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.hget(key, cast(Any, STATE))
                for key in keys:
                    pipe.expire(key, self.state_ttl_s)
                return (await pipe.execute())[: len(keys)]

        return [state for state in await replacing(self.client, read, keys) if state is not None]

    async def keep(
        self, partition: int, before: bytes, name: bytes, state: Mapping[str, Any], references: Mapping[str, Any]
    ) -> bool:
        """Keep what is under watch beside a partition; a second's worth may be lost with the process.

        Parameters
        ----------
        before, name
            What was kept last is called, empty for nothing; and what is kept now.
        references
            Large values that are new, by name; those kept before stay.

        Returns
        -------
        bool
            Whether what was kept before is there.

        Raises
        ------
        OutpacedError
            When what is in Redis is not what this was computed from.
        """
        new = [part for key, value in references.items() for part in (key, msgspec.msgpack.encode(value))]
        words = [before, name, msgspec.msgpack.encode(state), self.state_ttl_s, *new]
        keys = [self.key(partition, "watches"), self.key(partition, "references")]

        async def send(pipe: Any) -> list[Any]:
            self._scripts.add(pipe, "keep", keys, *words)
            return list(await pipe.execute())

        [done] = await self._scripts.run(send)
        if not done:
            raise OutpacedError(f"what is watched beside partition {partition} is another's")
        return bool(done == 1)

    async def kept(self, partition: int) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
        """Name, state and references that were kept last."""
        keys = [self.key(partition, "watches"), self.key(partition, "references")]
        watches, references = await self._hashes(keys)
        name = watches.pop(b"name", b"")
        told = await self._readable(
            keys[0], watches, lambda name, value: (name, msgspec.msgpack.decode(value, type=dict[str, Any]))
        )
        known = await self._readable(
            keys[1], references, lambda name, value: (name.decode(), msgspec.msgpack.decode(value, type=list[Any]))
        )
        return name, told.get(b"state", {}), known

    async def _readable(
        self, key: str, fields: Mapping[bytes, bytes], decode: Callable[[bytes, bytes], tuple[K, T]]
    ) -> dict[K, T]:
        """A hash's fields as values; those that are none of ours are removed, and told of."""
        found = {}
        for name, value in fields.items():
            try:
                made, what = decode(name, value)
            except (*UNDECODABLE, ValueError, IndexError) as error:
                log.error("Redis holds what is not ours in %r of %s, which is removed: %s", name[:100], key, error)
                if key:
                    await cast(Any, self.client.hdel(key, cast(Any, name)))
            else:
                found[made] = what
        return found

    async def _hashes(self, keys: Sequence[str]) -> list[dict[bytes, bytes]]:
        """What stands in hashes of one partition, all at one moment."""

        async def send(pipe: Any) -> list[Any]:
            self._scripts.add(pipe, "load", keys)
            return list(await pipe.execute())

        [found] = await self._scripts.run(send)
        return [dict(zip(words[::2], words[1::2], strict=True)) for words in found]


def numbers(meta: Mapping[bytes, bytes]) -> dict[str, int]:
    """What a partition's meta hash counts, with its offset and watermark: all but the name of the last commit.

    Examples
    --------
    >>> numbers({b"offset": b"7", b"closed.buy": b"2", b"commit": b"b6.3"})
    {'offset': 7, 'closed.buy': 2}
    """
    return {name.decode(): int(value) for name, value in meta.items() if name != b"commit"}


def _total(name: bytes, value: bytes) -> tuple[str, int]:
    """A number that scripts compare as it is written."""
    if str(found := int(value)).encode() != value:
        raise ValueError("it is not written as numbers are")
    return name.decode(), found


def _sum(name: bytes, value: bytes) -> tuple[tuple[int, Slice, str], float]:
    """One sum of a minute's slice."""
    minute, surface, arm, model, position, number = _slice_decoder.decode(name)
    if not math.isfinite(found := float(value)):
        raise ValueError("it is no finite number")
    return (minute, Slice(surface, arm, model, position), SUMS[int(number)]), found
