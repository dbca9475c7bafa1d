"""Monitors of values whose distribution must not change, and of items that the model has not seen before.

Pure: takes shoppers' values and event time.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

from evaluator.experiments.dispersion import hashed
from evaluator.monitoring.detectors.detector import Reading
from evaluator.monitoring.detectors.window import WindowTest
from evaluator.monitoring.monitor import Monitor, MonitorRules
from evaluator.monitoring.rate_monitor import RateMonitor

T = TypeVar("T")

LEAST, LONGEST_MS = 100, 86_400_000
"""A window of independent values ends before it is full, where it has so many shoppers after so long."""

SPACING_MS = 600_000
"""Least time between two values of one shopper for a test that allows for their dependence."""

SHOPPERS = 50_000
FORMAT = 2
"""Of stored references; one of another format is learned anew. Before 2 a shopper could give several values."""

CALM = 2


class WindowMonitor(Monitor, Generic[T]):
    """Values whose distribution must not change; the alarm ends after two windows in a row without a change.

    Where the test takes values as independent, a shopper gives one to the reference and one to each window. Several
    would be alike, so windows would differ by which shoppers they have. A shopper may be in the reference and in a
    window: that makes the two more alike, which raises no false alarms.

    Parameters
    ----------
    test
        Compares windows with the first one.
    every_ms
        Time between a window's end and the beginning of the next one.
    """

    def __init__(self, test: WindowTest[T], every_ms: int = 0) -> None:
        self.test, self.every_ms = test, every_ms
        self._alarm: Reading | None = None
        self._calm = 0
        self._from = self._began = 0
        self._counted: dict[int, int] = {}

    def update(self, shopper: str, ts: int, value: T) -> None:
        """Take one shopper's value at a time (ms) in."""
        if ts >= self._from and self._lasted(ts):
            self.test.close()
            self._end(ts)
        who = hashed(shopper)
        if ts < self._from or self._passed_over(who, ts):
            return
        if not self._counted:
            self._began = ts
        self._counted[who] = ts
        if len(self._counted) > SHOPPERS:
            self._counted = {one: when for one, when in self._counted.items() if ts - when < SPACING_MS}
        self.test.update(value)
        if not self.test.gathered:
            self._end(ts)

    def _lasted(self, ts: int) -> bool:
        """Whether the window has lasted long enough to end before it is full."""
        return self.test.independent and self.test.gathered >= LEAST and ts - self._began >= LONGEST_MS

    def _passed_over(self, who: int, ts: int) -> bool:
        """Whether the shopper's present value is not taken, because of an earlier one."""
        if self.test.independent:
            return who in self._counted
        return ts - self._counted.get(who, -SPACING_MS) < SPACING_MS

    def _end(self, ts: int) -> None:
        """Judge the window that has ended, unless it is the reference."""
        if self.test.independent:
            self._counted.clear()
        if not self.test.windows:
            return
        self._from = ts + self.every_ms
        if self.test.drifted:
            self._alarm, self._calm = self.test.get(), 0
            self.test.reset()
        else:
            self._calm += 1
            if self._calm >= CALM:
                self._alarm = None

    @property
    def drifted(self) -> bool:
        """Whether the alarm is on."""
        return self._alarm is not None

    def get(self) -> Reading:
        """The p-value that raised the alarm, else that of the last window."""
        return self._alarm or self.test.get()

    def save(self) -> dict[str, Any]:
        """The present alarm."""
        alarm = self._alarm
        return {"alarm": [alarm.statistic, alarm.evidence] if alarm else None}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from what :meth:`save` gave."""
        if saved["alarm"] is not None:
            statistic, evidence = saved["alarm"]
            self._alarm = Reading(True, statistic, self.test.significance, dict(evidence))

    def reference(self) -> list[Any] | None:
        """The format and the reference window, once it is complete."""
        reference = self.test.save()
        return [FORMAT, reference] if reference is not None else None

    def restore(self, reference: list[Any]) -> None:
        """Take what :meth:`reference` gave.

        Raises
        ------
        ValueError
            When it is of another format, or does not fit the test.
        """
        if len(reference) != 2 or reference[0] != FORMAT:
            raise ValueError("a reference of another format")
        self.test.load(reference[1])


class NewItemsMonitor(Monitor):
    """The share of items that were not shown before, which must not rise: a rise means a catalogue new to the model.

    The first ``learn`` impressions give the known items, the next ones the share that is new without a change.

    Examples
    --------
    >>> monitor = NewItemsMonitor(MonitorRules(learn=500, run_length=10_000, recover=500))
    >>> for place in range(3_000): monitor.update(f"i{place % 50}", f"u{place}")
    >>> monitor.drifted
    False
    >>> for place in range(500): monitor.update(f"i{place % 60}", f"u{place}")
    >>> monitor.drifted
    True
    """

    def __init__(self, rules: MonitorRules) -> None:
        self.rules = rules
        self._known: set[str] = set()
        self._learned = 0
        self._rate = RateMonitor(rules, rise=True)

    def update(self, item_id: str, shopper: str) -> None:
        """Take one impression in."""
        if self._learned < self.rules.learn:
            self._known.add(item_id)
            self._learned += 1
        else:
            self._rate.update(item_id not in self._known, shopper)

    @property
    def drifted(self) -> bool:
        """Whether the alarm is on."""
        return self._rate.drifted

    def get(self) -> Reading:
        """The current reading of the share; no drift while it learns."""
        return self._rate.get()

    def save(self) -> dict[str, Any]:
        """The share's state."""
        return self._rate.save()

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from what :meth:`save` gave."""
        self._rate.load(saved)

    def reference(self) -> list[Any] | None:
        """The known items, once they are learned."""
        return sorted(self._known) if self._learned >= self.rules.learn else None

    def restore(self, reference: Iterable[Any]) -> None:
        """Take known items."""
        self._known, self._learned = set(reference), self.rules.learn
