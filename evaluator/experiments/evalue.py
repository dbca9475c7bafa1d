"""Whether one arm gets more than its share: an e-value that is valid at every look.

Pure: counts. The mixture of likelihood ratios with a beta prior (Robbins 1970; as used for sequential A/B tests by
Lindon and Malek 2022, "Anytime-Valid Inference for Multinomial Count Data").
"""

import math

from scipy.special import betaln

PRIOR = 200.0
"""Strength of the prior around the expected share, in events: differences of a tenth show soonest."""


class EValue:
    """Evidence against the null that each event falls into the arm with the arm's share as probability.

    With clicks as events and the arm's share of the traffic it is the test of click rates: if both arms are equally
    good, each click comes from the arm with that probability. With shoppers as events it is the check for
    sample-ratio mismatch. Under the null its mean is at most one at any stopping time, so to stop at ``1 / alpha``
    errs with probability at most alpha however often one looks (Ville's inequality).

    Parameters
    ----------
    share
        The arm's share of the traffic, in 0..1, exclusive.
    prior
        Pseudo-events of the beta prior around the share.

    Examples
    --------
    >>> fair, better = EValue(0.5), EValue(0.5)
    >>> fair.update(500, 500); better.update(600, 400)
    >>> fair.get() < 1, better.get() > 20
    (True, True)
    """

    def __init__(self, share: float, prior: float = PRIOR) -> None:
        if not 0 < share < 1:
            raise ValueError(f"the arm's share is {share}; it must lie between 0 and 1")
        self.share, self.prior = share, prior
        self.inside = self.outside = 0

    def update(self, inside: int, outside: int) -> None:
        """Count events in the arm, and in all others."""
        if inside < 0 or outside < 0:
            raise ValueError("events cannot be taken back")
        self.inside += inside
        self.outside += outside

    def merge(self, other: "EValue") -> "EValue":
        """The sum of both counts."""
        if (self.share, self.prior) != (other.share, other.prior):
            raise ValueError("these tests ask different questions")
        found = EValue(self.share, self.prior)
        found.update(self.inside + other.inside, self.outside + other.outside)
        return found

    def log(self) -> float:
        """Natural logarithm of the e-value; never overflows."""
        a, b = self.prior * self.share, self.prior * (1 - self.share)
        mixed = float(betaln(a + self.inside, b + self.outside) - betaln(a, b))
        return mixed - self.inside * math.log(self.share) - self.outside * math.log1p(-self.share)

    def get(self) -> float:
        """The e-value: how many times likelier the events are under other shares than under the arm's own."""
        return math.exp(min(self.log(), 700.0))

    @property
    def p_value(self) -> float:
        """A p-value that is valid at this look and at every other: the inverse of the e-value, at most one."""
        return min(1.0, math.exp(-self.log()))
