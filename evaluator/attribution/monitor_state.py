"""Saves the state of a process's monitors, beside the lowest partition that the process works on.

A process monitors the attributed views of all its partitions together. The process that gets the lowest partition goes
on from the saved state. Two processes may have one partition for a moment. Then the one that saves last is refused, and
loads what the other has saved. So a view counts in at most one detector of a kind.

Knows the store and the monitors; nothing of Kafka.
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
    """Saves the state of a process's monitors, and loads what another process has saved.

    Parameters
    ----------
    active
        The active alerts of the system itself, which are saved with it.

    Attributes
    ----------
    beside
        The partition that it is saved beside; None while this process has none, and monitors nothing.
    """

    def __init__(self, store: JoinStore, metrics: LiveMetrics, active: ActiveAlerts, retry: RedisRetry) -> None:
        self.store, self.metrics, self.active, self.retry = store, metrics, active, retry
        self.beside: int | None = None
        self._name = b""

    @property
    def source(self) -> str:
        """The reporter of alerts, the same whichever process has the partition."""
        return f"partition-{self.beside}"

    async def settle(self, partitions: Collection[int]) -> None:
        """Save the present state; load that of the lowest of these partitions where this is another than before, or
        where another process has saved its state there."""
        lowest = min(partitions, default=None)
        kept = self.beside is not None and await self._keep(self.beside)
        if lowest is None:
            self.beside = None
            self.metrics.stop_monitoring()
        elif not kept or lowest != self.beside:
            await self._load(lowest)

    async def _keep(self, beside: int) -> bool:
        name = uuid.uuid4().hex.encode()
        state = self.metrics.save() | {"system": self.active.save()}
        references = self.metrics.monitors.references()
        keep = partial(self.store.keep, beside, self._name, name, state, references)
        try:
            if not await self.retry.until_done(keep):
                self.metrics.monitors.references_lost()
        except OutpacedError as outpaced:
            log.warning("%s: loading it", outpaced)
            return False
        self._name = name
        return True

    async def _load(self, lowest: int) -> None:
        kept = await self.retry.until_done(partial(self.store.kept, lowest))
        self.beside, (self._name, state, references) = lowest, kept
        self.metrics.load(state, references)
        self.active.load(state.get("system", ()))
