"""Waits between tries grow, and vary."""

import random

from streams.runtime.tasks import Backoff


def test_waits_grow_to_the_longest_and_vary_in_full() -> None:
    chance = random.Random(1).random
    waits = [[Backoff(60.0, chance).next()] for _ in range(200)]
    for backoff in (backoffs := [Backoff(60.0, chance) for _ in range(200)]):
        waits[backoffs.index(backoff)] = [backoff.next() for _ in range(12)]
    for number, bound in enumerate([1, 2, 4, 8, 16, 32, 60, 60, 60]):
        column = [row[number] for row in waits]
        assert max(column) <= bound
        assert min(column) < bound * 0.05 and max(column) > bound * 0.95
        assert abs(sum(column) / len(column) - bound / 2) < bound * 0.1
