"""The wall clock, in the unit every timestamp here has."""

import time


def wall_ms() -> int:
    """Now, epoch milliseconds."""
    return time.time_ns() // 1_000_000
