"""Values far from all others.

Knows numbers; nothing of fields and of files.
"""

import numpy as np
from numpy.typing import NDArray

RANGES = 3.0
"""So many interquartile ranges of the logarithm beyond the quartiles a value is an outlier (Tukey's "far out")."""

LEAST_RANGE = np.log(4.0)
"""The interquartile range is taken as at least this, so that a column of mostly equal values has outliers only
beyond 64 times its quartiles."""


def bounds(values: NDArray[np.float64]) -> tuple[float, float]:
    """The least and the greatest value that is no outlier, to six digits; infinite where there is no positive value.

    Examples
    --------
    >>> low, high = bounds(np.array([1.0, 2.0, 4.0, 8.0, 16.0]))
    >>> round(low, 4), round(high, 1)
    (0.0312, 512.0)
    """
    positive = values[np.isfinite(values) & (values > 0)]
    if not len(positive):
        return float("-inf"), float("inf")
    low, high = np.percentile(np.log(positive), [25, 75])
    reach = RANGES * max(high - low, LEAST_RANGE)
    least, greatest = (float(f"{np.exp(bound):.6g}") for bound in (low - reach, high + reach))
    return least, greatest
