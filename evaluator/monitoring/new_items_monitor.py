"""Items that were not there before, under watch: a catalogue that the model has not seen.

Pure: items in the order in which they were shown.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from evaluator.monitoring.detectors.detector import Reading
from evaluator.monitoring.monitor import Monitor, MonitorRules
from evaluator.monitoring.rate_monitor import RateMonitor


class NewItemsMonitor(Monitor):
    """The share of items that were not there before, which must not rise: a catalogue that the model has not seen.

    The first ``learn`` impressions say which items there are, the next ones how large a share is new all the same.

    Examples
    --------
    >>> watch = NewItemsMonitor(MonitorRules(learn=500, run_length=10_000, recover=500))
    >>> for place in range(3_000): watch.update(f"i{place % 50}", f"u{place}")
    >>> watch.drifted
    False
    >>> for place in range(500): watch.update(f"i{place % 60}", f"u{place}")
    >>> watch.drifted
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
        """Where the share stands; while it learns, nothing drifts."""
        return self._rate.get()

    def save(self) -> dict[str, Any]:
        """The share's state."""
        return self._rate.save()

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from what :meth:`save` gave."""
        self._rate.load(saved)

    def reference(self) -> list[Any] | None:
        """The items there were, once they are learned."""
        return sorted(self._known) if self._learned >= self.rules.learn else None

    def restore(self, reference: Iterable[Any]) -> None:
        """Know these items."""
        self._known, self._learned = set(reference), self.rules.learn
