"""The times in a history, before it is replayed: its span, its longest pause, and how they compare with the present.

Pure: takes keys, times and the present time; returns numbers and messages. Knows nothing of files; of Kafka it knows
only how keys map to partitions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from aiokafka.partitioner import murmur2

from evaluator.config import EvaluatorConfig
from streams.events.schema import iso


class TimeProfile:
    """The first and the newest time of a history, and the longest pause in one of its partitions.

    Parameters
    ----------
    partitions
        The number of partitions that the events are sent to, by their keys.

    Examples
    --------
    >>> profile = TimeProfile(partitions=1)
    >>> for ts in (1_000, 5_000, 4_000, 61_000): profile.update(b"u1", ts)
    >>> profile.count, profile.span_ms, profile.quiet_ms
    (4, 60000, 56000)
    """

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.count = self.first_ms = self.newest_ms = self.quiet_ms = 0
        self._newest: dict[int, int] = {}

    def update(self, key: bytes, time_ms: int) -> None:
        """Add the key and time of the next event."""
        if not self.count:
            self.first_ms = time_ms
        self.count += 1
        self.newest_ms = max(self.newest_ms, time_ms)
        number = _partition(key, self.partitions)
        before = self._newest.get(number, self.first_ms)
        self.quiet_ms = max(self.quiet_ms, time_ms - before)
        self._newest[number] = max(before, time_ms)

    @property
    def span_ms(self) -> int:
        """From the first event to the newest."""
        return max(0, self.newest_ms - self.first_ms)

    def shift_ms(self, now_ms: int, speed: float | None = None) -> int:
        """The amount by which to move all times if sending begins now: the newest event gets the time when it is sent,
        and no event a later time than it is sent.

        Parameters
        ----------
        speed
            How many times as fast as it happened; by default everything at once.

        Examples
        --------
        >>> profile = TimeProfile(1)
        >>> for ts in (0, 60_000): profile.update(b"u1", ts)
        >>> profile.shift_ms(1_000_000), profile.shift_ms(1_000_000, speed=2)
        (940000, 970000)

        At the original speed, or more slowly, the first event is dated now:

        >>> profile.shift_ms(1_000_000, speed=1), profile.shift_ms(1_000_000, speed=0.5)
        (1000000, 1000000)
        """
        takes = 0 if speed is None else min(self.span_ms, self.span_ms / speed)
        return now_ms + round(takes) - self.first_ms - self.span_ms


@dataclass(frozen=True, slots=True)
class Plan:
    """How to replay a history."""

    now: bool = False
    speed: float | None = None
    loop: bool = False


def warnings(
    first_ms: int, profile: TimeProfile | None, plan: Plan, now_ms: int, evaluator: EvaluatorConfig
) -> Iterator[str]:
    """Messages about what an evaluator with these settings would count as late, and what to do.

    Parameters
    ----------
    first_ms
        The time of the first event.
    profile
        The times of all events; None if they are sent as fast as possible and their times are not moved.

    Examples
    --------
    >>> profile = TimeProfile(partitions=1)
    >>> for ts in (0, 600_000): profile.update(b"u1", ts)
    >>> list(warnings(0, profile, Plan(now=True, speed=1), 10**12, EvaluatorConfig()))
    []
    >>> next(warnings(0, profile, Plan(now=True, speed=2), 10**12, EvaluatorConfig()))[-73:]
    'late: use --speed 21 or more, or a larger evaluator.idle_s (now 0:00:30).'
    >>> next(warnings(0, None, Plan(), 10**12, EvaluatorConfig()))[-32:]
    '--now moves them to the present.'
    """
    if not plan.now and first_ms < now_ms - evaluator.grace_s * 1_000:
        yield (
            f"The events begin at {iso(first_ms)}. Where an evaluator has seen newer ones, they are late, and shelves "
            "that were made from newer ones stay as they are: --now moves them to the present."
        )
    live = plan.now and plan.speed == 1  # each event gets the time when it is sent
    if profile and plan.speed and not live and profile.quiet_ms / plan.speed > evaluator.idle_s * 1_000:
        quiet_s, idle_s = profile.quiet_ms / 1_000, evaluator.idle_s
        yield (
            f"Partitions are quiet for up to {_duration(quiet_s)} of the history, {_duration(quiet_s / plan.speed)} of "
            "the replay. An evaluator then goes by the clock, and what comes after that is late: use --speed "
            f"{quiet_s / idle_s + 1:.0f} or more, or a larger evaluator.idle_s (now {_duration(idle_s)})."
        )
    if plan.loop and not live:
        yield (
            "Each round begins at older times than the last one ended with: from the second on, what is older than "
            f"evaluator.grace_s ({_duration(evaluator.grace_s)}) is late. With --now --speed 1 rounds do not overlap."
        )


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


@lru_cache(maxsize=100_000)
def _partition(key: bytes, partitions: int) -> int:
    """The partition that Kafka's clients choose."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions
