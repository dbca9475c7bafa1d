"""The evaluator's state in Redis: partitions, rates by the minute, the monitors' state, and through ``shelf_store``
what is known of shelves. Other modules use these two.

One script commits a batch, and only on top of the commit that it was computed from. So each event counts once,
whichever process dies and whichever takes over. Knows Redis; nothing of Kafka, nor of how events are joined.
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
    """Another evaluator has changed the state in the meantime: the state in memory is out of date; load again."""


class JoinStore:
    """Reads and writes of one evaluator group.

    Parameters
    ----------
    client
        A connected asyncio client, owned by the caller.
    group
        The evaluator's consumer group, part of every key.
    state_ttl_s, rates_ttl_s, shelf_ttl_s
        Lifetimes of a partition that no process works on, of an hour's rates, and of what is known of a shelf.

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
        totals = await self._readable(keys[1], meta, _total)
        states = await self._readable(keys[0], states, checked_state)
        tracks = await self._readable(keys[2], tracks, checked_track)
        experiment = await self._readable(keys[3], experiment, checked_piece)
        offset, watermark = totals.pop("offset", -1), totals.pop("watermark", 0)
        return Saved(offset, last, watermark, states, totals, tracks, experiment)

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
            ["1"] if commit.new_experiment else [],
            [part for pair in commit.experiment.items() for part in pair],
            *hours.values(),
        ]
        keys = [self.key(partition, name) for name in ("state", "meta", "examples", "bots", "experiment")]
        keys += [self.key(partition, "rates", str(hour)) for hour in hours]
        head = [commit.before, commit.after, commit.offset, commit.name, commit.watermark]
        arguments = [*head, self.state_ttl_s, self.rates_ttl_s, *(one for part in parts for one in (len(part), *part))]

        async def send(pipe: Any) -> list[Any]:
            self._scripts.add(pipe, "commit", keys, *arguments)
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
        """The state of each partition's experiment, without the filters. Reading it renews its lifetime."""
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
        """Save the state of a process's monitors in a partition's hashes.

        Parameters
        ----------
        before, name
            The name of the state that was saved last, empty where there was none; and the name of this one.
        references
            Large values that are new, by name; those saved before stay.

        Returns
        -------
        bool
            Whether the state that was saved before is still there.

        Raises
        ------
        OutpacedError
            When the state in Redis is not the one that this was computed from.
        """
        new = [part for key, value in references.items() for part in (key, msgspec.msgpack.encode(value))]
        arguments = [before, name, msgspec.msgpack.encode(state), self.state_ttl_s, *new]
        keys = [self.key(partition, "watches"), self.key(partition, "references")]

        async def send(pipe: Any) -> list[Any]:
            self._scripts.add(pipe, "keep", keys, *arguments)
            return list(await pipe.execute())

        [done] = await self._scripts.run(send)
        if not done:
            raise OutpacedError(f"another process has saved the state of the monitors in partition {partition}")
        return bool(done == 1)

    async def kept(self, partition: int) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
        """Name, state and references that :meth:`keep` saved last."""
        keys = [self.key(partition, "watches"), self.key(partition, "references")]
        fields, references = await self._hashes(keys)
        name = fields.pop(b"name", b"")
        states = await self._readable(
            keys[0], fields, lambda name, value: (name, msgspec.msgpack.decode(value, type=dict[str, Any]))
        )
        known = await self._readable(
            keys[1], references, lambda name, value: (name.decode(), msgspec.msgpack.decode(value, type=list[Any]))
        )
        return name, states.get(b"state", {}), known

    async def _readable(
        self, key: str, fields: Mapping[bytes, bytes], decode: Callable[[bytes, bytes], tuple[K, T]]
    ) -> dict[K, T]:
        """A hash's fields, decoded; those that cannot be decoded are removed and logged."""
        found = {}
        for name, value in fields.items():
            try:
                field, content = decode(name, value)
            except (*UNDECODABLE, ValueError, IndexError) as error:
                log.error("Redis holds what is not ours in %r of %s, which is removed: %s", name[:100], key, error)
                if key:
                    await cast(Any, self.client.hdel(key, cast(Any, name)))
            else:
                found[field] = content
        return found

    async def _hashes(self, keys: Sequence[str]) -> list[dict[bytes, bytes]]:
        """The fields of hashes of one partition, read in one step."""

        async def send(pipe: Any) -> list[Any]:
            self._scripts.add(pipe, "load", keys)
            return list(await pipe.execute())

        [found] = await self._scripts.run(send)
        return [dict(zip(pairs[::2], pairs[1::2], strict=True)) for pairs in found]


def numbers(meta: Mapping[bytes, bytes]) -> dict[str, int]:
    """The numbers of a partition's meta hash: counts, offset and watermark; without the name of the last commit.

    Examples
    --------
    >>> numbers({b"offset": b"7", b"closed.buy": b"2", b"commit": b"b6.3"})
    {'offset': 7, 'closed.buy': 2}
    """
    return {name.decode(): int(value) for name, value in meta.items() if name != b"commit"}


def _total(name: bytes, value: bytes) -> tuple[str, int]:
    """A number of the meta hash. Scripts compare its text, so it must be written in the usual way."""
    if str(found := int(value)).encode() != value:
        raise ValueError("it is not written as numbers are")
    return name.decode(), found


def _sum(name: bytes, value: bytes) -> tuple[tuple[int, Slice, str], float]:
    """One sum of a minute's slice."""
    minute, surface, arm, model, position, number = _slice_decoder.decode(name)
    if not math.isfinite(found := float(value)):
        raise ValueError("it is no finite number")
    return (minute, Slice(surface, arm, model, position), SUMS[int(number)]), found
