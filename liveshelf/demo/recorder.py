"""Records what happened in a simulated shop, second by second, and its events. Pure: values in, rates out.

The shop's thread writes, others read: each change is one step of the interpreter.
"""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import reduce
from typing import Literal, NamedTuple

from evaluator.metrics.intervals import Interval, ratio, wilson
from liveshelf.simulation.truth import Rates

Kind = Literal[
    "chapter",
    "drift",
    "alarm",
    "trigger",
    "gate",
    "too few examples",
    "refused",
    "canary",
    "promoted",
    "rolled back",
    "gave up",
    "recovered",
]


class Mark(NamedTuple):
    """An event, with its time in seconds since the shop opened."""

    at_s: float
    kind: Kind
    text: str


NOTHING = Rates(0.0, 0.0, 0.0)


@dataclass
class Second:
    """Sums over the visits in a second: impressions and clicks by the shelf's surface; and, of a sample of the visits,
    by the page that was wanted, the expected clicks per impression, and how many visits these are of."""

    impressions: Counter[str] = field(default_factory=Counter)
    clicks: Counter[str] = field(default_factory=Counter)
    expected: dict[str, Rates] = field(default_factory=dict)
    sampled: Counter[str] = field(default_factory=Counter)

    def rates(self, surface: str | None = None) -> Rates:
        """The expected clicks per impression, summed; of all pages unless one is named."""
        some = [rates for page, rates in self.expected.items() if surface in (None, page)]
        return reduce(_plus, some, NOTHING)

    def expect(self, surface: str, rates: Rates, visits: int = 1) -> None:
        """Add rates."""
        self.expected[surface] = _plus(self.expected.get(surface, NOTHING), rates)
        self.sampled[surface] += visits


@dataclass
class Recorder:
    """The record of a run.

    Examples
    --------
    >>> recorder = Recorder()
    >>> for second in range(10):
    ...     recorder.visit(second + 0.5, "feed", impressions=10, clicks=second % 2)
    ...     recorder.expect(second + 0.5, Rates(shown=0.06, oracle=0.10, random=0.02))
    >>> recorder.ctr(0, 10).rate, round(recorder.of_oracle(0, 10), 3), round(recorder.of_chance(0, 10), 3)
    (0.05, 0.6, 0.2)
    """

    seconds: defaultdict[int, Second] = field(default_factory=lambda: defaultdict(Second))
    marks: list[Mark] = field(default_factory=list)

    def visit(self, at_s: float, surface: str, impressions: int, clicks: int) -> None:
        """Count a visit."""
        second = self.seconds[int(at_s)]
        second.impressions[surface] += impressions
        second.clicks[surface] += clicks

    def expect(self, at_s: float, rates: Rates, surface: str = "") -> None:
        """Add the expected click rates of a visit to a page, before it takes place."""
        self.seconds[int(at_s)].expect(surface, rates)

    def mark(self, at_s: float, kind: Kind, text: str) -> None:
        """Record an event."""
        self.marks.append(Mark(at_s, kind, text))

    def first(self, kind: Kind, after_s: float = 0.0) -> Mark | None:
        """The first event of a kind from a time on."""
        return next((mark for mark in self.marks if mark.kind == kind and mark.at_s >= after_s), None)

    def ctr(self, since_s: float, until_s: float, surface: str | None = None) -> Interval:
        """Clicks per impression from one time until before another, with Wilson's 95 % interval, as if impressions were
        independent."""
        some = self._between(since_s, until_s)
        return wilson(_of(some.clicks, surface), _of(some.impressions, surface))

    def of_oracle(self, since_s: float, until_s: float, surface: str | None = None) -> float:
        """Expected clicks of the shown shelves, as a share of the best possible; NaN if nothing was shown."""
        some = self._between(since_s, until_s).rates(surface)
        return some.shown / some.oracle if some.oracle else math.nan

    def of_chance(self, since_s: float, until_s: float, surface: str | None = None) -> float:
        """Expected clicks of random shelves, as a share of the best possible; NaN if nothing was shown."""
        some = self._between(since_s, until_s).rates(surface)
        return some.random / some.oracle if some.oracle else math.nan

    def share(self, since_s: float, until_s: float, surface: str | None = None) -> Interval:
        """`of_oracle` with its 95 % interval, whose bounds are NaN with fewer than two seconds of visits.

        Seconds count as independent, which holds where a shopper comes at most about once in the time.
        """
        of = (self.seconds[second] for second in range(int(since_s), int(until_s)) if second in self.seconds)
        some = [rates for second in of if (rates := second.rates(surface)).oracle]
        return ratio([rates.shown for rates in some], [rates.oracle for rates in some])

    def sampled(self, since_s: float, until_s: float, surface: str | None = None) -> int:
        """The number of visits whose expected rates were recorded."""
        return _of(self._between(since_s, until_s).sampled, surface)

    def impressions(self, since_s: float, until_s: float, surface: str | None = None) -> int:
        """The number of impressions."""
        return _of(self._between(since_s, until_s).impressions, surface)

    def _between(self, since_s: float, until_s: float) -> Second:
        found = Second()
        for second in range(int(since_s), int(until_s)):
            if (one := self.seconds.get(second)) is not None:
                found.impressions += one.impressions
                found.clicks += one.clicks
                for page, rates in one.expected.items():
                    found.expect(page, rates, one.sampled[page])
        return found


def _of(counts: Counter[str], surface: str | None) -> int:
    return counts.total() if surface is None else counts[surface]


def _plus(one: Rates, other: Rates) -> Rates:
    return Rates(one.shown + other.shown, one.oracle + other.oracle, one.random + other.random)
