"""All that one evaluator has to say of what was closed: rates, measures, things under watch; and of a challenger on
trial, what all evaluators have counted.

Pure: takes commits and views, gives labelled values and alerts. Knows nothing of Kafka, Redis or partitions.
"""

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import count
from typing import Any, Generic, TypeVar

from evaluator.attribution.items import Items
from evaluator.attribution.partition import RateKey
from evaluator.config import EvaluatorConfig
from evaluator.experiments.canary import CanaryExperiment
from evaluator.metrics.cardinality import capped
from evaluator.metrics.hourly import HourlyMetrics
from evaluator.metrics.impression import View
from evaluator.metrics.rates import WINDOWS, RollingRates, Tally
from evaluator.monitoring.registry import MonitorRegistry
from streams.events.schema import Touch
from streams.events.shelf import ShelfRecord
from streams.telemetry.meter import Series

T = TypeVar("T")


class ReorderBuffer(Generic[T]):
    """Puts things from several ordered sources into one order.

    Parameters
    ----------
    most
        How many may wait; of more, the earliest are let go however far the sources are.

    Examples
    --------
    >>> waiting = ReorderBuffer[str]()
    >>> for ts, name in [(5, "c"), (1, "a"), (3, "b")]: waiting.put(ts, name)
    >>> list(waiting.take(4)), list(waiting.take(9))
    (['a', 'b'], ['c'])
    """

    def __init__(self, most: int = 500_000) -> None:
        self.most = most
        self._heap: list[tuple[int, int, T]] = []
        self._number = count()

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, ts: int, thing: T) -> None:
        """Let it wait."""
        heapq.heappush(self._heap, (ts, next(self._number), thing))

    def take(self, until: float) -> Iterator[T]:
        """Those from before ``until``, in order of time, and of those from one moment as they were put."""
        while self._heap and (self._heap[0][0] < until or len(self._heap) > self.most):
            yield heapq.heappop(self._heap)[2]


MEASURES_EVERY_MS = 10_000

UNWATCHED = 10_000
"""Views that may wait for partitions which are behind; some kilobytes each."""

CUT = ("surface", "arm", "model")
SUMS = tuple(one.name for one in fields(Tally))


class LiveMetrics:
    """What is measured of closed views.

    Attributes
    ----------
    watches
        Everything under watch.
    watching
        Whether that is known: until it is, views wait, and what else is to be watched is passed over.
    challenge
        What is known of the challenger that some shoppers get, in all partitions.

    Examples
    --------
    >>> from evaluator.metrics.impression import AttributedImpression
    >>> from evaluator.metrics.rates import cut, tally
    >>> figures = LiveMetrics(EvaluatorConfig(), Items())
    >>> closed = AttributedImpression("u", "i", "s", "feed", 0, ts=60_000)
    >>> figures.count({(60_000, cut(closed, "champion", "m1")): tally(closed)})
    >>> figures.load({}, {})
    >>> figures.update([View((closed,), "m1", "champion")])
    >>> figures.watch(until=70_000)
    >>> told = {one.name: one.value for one in figures.get(until=70_000, now=0) if one.labels.get("window") != "1m"}
    >>> told["rate_impressions"], told["rate_clicks"], told["drift_alarm"]
    (1, 0, 0.0)
    """

    def __init__(self, config: EvaluatorConfig, items: Items) -> None:
        self.rates, self.items = RollingRates(), items
        self.measures = HourlyMetrics(items)
        self.watches = MonitorRegistry(config.watch_rules())
        self.watching = False
        self.challenge = CanaryExperiment(int(config.experiment_block_s * 1_000))
        self._unwatched: ReorderBuffer[View] = ReorderBuffer(UNWATCHED)
        self._measured: list[Series] = []
        self._measured_at = -math.inf

    def count(self, rates: Mapping[RateKey, Tally]) -> None:
        """Count what was closed, now or before this process began, by minute and slice."""
        for (minute, cut), sums in rates.items():
            self.rates.add(cut, minute, sums)

    def update(self, views: Sequence[View]) -> None:
        """Take views in that were closed; they wait until :meth:`watch` has come to their time."""
        self.measures.update(views)
        for view in views:
            self._unwatched.put(view.ts, view)

    def watch(self, until: float) -> None:
        """Show what is under watch the views from before ``until`` (ms), in order of time: a partition that is read
        ahead of others must not look like a change."""
        for view in self._unwatched.take(until) if self.watching else ():
            self.watches.update(view)

    def made(self, record: ShelfRecord) -> None:
        """Show what is under watch a shelf as it is made."""
        if self.watching:
            self.watches.made(record)

    def touched(self, event: Touch) -> None:
        """Show what is under watch an item that a shopper turned to."""
        vector = self.items.vector(event.item_id) if self.watching else None
        if vector is not None:
            title = self.items.title(event.item_id)
            self.watches.touched(event.shopper, event.time_ms, title, vector, self.items.encoder)

    def get(self, until: int, now: int) -> list[Series]:
        """All values, of windows that end at ``until`` (ms); what is dear to sum up is so every ten seconds of ``now``
        (ms) only."""
        if now - self._measured_at >= MEASURES_EVERY_MS:
            self._measured, self._measured_at = list(self.measures.get(until)), now
        return [*self._rates(until), *self._measured, *self.watches.get(), *self.challenge.get()]

    def save(self) -> dict[str, Any]:
        """States as plain values, without what :meth:`MonitorRegistry.references` gives."""
        return {"watches": self.watches.save()}

    def load(self, saved: Mapping[str, Any], references: Mapping[str, Any]) -> None:
        """Go on from what :meth:`save` gave."""
        self.watches = MonitorRegistry.load(self.watches.rules, saved.get("watches", {}), references)
        self.watching = True

    def rest(self) -> None:
        """Watch nothing, until :meth:`load`."""
        self.watches, self.watching = MonitorRegistry(self.watches.rules), False

    def _rates(self, until: int) -> Iterator[Series]:
        for window in WINDOWS:
            for names, sums in capped(self.rates.by(window, until, CUT, self.measures.weights)).items():
                labels = {"window": window, **dict(zip(CUT, names, strict=True))}
                for what in SUMS:
                    yield Series(f"rate_{what}", labels, getattr(sums, what))
        for (position,), sums in self.rates.by("1h", until, ("position",)).items():
            yield Series("position_impressions", {"position": position}, sums.impressions)
            yield Series("position_clicks", {"position": position}, sums.clicks)
