"""The experiment arms: the champion, a challenger in a canary, and a holdback model. Each shopper belongs to one arm.

Splits a batch's requests by arm and merges the results. An error of a model, even the champion's, ends here: each
shopper still gets a shelf, and no event is dead-lettered. Knows recommenders; nothing of where their models come from,
nor of what is concluded from an arm's clicks.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from models.scorer import Scorer
from streams.catalog.catalog import Catalog
from streams.events.shelf import ShelfRecord
from streams.ranking.assignment import CANARY, CHAMPION, HOLDBACK, SHARED, assign
from streams.ranking.context import Queries
from streams.ranking.feeds import FeedRanker
from streams.ranking.recommender import RankRequest, RankResult, Recommender
from streams.telemetry.meter import Meter

WINDOW, LEAST, SHARE = 200, 20, 0.1
"""A model fails if more than SHARE of its last WINDOW shelves failed, once there are LEAST of them."""


class Failing:
    """Counts a model's shelves and its failures, the last :data:`WINDOW` of them.

    Examples
    --------
    >>> failing = Failing()
    >>> failing.update(18, 2), failing.update(0, 1)
    (False, True)
    >>> failing.update(180, 0)
    False
    """

    def __init__(self) -> None:
        self._last: deque[bool] = deque(maxlen=WINDOW)
        self._failed = 0

    def update(self, good: int, failed: int) -> bool:
        """Count good and failed shelves; returns whether the model fails now."""
        for broken in (*[False] * good, *[True] * failed):
            if len(self._last) == WINDOW:
                self._failed -= self._last[0]
            self._last.append(broken)
            self._failed += broken
        return len(self._last) >= LEAST and self._failed > SHARE * len(self._last)


log = logging.getLogger(__name__)
Together = Mapping[str, Sequence[str]]

SHADOWED = 4
"""How many shelves a shadow makes at a time, at most."""

PAUSE, LONGEST_PAUSE_S = 100, 10.0
"""A shadow pauses this many times as long as it ran, so it takes a hundredth of a core; at most this many seconds."""

TOP = 10


@dataclass(slots=True, eq=False)
class _Arm:
    """An arm other than the champion's: its recommender, its share of the shoppers, and the salt that assigns them."""

    recommender: Recommender
    share: float
    salt: str
    logged: bool = False


class Arms:
    """Makes shelves as one recommender would; each shopper's arm makes the shopper's shelves.

    The champion makes shelves that are the same for all shoppers.

    Parameters
    ----------
    champion
        Makes the shelves of shoppers in no other arm, and those that another arm fails at.
    meter
        Counts shelves, failures and how far a shadow agrees with the champion; ``docs/metrics.md`` lists the names.

    Attributes
    ----------
    fallbacks
        Returns the recommenders to try in turn for shelves that the champion fails at.
    on_failing
        Called once a champion fails at too many shelves, as :class:`streams.ranking.arms.Failing` counts.
    """

    def __init__(self, champion: Recommender, meter: Meter) -> None:
        self.champion, self.meter = champion, meter
        self.fallbacks: Callable[[], Iterable[Recommender]] = tuple
        self.on_failing: Callable[[], None] = lambda: None
        self._others: dict[str, _Arm] = {}
        self._begin()
        self._refreshed_ms = 0
        self._rested = 0.0

    def set_canary(self, recommender: Recommender | None, share: float = 0.0, salt: str = "") -> None:
        """Start a challenger's canary; with None, end it. Called on the event loop, so between two batches.

        Parameters
        ----------
        share
            The challenger's share of the shoppers outside the holdback. With 0 it is a shadow: nobody sees its shelves.
        salt
            The challenger's version id, so that shoppers are assigned anew for each challenger.
        """
        self._set(CANARY, recommender, share, salt)

    def set_holdback(self, recommender: Recommender | None, share: float) -> None:
        """Serve a fixed share of the shoppers with a model that stays the same; with None, end the holdback."""
        self._set(HOLDBACK, recommender, share, HOLDBACK)

    def recommend(self, requests: Sequence[RankRequest], together: Together, now_ms: int) -> RankResult:
        """Make all shelves of a batch, in the order of the requests. Times by stage are sums over the arms."""
        at = self._split(requests)
        if at.keys() <= {CHAMPION}:
            return self._served(requests, together, now_ms)
        own = at.pop(CHAMPION, [])
        borrowed: set[int] = set()
        records: dict[int, ShelfRecord] = {}
        stages: Counter[str] = Counter()
        for name, places in at.items():
            found, times = self._tried(
                name, self._others[name], [requests[index] for index in places], together, now_ms
            )
            full = {index: record for index, record in zip(places, found, strict=True) if record is not None}
            records |= full
            borrowed |= set(places) - full.keys()
            stages.update(times)
        if rest := sorted([*own, *borrowed]):
            result = self._served([requests[index] for index in rest], together, now_ms)
            records |= zip(rest, result.records, strict=True)
            stages.update(result.stages)
        return RankResult(
            [_shared(records[index]) if index in borrowed else records[index] for index in range(len(requests))],
            dict(stages),
        )

    def shadow(self, requests: Sequence[RankRequest], together: Together, now_ms: int) -> None:
        """Let a challenger without a share make a few of a batch's shelves too, and compare them; they are not kept.

        Called after the batch's shelves are written, so that they do not wait for it. Most calls do nothing.
        """
        arm, begun = self._others.get(CANARY), time.perf_counter()
        if arm is None or arm.share > 0 or begun < self._rested:
            return
        some = [request for request in requests if request.shopper_id is not None][:SHADOWED]
        if not some:
            return
        found, times = self._tried("shadow", arm, some, together, now_ms)
        if None not in found:
            served = self._served(some, together, now_ms)
            for one, other in zip(served.records, found, strict=True):
                assert other is not None
                top, both = _agreement(one, other)
                self.meter.count("shadow.top", top)
                self.meter.count("shadow.overlap", both)
            for name, stages in (("challenger", times), ("champion", served.stages)):
                # The champion has just encoded these queries, so that stage is left out.
                self.meter.time(f"shadow.{name}", sum(stages.values()) - stages["encode"])
        ended = time.perf_counter()
        self._rested = ended + min(PAUSE * (ended - begun), LONGEST_PAUSE_S)

    def serve(self, catalogue: Catalog, scorer: Scorer, queries: Queries, feeds: FeedRanker, now_ms: int) -> None:
        """Switch to another champion, between two batches."""
        self.champion.serve(catalogue, scorer, queries, feeds, now_ms)
        self._begin()

    def refresh(self, now_ms: int) -> None:
        """Update the popularity of items from the demand now, in all arms."""
        self._refreshed_ms = now_ms
        for recommender in (self.champion, *(arm.recommender for arm in self._others.values())):
            recommender.refresh(now_ms)

    def _set(self, name: str, recommender: Recommender | None, share: float, salt: str) -> None:
        others = {one: arm for one, arm in self._others.items() if one != name}
        if recommender is not None:
            recommender.arm = name
            recommender.refresh(self._refreshed_ms)
            others[name] = _Arm(recommender, share, salt)
        # The order in which a shopper's arm is looked up.
        self._others = {one: others[one] for one in (HOLDBACK, CANARY) if one in others}

    def _split(self, requests: Sequence[RankRequest]) -> dict[str, list[int]]:
        """The indices of each arm's requests."""
        found: dict[str, list[int]] = {}
        if any(arm.share > 0 for arm in self._others.values()):
            for index, request in enumerate(requests):
                found.setdefault(self._of(request), []).append(index)
        return found

    def _of(self, request: RankRequest) -> str:
        """The arm that serves a request."""
        if request.shopper_id is not None:
            for name, arm in self._others.items():
                if assign(request.shopper_id, arm.salt) < arm.share:
                    return name
        return CHAMPION

    def _begin(self) -> None:
        """Reset what is known of the champion's failures."""
        self._failing, self._logged, self._failing_reported = Failing(), False, False

    def _served(self, requests: Sequence[RankRequest], together: Together, now_ms: int) -> RankResult:
        """The champion's shelf for each request; where it fails, that of the first fallback that does not.

        If all raise for a request, the request is at fault, and the error is raised.
        """
        try:
            result, error = self.champion.recommend(requests, together, now_ms), None
            failing = sorted(result.broken)
        except Exception as raised:
            result, error, failing = RankResult(), raised, list(range(len(requests)))
        if not failing:
            self._count(len(requests), 0, None)
            return result
        records = dict(enumerate(result.records))
        answered = 0
        for fallback in self.fallbacks():
            found, stages = self._retried(fallback, [requests[index] for index in failing], together, now_ms)
            records |= {index: _shared(one) for index, one in zip(failing, found, strict=True) if one is not None}
            answered += len(found) - found.count(None)
            failing = [index for index, one in zip(failing, found, strict=True) if one is None]
            result.stages = dict(Counter(result.stages) + Counter(stages))
            if not failing:
                break
        if error is not None and failing:
            raise error
        self._count(len(requests) - answered, answered, error)
        return RankResult([records[index] for index in range(len(requests))], result.stages)

    def _retried(
        self, fallback: Recommender, requests: Sequence[RankRequest], together: Together, now_ms: int
    ) -> tuple[list[ShelfRecord | None], dict[str, float]]:
        """A fallback's shelf for each request; None where it fails too."""
        try:
            result = fallback.recommend(requests, together, now_ms)
        except Exception:
            log.debug("a fallback failed at %d shelves", len(requests), exc_info=True)
            return [None] * len(requests), {}
        return [
            None if index in result.broken else record for index, record in enumerate(result.records)
        ], result.stages

    def _count(self, good: int, failed: int, error: Exception | None) -> None:
        """Count the champion's good and failed shelves; calls ``on_failing`` once it fails."""
        if failed:
            self.meter.count("model.failed", failed)
            if not self._logged:  # logged once, counted always
                self._logged = True
                what = "its scores are no numbers" if error is None else "it breaks"
                log.error("%s fails: %s; fallbacks serve", self.champion.scorer.version, what, exc_info=error)
        if self._failing.update(good, failed) and not self._failing_reported:
            self._failing_reported = True
            self.on_failing()

    def _tried(
        self, name: str, arm: _Arm, requests: Sequence[RankRequest], together: Together, now_ms: int
    ) -> tuple[list[ShelfRecord | None], dict[str, float]]:
        """An arm's shelf for each request, None where it is empty or fails, and the time by stage."""
        try:
            result = arm.recommender.recommend(requests, together, now_ms)
        except Exception:
            if not arm.logged:  # logged once, counted always
                log.exception("%s failed at %d shelves", name, len(requests))
                arm.logged = True
            self.meter.count(f"{name}.failed", len(requests))
            return [None] * len(requests), {}
        found = [
            record if record.shelf.items and index not in result.broken else None
            for index, record in enumerate(result.records)
        ]
        failed = found.count(None)
        self.meter.count(f"{name}.shelves", len(requests) - failed)
        self.meter.count(f"{name}.failed", failed)
        return found, result.stages


def _shared(record: ShelfRecord) -> ShelfRecord:
    """The shelf, marked as shared, so that it counts for no arm."""
    return msgspec.structs.replace(record, shelf=msgspec.structs.replace(record.shelf, arm=SHARED))


def _agreement(one: ShelfRecord, other: ShelfRecord) -> tuple[int, int]:
    """How many items are in the first shelf's top, and how many of them are in the other's top too."""
    first, second = ({item.item_id for item in record.shelf.items[:TOP]} for record in (one, other))
    return len(first), len(first & second)
