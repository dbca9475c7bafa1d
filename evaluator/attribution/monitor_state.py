"""Where what is under watch is kept: beside the lowest partition that a process works on, and it moves with that.

A process watches what it closes, of all its partitions together. No two processes work on one partition for long, so no
two go on from the same state; should they for a moment, the one that keeps its state last is refused, and takes up what
the other kept. So what a detector has seen counts in no other, and a successor goes on from it.

Knows the store, and what is under watch; nothing of Kafka.
"""

import logging
import uuid
from collections.abc import Collection
from functools import partial

from evaluator.attribution.live_metrics import LiveMetrics
from evaluator.attribution.store import JoinStore, OutpacedError
from evaluator.monitoring.alerts.alert import ActiveAlerts
from streams.redis.retry import RedisRetry

log = logging.getLogger(__name__)


class MonitorState:
    """Keeps the state of a process's monitors, and goes on from what another process has kept.

    Parameters
    ----------
    active
        The active alerts of the system itself, which are kept with it.

    Attributes
    ----------
    beside
        The partition that it is kept beside; None while this process has none, and monitors nothing.
    """

    def __init__(self, store: JoinStore, figures: LiveMetrics, active: ActiveAlerts, retry: RedisRetry) -> None:
        self.store, self.figures, self.active, self.retry = store, figures, active, retry
        self.beside: int | None = None
        self._name = b""

    @property
    def source(self) -> str:
        """The reporter of alerts, the same whichever process has the partition."""
        return f"partition-{self.beside}"

    async def settle(self, partitions: Collection[int]) -> None:
        """Keep the state as it is now; load what is kept beside the lowest of these partitions, where that is not the
        partition of before or another process has written it."""
        lowest = min(partitions, default=None)
        kept = self.beside is not None and await self._keep(self.beside)
        if lowest is None:
            self.beside = None
            self.figures.stop_monitoring()
        elif not kept or lowest != self.beside:
            await self._take_up(lowest)

    async def _keep(self, beside: int) -> bool:
        name = uuid.uuid4().hex.encode()
        state = self.figures.save() | {"system": self.active.save()}
        references = self.figures.monitors.references()
        keep = partial(self.store.keep, beside, self._name, name, state, references)
        try:
            if not await self.retry.until_done(keep):
                self.figures.monitors.references_lost()
        except OutpacedError as outpaced:
            log.warning("%s: taking it up again", outpaced)
            return False
        self._name = name
        return True

    async def _take_up(self, lowest: int) -> None:
        kept = await self.retry.until_done(partial(self.store.kept, lowest))
        self.beside, (self._name, state, references) = lowest, kept
        self.figures.load(state, references)
        self.active.load(state.get("system", ()))
