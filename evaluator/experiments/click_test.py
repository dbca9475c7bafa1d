"""Whether one arm's click rate differs from another's: evidence and a rate ratio that hold at every look.

Pure: counts, block by block. Knows nothing of who saw what; :mod:`evaluator.experiments.experiment` forms the blocks.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluator.metrics.intervals import Interval

WIDEST = 8.0
"""Rate ratios are looked for between an eighth and eight."""

SCALE = 0.1
"""Log ratio at which the weights fall to half: differences of a tenth show soonest, large ones hardly later."""

STEPS = 100
BEND = 4.0
ALPHA = 0.05

LOG_RATIOS: npt.NDArray[np.float64] = (
    math.log(WIDEST) * np.sinh(BEND * np.linspace(-1, 1, 2 * STEPS + 1)) / math.sinh(BEND)
)
"""The grid of log ratios, symmetric around zero, in steps of 0.3 % there and of 8 % at the ends."""

_mass = np.gradient(LOG_RATIOS) / (1 + (LOG_RATIOS / SCALE) ** 2)
LOG_WEIGHTS: npt.NDArray[np.float64] = np.log(_mass / _mass.sum())


class ClickTest:
    """Evidence that an arm's click rate differs from the others', whatever the traffic does.

    Events come in blocks, such as a minute, each with the impressions and clicks of the arm (``n``, ``k``) and of the
    others (``m``, ``j``). If the arm's rate is ``r`` times the others', the arm's expected share of the
    block's clicks is ``p(r) = n r / (n r + m)``. A block multiplies the evidence for ``r`` by the binomial likelihood
    ratio ``(p(r) / p(1))^k ((1 - p(r)) / (1 - p(1)))^j``; the e-value is the mean of the products over a grid of
    ratios (the method of mixtures, Robbins 1970; for click counts Lindon and Malek 2022, "Anytime-Valid Inference for
    Multinomial Count Data"; e-values in general Grünwald, de Heide and Koolen 2024, "Safe Testing").

    Its mean is at most one where the rates are equal, however rates and shares of the traffic change from block to
    block. For impressions clicked independently, with rates whose mean is ``q`` in the arm and elsewhere, the
    mean of a block's factor is a product of terms ``1 + q_i (x - 1) <= exp(q_i (x - 1))``, with ``x = p(r) / p(1)``
    in the arm and ``x = (1 - p(r)) / (1 - p(1))`` elsewhere; the exponents add up to zero. Given the number of
    clicks it is at most one too: the arm's clicks are then hypergeometric, the factor is convex in them, and Hoeffding
    (1963, theorem 4) has means of convex functions no larger without replacement than with it, where it is one. So the
    product over blocks is a supermartingale, and by Ville's inequality to stop at ``1 / alpha`` errs with probability
    at most alpha however often one looks. The first argument holds for any ratio in place of one, hence
    :meth:`ratio`'s bounds.

    What must hold: a block's end does not depend on its clicks; impressions are clicked independently. Shoppers who
    stay in their arm and differ in how readily they click make counts vary more. Logarithms of the products are
    therefore divided by :attr:`dispersion`, as quasi-likelihoods are (McCullagh 1983). This is right for large
    counts, and with a dispersion of one it is the exact e-value.

    Attributes
    ----------
    impressions, clicks, other_impressions, other_clicks
        Sums over all blocks.
    dispersion
        Variance of the arms' rates as a multiple of that of independent clicks, at least one. The caller sets it,
        from :class:`evaluator.experiments.dispersion.Dispersion`.

    Examples
    --------
    >>> fair, better = ClickTest(), ClickTest()
    >>> for _ in range(100):
    ...     fair.update(1_000, 50, 3_000, 150)
    ...     better.update(1_000, 60, 3_000, 150)
    >>> fair.get() < 1, better.get() > 20
    (True, True)
    >>> ratio, low, high = better.ratio()
    >>> f"{ratio:.2f} in {low:.2f} … {high:.2f}"
    '1.20 in 1.13 … 1.28'
    """

    def __init__(self) -> None:
        self.impressions = self.clicks = self.other_impressions = self.other_clicks = 0
        self.dispersion = 1.0
        self._logs = np.zeros_like(LOG_RATIOS)

    def update(self, impressions: int, clicks: int, other_impressions: int, other_clicks: int) -> None:
        """Take one block in: counts of the arm, and of what it is compared with.

        Raises
        ------
        ValueError
            When there are more clicks than impressions, or fewer than none.
        """
        if not (0 <= clicks <= impressions and 0 <= other_clicks <= other_impressions):
            raise ValueError(f"{clicks} of {impressions} and {other_clicks} of {other_impressions} are no clicks")
        self._count(impressions, clicks, other_impressions, other_clicks)
        if impressions and other_impressions and clicks + other_clicks:
            share = impressions / (impressions + other_impressions)
            spread = np.log1p(share * np.expm1(LOG_RATIOS))
            self._logs += clicks * LOG_RATIOS - (clicks + other_clicks) * spread

    def merge(self, other: "ClickTest") -> "ClickTest":
        """The sum of tests over disjoint blocks or shoppers, as if one test had taken all blocks in.

        The larger dispersion is kept. Adding both :meth:`log10` is valid too, but weaker: each has its own ratio.
        """
        found = ClickTest()
        found.dispersion = max(self.dispersion, other.dispersion)
        for one in (self, other):
            found._count(one.impressions, one.clicks, one.other_impressions, one.other_clicks)
            found._logs = found._logs + one._logs
        return found

    def log10(self) -> float:
        """Decimal logarithm of the e-value; never overflows."""
        return self._log() / math.log(10)

    def get(self) -> float:
        """The e-value: without a difference, it reaches 20 in at most one of 20 experiments."""
        return math.exp(min(self._log(), 700.0))

    def ratio(self) -> Interval:
        """The most likely ratio of the rates, and bounds that contain it at all looks in 95 % of experiments. The ratio
        has to be constant, the rates need not be. The bounds are the next grid points outside; 0 or infinity beyond
        the last."""
        inside = np.flatnonzero(self._logs / self.dispersion > self._log() + math.log(ALPHA))
        low, high = int(inside[0]) - 1, int(inside[-1]) + 1
        return Interval(
            float(np.exp(LOG_RATIOS[self._logs.argmax()])) if self.clicks + self.other_clicks else math.nan,
            float(np.exp(LOG_RATIOS[low])) if low >= 0 else 0.0,
            float(np.exp(LOG_RATIOS[high])) if high < len(LOG_RATIOS) else math.inf,
        )

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "counts": [self.impressions, self.clicks, self.other_impressions, self.other_clicks],
            "dispersion": self.dispersion,
            "widest": WIDEST,
            "logs": self._logs.tolist(),
        }

    @classmethod
    def load(cls, saved: Mapping[str, Any]) -> "ClickTest":
        """Go on from what :meth:`save` gave.

        Raises
        ------
        ValueError
            When it was saved over another grid of ratios.
        """
        if len(saved["logs"]) != len(LOG_RATIOS) or saved["widest"] != WIDEST:
            raise ValueError(
                f"evidence over {len(saved['logs'])} ratios up to {saved['widest']} was saved, "
                f"{len(LOG_RATIOS)} up to {WIDEST} are in use: begin the experiment anew"
            )
        found = cls()
        found._count(*saved["counts"])
        found.dispersion = float(saved["dispersion"])
        found._logs = np.array(saved["logs"], dtype=np.float64)
        return found

    def _count(self, impressions: int, clicks: int, other_impressions: int, other_clicks: int) -> None:
        self.impressions += impressions
        self.clicks += clicks
        self.other_impressions += other_impressions
        self.other_clicks += other_clicks

    def _log(self) -> float:
        return float(np.logaddexp.reduce(LOG_WEIGHTS + self._logs / self.dispersion))
