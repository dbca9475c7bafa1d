"""The rollout's controller: reads the slots, decides, changes them, and announces them. Only this module does I/O.

All state that must survive is in the store: the slots, and a record of each canary that ended. The record is written
before the slots, and a decision that is recorded stands. If a process dies between two steps, the next
:meth:`Rollout.tick`, of this process or another, finishes what was begun. Knows the store, and a function that
announces; nothing of Kafka.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Literal, NamedTuple

import msgspec

from evaluator.gate import report
from evaluator.gate.report import Verdict
from evaluator.rollout.config import RolloutConfig
from evaluator.rollout.evidence import Canary, CanaryEvidence, EvidenceReader
from evaluator.rollout.policy import Action, Decision, decide
from evaluator.rollout.record import ENDS, champion_of, finished
from models.store import ModelStore, StoreError
from models.store.experiments import Ended, FinishedExperiment
from models.store.manifest import folder_of
from models.store.slots import CHALLENGER, CHAMPION, Promotion, Slot
from streams.kafka.errors import KAFKA_ERRORS
from streams.telemetry.meter import Snapshot

log = logging.getLogger(__name__)

ANNOUNCE_EVERY_MS = 600_000
"""Slots are announced again at this interval, in case the topic has lost a record."""

Event = Literal["canary", "promoted", "rolled_back", "gave_up"]

ACTIONS: dict[Ended, Action] = {ended: action for action, ended in ENDS.items()}


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
        self.store, self.slots, self.config, self.announce = store, store.slots, config, announce
        self._reading: EvidenceReader | None = None
        self._canary = Canary()
        self._recorded: FinishedExperiment | None = None
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
        champion, slot = self.slots.read(CHAMPION), self.slots.read(CHALLENGER)
        challenger = slot.current
        self._follow(champion, slot, now)
        if challenger is None or self._reading is None:
            return Tick(CanaryEvidence(), decide(self.config, CanaryEvidence(), now))
        self._reading.update(snapshots)
        seen = self._reading.get(now, champion)
        self._canary = seen.canary
        if champion.current is not None and champion.current.version == challenger.version:
            # A process died after the promotion, or somebody else made it.
            reason = champion.current.reason
            self._record(champion, challenger, "promoted", reason, now)
            self.slots.clear(CHALLENGER, "promoted")
            return Tick(seen, Decision("promote", reason, {}), "promoted")
        decision = decide(self.config, seen, now)
        if self._recorded is None and decision.action in ENDS:
            self._record(champion, challenger, ENDS[decision.action], decision.words, now)
        if self._recorded is not None and self._recorded.ended in ACTIONS:
            decision = Decision(ACTIONS[self._recorded.ended], self._recorded.reason, decision.evidence)
        return Tick(seen, decision, self._do(decision, challenger.version))

    def _follow(self, champion: Slot, slot: Slot, now: int) -> None:
        """Read the evidence on what the challenger's slot holds; a canary that somebody else has ended is recorded."""
        before = self._reading.challenger if self._reading else None
        if before == slot.current:
            return
        if before is not None and self._recorded is None:
            promoted = champion.current is not None and champion.current.version == before.version
            reason = slot.emptied if slot.current is None else slot.current.reason
            self._record(champion, before, "promoted" if promoted else "stopped", reason, now)
        self._canary, self._recorded = Canary(), self._known(slot.current)
        self._reading = EvidenceReader(slot.current) if slot.current else None

    def _known(self, challenger: Promotion | None) -> FinishedExperiment | None:
        """The record of a canary whose process died before it changed the slots."""
        if challenger is None or not challenger.share:
            return None
        try:
            return self.store.experiments.find("canary", challenger.version, challenger.at)
        except (StoreError, OSError) as error:
            log.warning("whether the canary of %s has ended is unknown: %s", challenger.version, error)
            return None

    def _record(self, champion: Slot, challenger: Promotion, ended: Ended, reason: str, now: int) -> None:
        """Keep the result of a canary. Where that fails the rollout goes on: models matter more than their records."""
        if not challenger.share:
            return
        base = champion_of(champion, challenger)
        made = finished(challenger, base, ended, reason, self._canary, self._verdict(base, challenger.version), now)
        try:
            self._recorded = self.store.experiments.record(made)
        except (StoreError, OSError) as error:
            self._recorded = made
            log.warning("the result of the canary of %s is not kept: %s", challenger.version, error)

    def _verdict(self, champion: str, challenger: str) -> Verdict | None:
        """The gate's verdict on a version, if it was compared with this champion."""
        try:
            if (self.store.manifest(challenger).parent or "") != champion:
                return None
            return report.decode(self.store.storage.read(f"{folder_of(challenger)}/gate.json"))
        except FileNotFoundError:
            return None  # it was trained by hand
        except (StoreError, OSError, msgspec.MsgspecError) as error:
            log.warning("the gate's figures of %s are not kept: %s", challenger, error)
            return None

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
