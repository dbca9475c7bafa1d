"""What a policy does where: action probabilities, counted from its own log.

Pure: takes pairs of a place and an action.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable


class Frequencies:
    """Probabilities of actions by place, such as items by position, as frequencies of a log.

    Right for policies that do not look at who is there, as Thompson sampling without context; of others it is their
    mean over the log's visitors.

    Examples
    --------
    >>> policy = Frequencies()
    >>> for place, action in [(0, "a"), (0, "a"), (0, "b"), (1, "b")]: policy.update(place, action)
    >>> policy.get(0), policy.get(7)
    ({'a': 0.6666666666666666, 'b': 0.3333333333333333}, {})
    """

    def __init__(self) -> None:
        self._counts: defaultdict[Hashable, Counter[Hashable]] = defaultdict(Counter)

    def update(self, place: Hashable, action: Hashable) -> None:
        """Count one decision."""
        self._counts[place][action] += 1

    def get(self, place: Hashable) -> dict[Hashable, float]:
        """Probability of each action there; empty where the log has none."""
        counts = self._counts.get(place, Counter())
        total = counts.total()
        return {action: count / total for action, count in counts.items()}
