"""Monitors of values whose distribution must not change, and of items that the model has not seen before.

Pure: takes shoppers' values and event time.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

from evaluator.monitoring.detectors.detector import Reading
from evaluator.monitoring.detectors.window import WindowTest
from evaluator.monitoring.monitor import Monitor, MonitorRules
from evaluator.monitoring.rate_monitor import RateMonitor

T = TypeVar("T")

SPACING_MS = 600_000
"""Least time between two counted values of one shopper, so that a window is a sample of all shoppers."""

SHOPPERS = 50_000
CALM = 2


class WindowMonitor(Monitor, Generic[T]):
    """Values whose distribution must not change; the alarm ends after two windows in a row without a change.

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
        self._from = 0
        self._counted: dict[str, int] = {}

    def update(self, shopper: str, ts: int, value: T) -> None:
        """Take one shopper's value at a time (ms) in."""
        if ts < self._from or ts - self._counted.get(shopper, -SPACING_MS) < SPACING_MS:
            return
        self._counted[shopper] = ts
        if len(self._counted) > SHOPPERS:
            self._counted = {one: when for one, when in self._counted.items() if ts - when < SPACING_MS}
        windows = self.test.windows
        self.test.update(value)
        if self.test.windows == windows:
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
        """The reference window, once it is complete."""
        return self.test.save()

    def restore(self, reference: list[Any]) -> None:
        """Take a reference window."""
        self.test.load(reference)


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
