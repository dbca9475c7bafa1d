"""All click rates under watch, by surface and arm, and the alerts that they raise and take back.

Pure: takes closed impressions and a clock.
"""

from collections.abc import Mapping
from typing import Any

from evaluator.alerts.alert import Alert, Book
from evaluator.drift.detector import Reading
from evaluator.online.attribution import Closed
from evaluator.online.watch import ClickWatch, WatchRules

DROP = "click_rate_drop"


class Watches:
    """Click rates by surface and arm.

    Examples
    --------
    >>> watches = Watches(WatchRules(learn=100, run_length=1_000, recover=50))
    >>> watches.update(Closed("u", "i", "s", "feed", 0, 0), "champion")
    >>> watches.tell(5), Watches.load(watches.rules, watches.save()).save() == watches.save()
    ([], True)
    """

    def __init__(self, rules: WatchRules) -> None:
        self.rules = rules
        self.book = Book()
        self._watches: dict[tuple[str, str], ClickWatch] = {}
        self._changes: list[tuple[tuple[str, str], Reading]] = []

    def update(self, closed: Closed, arm: str) -> None:
        """Take one closed impression in."""
        key = closed.surface, arm
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = ClickWatch(self.rules)
        before = watch.drifted
        watch.update(bool(closed.outcomes))
        if watch.drifted != before:
            self._changes.append((key, watch.get()))

    def tell(self, now: int) -> list[Alert]:
        """Alerts that began or ended since the last call, in their order, and those to be told again."""
        changes, self._changes = self._changes, []
        lasting = [(key, watch.get()) for key, watch in self._watches.items() if watch.drifted]
        told: list[Alert] = []
        for (surface, arm), reading in [*changes, *lasting]:
            alert = Alert(
                name=DROP,
                labels={"surface": surface, "arm": arm},
                state="firing",
                summary=f"Fewer clicks on {surface} shelves of {arm or 'no'} arm than before",
                evidence=reading.evidence | {"statistic": reading.statistic, "limit": reading.limit},
                since=now,
            )
            told += self.book.fire(alert, now) if reading.drifted else self.book.resolve(alert.key, now)
        return told

    def save(self) -> dict[str, Any]:
        """State as plain values; alerts that fire are told again by whoever goes on."""
        return {f"{surface}|{arm}": watch.save() for (surface, arm), watch in self._watches.items()}

    @classmethod
    def load(cls, rules: WatchRules, saved: Mapping[str, Any]) -> "Watches":
        """Go on from what :meth:`save` gave."""
        watches = cls(rules)
        for name, watch in saved.items():
            surface, _, arm = name.partition("|")
            watches._watches[surface, arm] = ClickWatch.load(rules, watch)
        return watches
