"""The arms: which recommender answers whom. The champion, a challenger on trial, a model held back for comparison.

Splits a batch's asks by shopper and puts the answers together again. What breaks in a model ends here, be it the
champion: no shopper goes without a shelf for it, and no event is to blame. Knows recommenders; nothing of where their
models come from, nor of what is concluded from an arm's clicks.
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
from streams.ranking.recommender import RankRequest, RankResult, Recommender
from streams.telemetry.meter import Meter

WINDOW, LEAST, SHARE = 200, 20, 0.1
"""More than this share of so many last shelves, of which there must be so many at least, and the model fails."""


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
        """Take what became of some shelves; whether the model fails now."""
        for broken in (*[False] * good, *[True] * failed):
            if len(self._last) == WINDOW:
                self._failed -= self._last[0]
            self._last.append(broken)
            self._failed += broken
        return len(self._last) >= LEAST and self._failed > SHARE * len(self._last)


log = logging.getLogger(__name__)
Together = Mapping[str, Sequence[str]]

SHADOWED = 4
"""Shelves at most that a shadow makes at a time."""

PAUSE, LONGEST_PAUSE_S = 100, 10.0
"""A shadow rests so many times as long as it took, so that it takes a hundredth of a core; but no longer than this."""

TOP = 10


@dataclass(slots=True, eq=False)
class _Arm:
    """Another arm than the champion's: who answers, which share of the shoppers, and by which salt they are dealt."""

    recommender: Recommender
    share: float
    salt: str
    told: bool = False


class Arms:
    """Answers asks as one recommender would, each shopper's by that of their arm.

    What all shoppers see alike is the champion's.

    Parameters
    ----------
    champion
        Answers whoever is in no other arm, and whatever another arm fails at.
    meter
        Counts shelves, failures and how far a shadow agrees with the champion; ``docs/metrics.md`` lists the names.

    Attributes
    ----------
    spares
        Gives who answers, one after the other, what the champion fails at.
    give_up
        Called once a champion fails at too many shelves, as :class:`streams.ranking.arms.Failing` counts.
    """

    def __init__(self, champion: Recommender, meter: Meter) -> None:
        self.champion, self.meter = champion, meter
        self.spares: Callable[[], Iterable[Recommender]] = tuple
        self.give_up: Callable[[], None] = lambda: None
        self._others: dict[str, _Arm] = {}
        self._begin()
        self._refreshed_ms = 0
        self._rested = 0.0

    def challenge(self, recommender: Recommender | None, share: float = 0.0, salt: str = "") -> None:
        """Put a challenger on trial; with None, end the trial. Called on the event loop, so between two batches.

        Parameters
        ----------
        share
            Of the shoppers not held back; with none the challenger is a shadow: it answers, and nobody sees it.
        salt
            Deals shoppers anew for each challenger: its version's id.
        """
        self._set(CANARY, recommender, share, salt)

    def hold_back(self, recommender: Recommender | None, share: float) -> None:
        """Let a share of the shoppers, always the same ones, be answered by a model that stays; with None, by nobody
        else than others are."""
        self._set(HOLDBACK, recommender, share, HOLDBACK)

    def recommend(self, asks: Sequence[RankRequest], together: Together, now_ms: int) -> RankResult:
        """Make all shelves of a batch, in the order of the asks; times by stage are sums over the arms."""
        at = self._split(asks)
        if at.keys() <= {CHAMPION}:
            return self._served(asks, together, now_ms)
        mine = at.pop(CHAMPION, [])
        lent: set[int] = set()
        records: dict[int, ShelfRecord] = {}
        stages: Counter[str] = Counter()
        for name, places in at.items():
            found, times = self._tried(name, self._others[name], [asks[here] for here in places], together, now_ms)
            full = {here: record for here, record in zip(places, found, strict=True) if record is not None}
            records |= full
            lent |= set(places) - full.keys()
            stages.update(times)
        if rest := sorted([*mine, *lent]):
            made = self._served([asks[here] for here in rest], together, now_ms)
            records |= zip(rest, made.records, strict=True)
            stages.update(made.stages)
        return RankResult(
            [_shared(records[here]) if here in lent else records[here] for here in range(len(asks))], dict(stages)
        )

    def shadow(self, asks: Sequence[RankRequest], together: Together, now_ms: int) -> None:
        """Let a challenger without a share answer a few of a batch's asks too, and compare; nothing is kept of it.

        Called when the batch's shelves are written, so that they do not wait for it; most calls do nothing.
        """
        arm, begun = self._others.get(CANARY), time.perf_counter()
        if arm is None or arm.share > 0 or begun < self._rested:
            return
        some = [ask for ask in asks if ask.shopper_id is not None][:SHADOWED]
        if not some:
            return
        found, times = self._tried("shadow", arm, some, together, now_ms)
        if None not in found:
            usual = self._served(some, together, now_ms)
            for one, other in zip(usual.records, found, strict=True):
                assert other is not None
                top, both = _agreement(one, other)
                self.meter.count("shadow.top", top)
                self.meter.count("shadow.overlap", both)
            for name, stages in (("challenger", times), ("champion", usual.stages)):
                # The champion has just encoded these queries, so that is left out.
                self.meter.time(f"shadow.{name}", sum(stages.values()) - stages["encode"])
        ended = time.perf_counter()
        self._rested = ended + min(PAUSE * (ended - begun), LONGEST_PAUSE_S)

    def serve(self, catalogue: Catalog, scorer: Scorer, queries: Queries, now_ms: int) -> None:
        """Put another champion in place, between two batches."""
        self.champion.serve(catalogue, scorer, queries, now_ms)
        self._begin()

    def refresh(self, now_ms: int) -> None:
        """Take what is in demand now as the popularity of items, in all arms."""
        self._refreshed_ms = now_ms
        for recommender in (self.champion, *(arm.recommender for arm in self._others.values())):
            recommender.refresh(now_ms)

    def _set(self, name: str, recommender: Recommender | None, share: float, salt: str) -> None:
        others = {one: arm for one, arm in self._others.items() if one != name}
        if recommender is not None:
            recommender.arm = name
            recommender.refresh(self._refreshed_ms)
            others[name] = _Arm(recommender, share, salt)
        # In the order in which a shopper's arm is looked for.
        self._others = {one: others[one] for one in (HOLDBACK, CANARY) if one in others}

    def _split(self, asks: Sequence[RankRequest]) -> dict[str, list[int]]:
        """The places of each arm's asks."""
        found: dict[str, list[int]] = {}
        if any(arm.share > 0 for arm in self._others.values()):
            for here, ask in enumerate(asks):
                found.setdefault(self._of(ask), []).append(here)
        return found

    def _of(self, ask: RankRequest) -> str:
        """The arm that answers."""
        if ask.shopper_id is not None:
            for name, arm in self._others.items():
                if assign(ask.shopper_id, arm.salt) < arm.share:
                    return name
        return CHAMPION

    def _begin(self) -> None:
        """Nothing is known yet of how the champion does."""
        self._failing, self._told, self._given_up = Failing(), False, False

    def _served(self, asks: Sequence[RankRequest], together: Together, now_ms: int) -> RankResult:
        """What the champion makes of each ask; where that is nothing to be shown, what the first spare that can makes.

        What all raise at is the asks' fault, and raised.
        """
        try:
            made, error = self.champion.recommend(asks, together, now_ms), None
            left = sorted(made.broken)
        except Exception as raised:
            made, error, left = RankResult(), raised, list(range(len(asks)))
        if not left:
            self._count(len(asks), 0, None)
            return made
        records = dict(enumerate(made.records))
        answered = 0
        for spare in self.spares():
            found, stages = self._asked(spare, [asks[here] for here in left], together, now_ms)
            records |= {here: _shared(one) for here, one in zip(left, found, strict=True) if one is not None}
            answered += len(found) - found.count(None)
            left = [here for here, one in zip(left, found, strict=True) if one is None]
            made.stages = dict(Counter(made.stages) + Counter(stages))
            if not left:
                break
        if error is not None and left:
            raise error
        self._count(len(asks) - answered, answered, error)
        return RankResult([records[here] for here in range(len(asks))], made.stages)

    def _asked(
        self, spare: Recommender, asks: Sequence[RankRequest], together: Together, now_ms: int
    ) -> tuple[list[ShelfRecord | None], dict[str, float]]:
        """What a spare makes of each ask, None where it fails too."""
        try:
            made = spare.recommend(asks, together, now_ms)
        except Exception:
            log.debug("a spare failed at %d shelves", len(asks), exc_info=True)
            return [None] * len(asks), {}
        return [None if here in made.broken else record for here, record in enumerate(made.records)], made.stages

    def _count(self, good: int, failed: int, error: Exception | None) -> None:
        """Take how the champion did; once it fails, it is given up."""
        if failed:
            self.meter.count("model.failed", failed)
            if not self._told:  # said once, counted always
                self._told = True
                what = "its scores are no numbers" if error is None else "it breaks"
                log.error("%s fails: %s; others answer", self.champion.scorer.version, what, exc_info=error)
        if self._failing.update(good, failed) and not self._given_up:
            self._given_up = True
            self.give_up()

    def _tried(
        self, name: str, arm: _Arm, asks: Sequence[RankRequest], together: Together, now_ms: int
    ) -> tuple[list[ShelfRecord | None], dict[str, float]]:
        """What an arm makes of each ask, None where that is nothing to be shown, and the time by stage."""
        try:
            made = arm.recommender.recommend(asks, together, now_ms)
        except Exception:
            if not arm.told:  # said once, counted always
                log.exception("%s failed at %d shelves", name, len(asks))
                arm.told = True
            self.meter.count(f"{name}.failed", len(asks))
            return [None] * len(asks), {}
        found = [
            record if record.shelf.items and here not in made.broken else None
            for here, record in enumerate(made.records)
        ]
        failed = found.count(None)
        self.meter.count(f"{name}.shelves", len(asks) - failed)
        self.meter.count(f"{name}.failed", failed)
        return found, made.stages


def _shared(record: ShelfRecord) -> ShelfRecord:
    """A shelf that counts for no arm."""
    return msgspec.structs.replace(record, shelf=msgspec.structs.replace(record.shelf, arm=SHARED))


def _agreement(one: ShelfRecord, other: ShelfRecord) -> tuple[int, int]:
    """Of how many first items, and how many of those stand among the other's first items too."""
    first, second = ({item.item_id for item in record.shelf.items[:TOP]} for record in (one, other))
    return len(first), len(first & second)
