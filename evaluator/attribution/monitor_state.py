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
    """Keeps what one process watches, and takes it up where a process before left it.

    Parameters
    ----------
    book
        The alerts of the system itself, which are kept along.

    Attributes
    ----------
    beside
        The partition that it is kept beside; None while this process has none, and watches nothing.
    """

    def __init__(self, store: JoinStore, figures: LiveMetrics, book: ActiveAlerts, patience: RedisRetry) -> None:
        self.store, self.figures, self.book, self.patience = store, figures, book, patience
        self.beside: int | None = None
        self._name = b""

    @property
    def source(self) -> str:
        """Who tells of alerts, whatever process it is."""
        return f"partition-{self.beside}"

    async def settle(self, partitions: Collection[int]) -> None:
        """Keep all as it is now, and take up what stands beside the lowest of these partitions where that is another's
        or another one."""
        lowest = min(partitions, default=None)
        kept = self.beside is not None and await self._keep(self.beside)
        if lowest is None:
            self.beside = None
            self.figures.rest()
        elif not kept or lowest != self.beside:
            await self._take_up(lowest)

    async def _keep(self, beside: int) -> bool:
        name = uuid.uuid4().hex.encode()
        state = self.figures.save() | {"system": self.book.save()}
        references = self.figures.watches.references()
        keep = partial(self.store.keep, beside, self._name, name, state, references)
        try:
            if not await self.patience.until_done(keep):
                self.figures.watches.forgotten()
        except OutpacedError as outpaced:
            log.warning("%s: taking it up again", outpaced)
            return False
        self._name = name
        return True

    async def _take_up(self, lowest: int) -> None:
        kept = await self.patience.until_done(partial(self.store.kept, lowest))
        self.beside, (self._name, state, references) = lowest, kept
        self.figures.load(state, references)
        self.book.load(state.get("system", ()))
