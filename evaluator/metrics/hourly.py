"""Measures of the last hour's views other than rates: ranking, exposure, calibration, and position bias.

Pure: takes views, event time and a lookup of items. Gives labelled values that add up over evaluators.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from evaluator.metrics.cardinality import OTHER
from evaluator.metrics.impression import Chances, View
from evaluator.metrics.position_bias import PositionBiasModel
from evaluator.metrics.ranking import MEANS, RankingMetrics, diversity, ndcg, novelty, reciprocal_rank
from evaluator.metrics.rates import BUCKETS, Rolling, bucket
from models.training.reliability import Reliability
from streams.telemetry.meter import Series, label_value

HOUR_MS = 3_600_000
STEPS = 12
PART_MS = HOUR_MS // STEPS
SURFACES = 32
"""Surfaces that are measured by name; all others are measured as one."""

BRANDS = 20
CELLS = 20_000
FIT_EVERY_MS = 60_000

EDGES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.6)
"""Edges of the bins of predictions: close together at small probabilities, since clicks and purchases are rare."""


class Items(Protocol):
    """A lookup of the items on sale."""

    def brand(self, item_id: str) -> str:
        """An item's brand; empty where there is none."""

    def vector(self, item_id: str) -> npt.NDArray[np.float32] | None:
        """An item's unit-norm vector [D]; None where it is not known."""

    def __len__(self) -> int: ...

    def __contains__(self, item_id: object) -> bool: ...


class HourlyMetrics:
    """Rolling measures of views.

    Novelty is measured by how often a shelf's items were shown in the hour before. Items that the catalogue does not
    know count as never shown, because events may name any number of them. Propensities of positions are estimated once
    a minute of event time, from items that were at several positions on the same surface for the same query.

    Examples
    --------
    >>> from evaluator.metrics.impression import AttributedImpression
    >>> class Nothing:
    ...     def brand(self, item_id): return "acme"
    ...     def vector(self, item_id): return None
    ...     def __len__(self): return 4
    ...     def __contains__(self, item_id): return item_id == "i"
    >>> measures = HourlyMetrics(Nothing())
    >>> seen = AttributedImpression
    >>> measures.update([View((seen("u", "i", "s", "feed", 0, ts=5), seen("u", "invented", "s", "feed", 1, ts=5)))])
    >>> [(one.name, one.value) for one in measures.get(5) if one.name in ("coverage", "exposure_impressions")]
    [('coverage', 0.25), ('exposure_impressions', 2.0)]
    """

    def __init__(self, items: Items) -> None:
        self.items = items
        self.weights: dict[str, float] = {}
        self._shelves: dict[str, Rolling[RankingMetrics]] = {}
        self._reliability = {intent: Rolling(HOUR_MS, partial(Reliability, EDGES), STEPS) for intent in ("look", "buy")}
        self._positions = PositionBiasModel(cells=CELLS)
        self._fit_at = 0
        self._hour, self._shown = RankingMetrics(), 0

    def update(self, views: Sequence[View]) -> None:
        """Take attributed views in, in any order."""
        with_outcomes = (view for view in views if any(one.outcomes for one in view.impressions))
        gains = dict(zip(map(id, with_outcomes), ndcg([view.impressions for view in views]), strict=True))
        self._compare(views)
        for view in views:
            self._rank(view, gains.get(id(view)))
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
            for measure in MEANS:
                mean = getattr(sums, measure)
                labels = {"measure": measure, "surface": surface}
                yield Series("measure_sum", labels, mean.total)
                yield Series("measure_count", labels, mean.count)
        self._hour, self._shown = hour, hour.items.total()
        if len(self.items):
            yield Series("coverage", {}, hour.coverage(len(self.items)))
        yield from self._exposure(hour.brands)
        yield from self._curves(until)
        if until >= self._fit_at:
            self._fit_at = until + FIT_EVERY_MS
            self.weights = {BUCKETS[place]: self._positions.weight(place) for place in self._positions.get()}
        for position, weight in self.weights.items():
            yield Series("propensity", {"position": position}, 1 / weight)

    def _rank(self, view: View, gain: float | None) -> None:
        surface = view.surface if view.surface in self._shelves or len(self._shelves) < SURFACES else OTHER
        rolling = self._shelves.get(surface)
        if rolling is None:
            rolling = self._shelves[surface] = Rolling(HOUR_MS, RankingMetrics, STEPS)
        sums, items = rolling.part(view.ts), [one.item_id for one in view.impressions]
        sums.mrr.update(reciprocal_rank(view.impressions))
        sums.ndcg_10.update(gain)
        vectors = [vector for item in items if (vector := self.items.vector(item)) is not None]
        sums.diversity.update(diversity(np.stack(vectors)) if vectors else None)
        sums.novelty.update(novelty(items, self._hour.items, self._shown) if self._shown else None)
        sums.items.update(item for item in items if item in self.items)
        sums.brands.update(brand for item in items if (brand := self.items.brand(item)))

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

    def _exposure(self, brands: Counter[str]) -> Iterator[Series]:
        largest = brands.most_common(BRANDS)
        for brand, count in largest:
            yield Series("exposure_impressions", {"brand": label_value(brand)}, float(count))
        if rest := brands.total() - sum(count for _, count in largest):
            yield Series("exposure_impressions", {"brand": ""}, rest)

    def _curves(self, until: int) -> Iterator[Series]:
        for intent, rolling in self._reliability.items():
            sums = rolling.get(until)
            for at in np.flatnonzero(sums.counts).tolist():
                labels = {"intent": intent, "bin": str(at)}
                yield Series("calibration_count", labels, float(sums.counts[at]))
                yield Series("calibration_predicted", labels, float(sums.predicted[at]))
                yield Series("calibration_observed", labels, float(sums.observed[at]))
