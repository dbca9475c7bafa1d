"""Measures of the last hour's views other than rates: ranking, exposure, calibration, and position bias.

Pure: takes views, event time and a lookup of items. Gives labelled values that add up over evaluators.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from evaluator.metrics.cardinality import OTHER
from evaluator.metrics.impression import Chances, View
from evaluator.metrics.position_bias import PositionBiasModel
from evaluator.metrics.ranking import Items, RankingMetrics
from evaluator.metrics.rates import BUCKETS, Rolling, bucket
from models.measures.names import COVERAGE, ECE, EXPOSURE_BY_BRAND, ONLINE
from models.measures.probabilities import FINE, Reliability
from streams.telemetry.meter import Series, label_value

HOUR_MS = 3_600_000
STEPS = 12
PART_MS = HOUR_MS // STEPS
SURFACES = 32
"""Surfaces that are measured by name; all others are measured as one."""

BRANDS = 20
CELLS = 20_000
FIT_EVERY_MS = 60_000


class HourlyMetrics:
    """Rolling measures of views.

    Novelty is measured by how often a shelf's items were shown in the hour before. Propensities of positions are
    estimated once a minute of event time, from items that were at several positions on the same surface for the same
    query.

    Examples
    --------
    >>> from evaluator.metrics.impression import AttributedImpression
    >>> class Nothing:
    ...     def brand(self, item_id): return "acme"
    ...     def title(self, item_id): return ""
    ...     def __len__(self): return 4
    ...     def __contains__(self, item_id): return item_id == "i"
    >>> measures = HourlyMetrics(Nothing())
    >>> seen = AttributedImpression
    >>> measures.update([View((seen("u", "i", "s", "feed", 0, ts=5), seen("u", "invented", "s", "feed", 1, ts=5)))])
    >>> [(one.name, round(one.value, 2)) for one in measures.get(5) if one.name in ("coverage", "exposure_sum")]
    [('coverage', 0.25), ('exposure_sum', 1.63)]
    """

    def __init__(self, items: Items) -> None:
        self.items = items
        self.weights: dict[str, float] = {}
        self._shelves: dict[str, Rolling[RankingMetrics]] = {}
        self._reliability = {intent: Rolling(HOUR_MS, partial(Reliability, FINE), STEPS) for intent in ("look", "buy")}
        self._positions = PositionBiasModel(cells=CELLS)
        self._fit_at = 0
        self._hour = RankingMetrics()

    def update(self, views: Sequence[View]) -> None:
        """Take attributed views in, in any order."""
        self._compare(views)
        for view in views:
            self._rank(view)
            for one in view.impressions:
                place = BUCKETS.index(bucket(one.position))
                self._positions.update(f"{view.surface}|{view.query}", one.item_id, place, bool(one.outcomes))

    def get(self, until: int) -> Iterator[Series]:
        """All values of the hour that ends at ``until`` (ms)."""
        hour = RankingMetrics()
        for surface, rolling in list(self._shelves.items()):
            sums = rolling.get(until)
            if not len(rolling):  # its name is free for another surface
                del self._shelves[surface]
                continue
            hour.add(sums)
            for measure, mean in sums.means.items():
                labels = {"measure": measure, "surface": surface}
                yield Series("measure_sum", labels, mean.total)
                yield Series("measure_count", labels, mean.count)
        self._hour = hour
        if len(self.items):
            yield Series(ONLINE[COVERAGE], {}, hour.coverage(len(self.items)))
        yield from _exposure(hour)
        yield from self._curves(until)
        if until >= self._fit_at:
            self._fit_at = until + FIT_EVERY_MS
            self.weights = {BUCKETS[place]: self._positions.weight(place) for place in self._positions.get()}
        for position, weight in self.weights.items():
            yield Series("propensity", {"position": position}, 1 / weight)

    def _rank(self, view: View) -> None:
        surface = view.surface if view.surface in self._shelves or len(self._shelves) < SURFACES else OTHER
        rolling = self._shelves.get(surface)
        if rolling is None:
            rolling = self._shelves[surface] = Rolling(HOUR_MS, RankingMetrics, STEPS)
        rolling.part(view.ts).update(view.impressions, self.items, self._hour)

    def _compare(self, views: Sequence[View]) -> None:
        """Take in predictions and outcomes of items, grouped by part of the hour."""
        by_part: defaultdict[int, list[tuple[Chances, str]]] = defaultdict(list)
        for view in views:
            for one in view.impressions:
                if (chances := view.chances.get(one.item_id)) is not None:
                    by_part[view.ts // PART_MS].append((chances, one.intent))
        for number, pairs in by_part.items():
            for intent, rolling in self._reliability.items():
                predicted = [getattr(chances, intent) for chances, _ in pairs]
                rolling.part(number * PART_MS).update(predicted, [intended == intent for _, intended in pairs])

    def _curves(self, until: int) -> Iterator[Series]:
        for intent, rolling in self._reliability.items():
            sums = rolling.get(until)
            for at in np.flatnonzero(sums.counts).tolist():
                labels = {"intent": intent, "bin": str(at)}
                for name in ("counts", "predicted", "observed"):
                    yield Series(f"{ONLINE[ECE]}_{name.removesuffix('s')}", labels, float(getattr(sums, name)[at]))


def _exposure(hour: RankingMetrics) -> Iterator[Series]:
    """Of the brands with most, and of all others with items without a brand."""
    largest = sorted((name for name in hour.exposure if name), key=lambda name: (-hour.exposure[name], name))[:BRANDS]
    for what, sums in (("sum", hour.exposure), ("squared", hour.squares)):
        for brand in largest:
            yield Series(f"{ONLINE[EXPOSURE_BY_BRAND]}_{what}", {"brand": label_value(brand)}, sums[brand])
        if len(sums) > len(largest):
            rest = sum(sums[name] for name in sums.keys() - set(largest))
            yield Series(f"{ONLINE[EXPOSURE_BY_BRAND]}_{what}", {"brand": ""}, rest)
