"""The rollout's controller: reads the slots, decides, changes them, and announces them. Only this module does I/O.

All state that must survive is in the slots. If a process dies between two steps, the next :meth:`Rollout.tick`, of this
process or another, finishes what was begun. Knows the store, and a function that announces; nothing of Kafka.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Literal, NamedTuple

from evaluator.rollout.config import RolloutConfig
from evaluator.rollout.evidence import CanaryEvidence, EvidenceReader
from evaluator.rollout.policy import Decision, decide
from models.store import ModelStore, StoreError
from models.store.slots import CHALLENGER, CHAMPION, Slot
from streams.kafka.errors import KAFKA_ERRORS
from streams.telemetry.meter import Snapshot

log = logging.getLogger(__name__)

ANNOUNCE_EVERY_MS = 600_000
"""Slots are announced again at this interval, in case the topic has lost a record."""

Event = Literal["canary", "promoted", "rolled_back", "gave_up"]


class Tick(NamedTuple):
    """What a tick saw and decided; ``event`` is the change it made, None where it waits."""

    seen: CanaryEvidence
    decision: Decision
    event: Event | None = None


class Rollout:
    """Takes one challenger at a time from shadow to promotion or removal.

    Parameters
    ----------
    store
        The store with the slots.
    announce
        Sends a slot's content to workers and evaluators; called with the slot's name.
    """

    def __init__(
        self, store: ModelStore, config: RolloutConfig, announce: Callable[[str, Slot], Awaitable[object]]
    ) -> None:
        self.slots, self.config, self.announce = store.slots, config, announce
        self._reading: EvidenceReader | None = None
        self._announced: dict[str, Slot] = {}
        self._announced_at: int | None = None

    async def begin(self, version: str, reason: str) -> None:
        """Put a version into shadow; one that is being rolled out already stays at its stage.

        Raises
        ------
        StoreError
            When there is no such version, or another is being rolled out.
        """
        await asyncio.to_thread(self._begin, version, reason)
        await self._announce()

    async def tick(self, snapshots: Iterable[Snapshot], now: int) -> Tick:
        """Decide once, and make the change.

        Parameters
        ----------
        snapshots
            Snapshots of workers and evaluators since the last tick; older ones do no harm.
        now
            Epoch ms.

        Raises
        ------
        StoreError, OSError
            When slots cannot be read or written; the next tick tries again.
        """
        done = await asyncio.to_thread(self._tick, list(snapshots), now)
        if self._announced_at is None:
            self._announced_at = now
        if now - self._announced_at >= ANNOUNCE_EVERY_MS:
            self._announced.clear()
            self._announced_at = now
        await self._announce()
        return done

    def _begin(self, version: str, reason: str) -> None:
        current = self.slots.read(CHALLENGER).current
        if current is not None and current.version != version:
            raise StoreError(f"{current.version} is being rolled out: wait, or empty the slot {CHALLENGER}.")
        if current is None:
            self.slots.promote(version, reason, CHALLENGER, share=0.0)

    def _tick(self, snapshots: Iterable[Snapshot], now: int) -> Tick:
        champion, challenger = self.slots.read(CHAMPION), self.slots.read(CHALLENGER).current
        if challenger is None:
            self._reading = None
            return Tick(CanaryEvidence(), decide(self.config, CanaryEvidence(), now))
        if self._reading is None or self._reading.challenger != challenger:
            self._reading = EvidenceReader(challenger)
        self._reading.update(snapshots)
        seen = self._reading.get(now, champion)
        if champion.current is not None and champion.current.version == challenger.version:
            # A process died after the promotion, or somebody else made it.
            self.slots.clear(CHALLENGER, "promoted")
            return Tick(seen, Decision("promote", champion.current.reason, {}), "promoted")
        decision = decide(self.config, seen, now)
        return Tick(seen, decision, self._do(decision, challenger.version))

    def _do(self, decision: Decision, version: str) -> Event | None:
        match decision.action:
            case "canary":
                self.slots.promote(version, decision.words, CHALLENGER, share=self.config.share)
                return "canary"
            case "promote":
                self.slots.promote(version, decision.words)
                self.slots.clear(CHALLENGER, f"promoted: {decision.words}")
                return "promoted"
            case "roll_back":
                self.slots.clear(CHALLENGER, f"rolled back: {decision.words}")
                return "rolled_back"
            case "give_up":
                self.slots.clear(CHALLENGER, f"given up: {decision.words}")
                return "gave_up"
            case "wait":
                return None

    async def _announce(self) -> None:
        """Announce changed slots; the champion first, so that every worker has the promoted version throughout."""
        for name in (CHAMPION, CHALLENGER):
            slot = await asyncio.to_thread(self.slots.read, name)
            if self._announced.get(name, Slot()) == slot:
                continue
            try:
                await self.announce(name, slot)
            except (*KAFKA_ERRORS, OSError) as error:
                log.warning("what %s holds is announced again later: %s", name, error)
            else:
                self._announced[name] = slot
