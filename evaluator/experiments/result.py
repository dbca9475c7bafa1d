"""The result of a finished experiment, from counts: the click difference with its interval, and its standard error.

Pure. Unlike the e-value, which holds at every look, the interval is that of one look planned beforehand: an experiment
that stops as soon as it is sure ends with a difference that is a little too large.
"""

import math

from evaluator.experiments.interleaving import Preference
from evaluator.metrics.intervals import Z95
from models.store.experiments import Arm, Online

HALF = 0.5
"""Added to all counts where an arm has no click, so that a logarithm exists (Haldane 1956)."""


def result(champion: Arm, challenger: Arm, log10_evalue: float, dispersion: float = 1.0) -> Online | None:
    """The result of two arms; None where one of them has no impression.

    The logarithm of the rate ratio is taken as normal. Its variance is the sum of one over each arm's clicks, which is
    that of clicks at low rates, times the dispersion between shoppers.

    Parameters
    ----------
    dispersion
        Variance of the arms' rates as a multiple of that of independent clicks.

    Examples
    --------
    >>> found = result(Arm(20_000, 1_600), Arm(2_000, 200), log10_evalue=1.5)
    >>> f"{found.difference:.3f} ({found.low:.3f} to {found.high:.3f}), log ratio {found.log_ratio:.3f}"
    '0.020 (0.006 to 0.036), log ratio 0.223'
    >>> result(Arm(100, 5), Arm(0, 0), 0.0) is None
    True
    """
    if not champion.impressions or not challenger.impressions:
        return None
    add = 0.0 if champion.clicks and challenger.clicks else HALF
    own, base = ((arm.clicks + add) / (arm.impressions + add) for arm in (challenger, champion))
    log_ratio = math.log(own / base)
    error = math.sqrt(dispersion * (1 / (challenger.clicks + add) + 1 / (champion.clicks + add)))
    low, high = (base * math.expm1(min(log_ratio + side * Z95 * error, math.log(1 / base))) for side in (-1, 1))
    return Online(
        champion=champion,
        challenger=challenger,
        difference=challenger.clicks / challenger.impressions - champion.clicks / champion.impressions,
        low=low,
        high=high,
        log_ratio=log_ratio,
        error=error,
        log10_evalue=log10_evalue,
    )


def of_preference(preference: Preference) -> Online | None:
    """The result of an interleaving in which the challenger is the team ``a``; the arms' clicks are shelves won.

    Examples
    --------
    >>> preference = Preference()
    >>> for credit in [1] * 60 + [-1] * 20 + [0] * 20: preference.update(credit)
    >>> found = of_preference(preference)
    >>> found.challenger, round(found.difference, 2), found.low > 0, found.log10_evalue > 2
    (Arm(impressions=100, clicks=60), 0.4, True, True)
    """
    shelves = preference.wins + preference.losses + preference.ties
    arms = (Arm(shelves, preference.losses), Arm(shelves, preference.wins))
    return result(*arms, log10_evalue=preference.evidence.log() / math.log(10))
