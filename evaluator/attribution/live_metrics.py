"""Everything that one evaluator measures: rates, metrics of ranking and monitors; and the running canary experiment of
all evaluators.

Pure: takes commits and views, gives labelled values and alerts. Knows nothing of Kafka, Redis or partitions.
"""

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from streams.features.click_effects import ClickEffects, Counts, Key, Shown
from streams.telemetry.meter import Series

T = TypeVar("T")


class ReorderBuffer(Generic[T]):
    """Merges several ordered sources into one order.

    Parameters
    ----------
    most
        How many may wait. Beyond it the earliest are given out, however far the sources are.

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
        """Add one thing, which waits until :meth:`take` reaches its time."""
        heapq.heappush(self._heap, (ts, next(self._number), thing))

    def take(self, until: float) -> Iterator[T]:
        """The things from before ``until``, in order of time; those of one moment in the order they were put."""
        while self._heap and (self._heap[0][0] < until or len(self._heap) > self.most):
            yield heapq.heappop(self._heap)[2]


MEASURES_EVERY_MS = 10_000

MOST_WAITING = 10_000
"""Most views that may wait for slower partitions; some kilobytes each."""

CUT = ("surface", "arm", "model")
SUMS = tuple(one.name for one in fields(Tally))


class LiveMetrics:
    """What is measured of attributed views.

    Attributes
    ----------
    monitors
        All monitors.
    monitoring
        Whether the monitors' state is loaded. Until it is, views wait, and shelves and items are not monitored.
    canary
        The running canary experiment, added up over all partitions.
    effects
        Touches beside expected touches of items, by partition; of those whose earlier counts are loaded.

    Examples
    --------
    >>> from evaluator.metrics.impression import AttributedImpression
    >>> from evaluator.metrics.rates import cut, tally
    >>> metrics = LiveMetrics(EvaluatorConfig(), Items())
    >>> impression = AttributedImpression("u", "i", "s", "feed", 0, ts=60_000)
    >>> metrics.count({(60_000, cut(impression, "champion", "m1")): tally(impression)})
    >>> metrics.load({}, {})
    >>> metrics.update([View((impression,), "m1", "champion")])
    >>> metrics.monitor(until=70_000)
    >>> values = {one.name: one.value for one in metrics.get(until=70_000, now=0) if one.labels.get("window") != "1m"}
    >>> values["rate_impressions"], values["rate_clicks"], values["drift_alarm"]
    (1, 0, 0.0)
    """

    def __init__(self, config: EvaluatorConfig, items: Items, effects_half_life_s: float = 86_400.0) -> None:
        self.rates, self.items = RollingRates(), items
        self.measures = HourlyMetrics(items)
        self.monitors = MonitorRegistry(config.monitor_rules())
        self.monitoring = False
        self.canary = CanaryExperiment(int(config.experiment_block_s * 1_000))
        self.effects: dict[int, ClickEffects] = {}
        self._half_life_ms = effects_half_life_s * 1000
        self._waiting: ReorderBuffer[View] = ReorderBuffer(MOST_WAITING)
        self._measured: list[Series] = []
        self._measured_at = -math.inf

    def count(self, rates: Mapping[RateKey, Tally]) -> None:
        """Count attributed impressions, of this process or of one before it, by minute and slice."""
        for (minute, cut), sums in rates.items():
            self.rates.add(cut, minute, sums)

    def update(self, views: Sequence[View]) -> None:
        """Take attributed views in; they wait until :meth:`monitor` reaches their time."""
        self.measures.update(views)
        for view in views:
            self._waiting.put(view.ts, view)

    def load_effects(self, partition: int, counts: Mapping[Key, Counts]) -> None:
        """Go on counting the touches of a partition's items from these counts."""
        self.effects[partition] = ClickEffects(self._half_life_ms, counts)

    def update_effects(self, partition: int, views: Iterable[View]) -> None:
        """Count what of a partition's views was touched beside what the model expected."""
        if (effects := self.effects.get(partition)) is None:
            return
        for view in views:
            for one in view.impressions:
                chances = view.chances.get(one.item_id)
                if chances is not None and 0 <= chances.touch < math.inf:  # what Redis holds may be no number
                    brand = self.items.brand(one.item_id)
                    place = view.ts, one.surface, one.position
                    effects.update(Shown(*place, one.item_id, brand, chances.touch, one.intent != "ignore"))

    def monitor(self, until: float) -> None:
        """Give the monitors the views from before ``until`` (ms), in order of time.

        Otherwise a partition that is read ahead of others could look like a change.
        """
        for view in self._waiting.take(until) if self.monitoring else ():
            self.monitors.update(view)

    def update_shelf(self, record: ShelfRecord) -> None:
        """Give the monitors a new shelf."""
        if self.monitoring:
            self.monitors.update_shelf(record)

    def update_item(self, event: Touch) -> None:
        """Give the monitors an item that a shopper acted on."""
        vector = self.items.vector(event.item_id) if self.monitoring else None
        if vector is not None:
            title = self.items.title(event.item_id)
            self.monitors.update_item(event.shopper, event.time_ms, title, vector, self.items.encoder)

    def get(self, until: int, now: int) -> list[Series]:
        """All values, of windows that end at ``until`` (ms).

        Expensive metrics are computed only every ten seconds of ``now`` (ms).
        """
        if now - self._measured_at >= MEASURES_EVERY_MS:
            self._measured, self._measured_at = list(self.measures.get(until)), now
        return [*self._rates(until), *self._measured, *self.monitors.get(), *self.canary.get()]

    def save(self) -> dict[str, Any]:
        """States as plain values, without what :meth:`MonitorRegistry.references` gives."""
        return {"watches": self.monitors.save()}

    def load(self, saved: Mapping[str, Any], references: Mapping[str, Any]) -> None:
        """Go on from what :meth:`save` gave."""
        self.monitors = MonitorRegistry.load(self.monitors.rules, saved.get("watches", {}), references)
        self.monitoring = True

    def stop_monitoring(self) -> None:
        """Drop the monitors, until :meth:`load`."""
        self.monitors, self.monitoring = MonitorRegistry(self.monitors.rules), False

    def _rates(self, until: int) -> Iterator[Series]:
        for window in WINDOWS:
            for names, sums in capped(self.rates.by(window, until, CUT, self.measures.weights)).items():
                labels = {"window": window, **dict(zip(CUT, names, strict=True))}
                for what in SUMS:
                    yield Series(f"rate_{what}", labels, getattr(sums, what))
        for (position,), sums in self.rates.by("1h", until, ("position",)).items():
            yield Series("position_impressions", {"position": position}, sums.impressions)
            yield Series("position_clicks", {"position": position}, sums.clicks)
