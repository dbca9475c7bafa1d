"""One running experiment on attributed impressions: counts by arm, and evidence that is valid at any moment.

Pure: takes attributed impressions in the order in which they are attributed; knows nothing of how arms are assigned.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evaluator.experiments.click_test import ClickTest
from evaluator.experiments.dispersion import Dispersion, of_ratio
from evaluator.experiments.evalue import EValue
from evaluator.metrics.impression import AttributedImpression

BLOCK_MS = 60_000
"""A minute. A block has to be short compared with the time in which shares and rates change; shorter is never wrong."""

LEAST = 100
"""Least impressions of a block; it lasts longer where traffic is thin. A block of few views mostly has one arm only,
and then gives no evidence; a block of ten views gives nine tenths of the evidence."""

SEEN_BITS = 2**20
SEEN_HASHES = 4
PIECE = 64
"""Bytes of the filter that are kept together."""

PIECES = SEEN_BITS // 8 // PIECE


@dataclass(frozen=True, slots=True)
class ArmReport:
    """The figures of one arm.

    Attributes
    ----------
    impressions, clicks
        Attributed impressions so far, and those with an outcome.
    shoppers
        Distinct shoppers that saw an impression.
    log10_clicks
        Evidence that its click rate is not the control's; 0 for the control itself. 1.3 is odds of 20 to 1.
    log10_traffic
        Evidence that its share of the shoppers is not the planned one. The experiment is then broken, and its clicks
        prove nothing.
    """

    impressions: int
    clicks: int
    shoppers: int
    log10_clicks: float
    log10_traffic: float


class Experiment:
    """Counts by arm, evidence on clicks against the first arm, and the check for sample-ratio mismatch.

    Clicks are compared in blocks of event time; a late one counts in the open block. Evidence is that of the ended
    blocks, corrected for the dispersion between shoppers. A shopper is counted once, in the arm seen first;
    a Bloom filter of 128 KiB holds who was seen. A new shopper whom the filter takes for a known one (1 % at 100,000
    shoppers, half of them at 500,000) is not counted, whatever the arm, so the check stays exact.

    Several objects may share one experiment, each with its own shoppers; :meth:`merge` adds them up.

    Parameters
    ----------
    shares
        Planned share of the shoppers by arm, summing to one; the first is the control. Other arms are ignored.
        Other shares are another experiment.
    block_ms
        Length of a block, if it has :data:`LEAST` impressions by then.

    Examples
    --------
    >>> experiment = Experiment({"champion": 0.9, "canary": 0.1})
    >>> experiment.update(AttributedImpression("u1", "i", "s", "feed", 0, ts=1_000), "champion")
    >>> experiment.update(AttributedImpression("u2", "i", "t", "feed", 0, ts=2_000), "canary")
    >>> experiment.get()["canary"].shoppers, Experiment.load(experiment.save()).get() == experiment.get()
    (1, True)
    """

    def __init__(self, shares: Mapping[str, float], block_ms: int = BLOCK_MS) -> None:
        if len(shares) < 2 or min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-9:
            raise ValueError(f"an experiment has two arms or more with shares that sum to one, not {dict(shares)}")
        self.shares, self.block_ms = dict(shares), block_ms
        self.control, *others = self.shares
        self.clicks = {arm: ClickTest() for arm in others}
        self._counts = {arm: [0, 0, 0] for arm in self.shares}
        self._block = {arm: [0, 0] for arm in self.shares}
        self._spread = {arm: Dispersion() for arm in self.shares}
        self._open = 0
        self._seen = bytearray(SEEN_BITS // 8)
        self._changed: set[int] = set()

    def update(self, impression: AttributedImpression, arm: str) -> None:
        """Take one attributed impression in."""
        if arm not in self.shares:
            return
        moment = impression.ts // self.block_ms
        if moment > self._open and not 0 < sum(shown for shown, _ in self._block.values()) < LEAST:
            self._end()
            self._open = moment
        counts, block, clicked = self._counts[arm], self._block[arm], bool(impression.outcomes)
        counts[0] += 1
        counts[1] += clicked
        block[0] += 1
        block[1] += clicked
        digest = _digest(impression.shopper)
        self._spread[arm].update(digest[-1], clicked)
        counts[2] += self._is_new(digest)

    def meet(self, shopper: str, arm: str) -> None:
        """Count a shopper of an arm who saw another arm's shelf; only the traffic check uses it."""
        self._counts[arm][2] += self._is_new(_digest(shopper))

    def get(self) -> dict[str, ArmReport]:
        """The figures of each arm; changes nothing."""
        everyone = sum(counts[2] for counts in self._counts.values())
        found = {}
        for arm, (impressions, clicks, shoppers) in self._counts.items():
            traffic = EValue(self.shares[arm])
            traffic.update(shoppers, everyone - shoppers)
            evidence = self.clicks[arm].log10() if arm in self.clicks else 0.0
            found[arm] = ArmReport(impressions, clicks, shoppers, evidence, traffic.log() / math.log(10))
        return found

    def merge(self, other: "Experiment") -> "Experiment":
        """The sum of two experiments with disjoint shoppers, for reading only: the filter is not merged.

        Raises
        ------
        ValueError
            When the other has other shares or blocks.
        """
        if (self.shares, self.block_ms) != (other.shares, other.block_ms):
            raise ValueError("these are two experiments")
        found = Experiment(self.shares, self.block_ms)
        for arm, counts in found._counts.items():
            counts[:] = map(sum, zip(self._counts[arm], other._counts[arm], strict=True))
            found._spread[arm] = self._spread[arm].merge(other._spread[arm])
        for arm in found.clicks:
            found.clicks[arm] = self.clicks[arm].merge(other.clicks[arm])
        found._disperse()
        return found

    def save(self) -> dict[str, Any]:
        """The state as plain values, without the filter."""
        return {
            "shares": list(self.shares.items()),
            "clicks": {arm: test.save() for arm, test in self.clicks.items()},
            "counts": {arm: list(counts) for arm, counts in self._counts.items()},
            "block": {arm: list(counts) for arm, counts in self._block.items()},
            "spread": {arm: spread.save() for arm, spread in self._spread.items()},
            "block_ms": self.block_ms,
            "open": self._open,
        }

    def seen(self) -> dict[int, bytes]:
        """Pieces of the filter, by number, that have changed since the last call."""
        changed, self._changed = self._changed, set()
        return {number: bytes(self._seen[number * PIECE : (number + 1) * PIECE]) for number in changed}

    @classmethod
    def load(cls, saved: Mapping[str, Any], seen: Mapping[int, bytes] | None = None) -> "Experiment":
        """Go on from what :meth:`save` and all of :meth:`seen` gave.

        Raises
        ------
        ValueError
            When the pieces have another size.
        """
        found = cls(dict(saved["shares"]), int(saved["block_ms"]))
        found.clicks = {arm: ClickTest.load(test) for arm, test in saved["clicks"].items()}
        found._counts = {arm: list(counts) for arm, counts in saved["counts"].items()}
        found._block = {arm: list(counts) for arm, counts in saved["block"].items()}
        found._spread = {arm: Dispersion.load(spread) for arm, spread in saved["spread"].items()}
        found._open = int(saved["open"])
        for number, piece in (seen or {}).items():
            if not 0 <= number < PIECES or len(piece) != PIECE:
                raise ValueError(f"{len(piece)} bytes are no piece {number} of the filter")
            found._seen[number * PIECE : (number + 1) * PIECE] = piece
        return found

    def _end(self) -> None:
        """End the open block."""
        for arm, test in self.clicks.items():
            test.update(*self._block[arm], *self._block[self.control])
        self._disperse()
        self._block = {arm: [0, 0] for arm in self.shares}

    def _disperse(self) -> None:
        """Correct the evidence for the dispersion between shoppers."""
        for arm, test in self.clicks.items():
            test.dispersion = of_ratio(self._spread[arm], test.clicks, self._spread[self.control], test.other_clicks)

    def _is_new(self, digest: bytes) -> bool:
        """Whether a shopper is certainly new; adds the shopper to the filter."""
        new = False
        for start in range(0, 4 * SEEN_HASHES, 4):
            bit = int.from_bytes(digest[start : start + 4], "little") % SEEN_BITS
            if not self._seen[bit >> 3] >> (bit & 7) & 1:
                self._seen[bit >> 3] |= 1 << (bit & 7)
                self._changed.add((bit >> 3) // PIECE)
                new = True
        return new


def _digest(shopper: str) -> bytes:
    """Bytes that give a shopper's bits of the filter, and the shopper's group."""
    return hashlib.blake2b(shopper.encode("utf-8", "surrogatepass"), digest_size=4 * SEEN_HASHES + 1).digest()
