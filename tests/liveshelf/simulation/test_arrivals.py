"""Visits come in sessions, as often as asked for, and each shopper's at times of their own."""

from itertools import islice, pairwise

import pytest

from liveshelf.simulation.drift import BotTraffic
from liveshelf.simulation.shopper import LEAVES, THINKS
from liveshelf.simulation.world import World
from streams.events.schema import Impression
from tests.liveshelf.simulation.shop import ITEMS, PER_S, by_chance, by_liking, play


def test_as_many_visits_as_asked_for_in_order() -> None:
    times = [turn.at_ms for turn in play(World(ITEMS, 1, n=60), by_chance(), 7_000)]
    assert times == sorted(times)
    assert 7_000 / (times[-1] / 1000) == pytest.approx(PER_S, rel=0.05)


def test_sessions_are_visits_close_to_each_other() -> None:
    turns = play(World(ITEMS, 1, n=60), by_chance(), 7_000)
    within, between, lengths = [], [], []
    for who in {turn.who for turn in turns}:
        own = [turn for turn in turns if turn.who == who]
        sessions = [turn.events[0].session_id for turn in own]
        for (one, other), (before, after) in zip(pairwise(own), pairwise(sessions), strict=True):
            (within if before == after else between).append(other.at_ms - one.at_ms)
        lengths.append(len(own) / len(set(sessions)))
    mean_ms = 60 * 1000 / PER_S
    assert sum(within) / len(within) == pytest.approx(THINKS * mean_ms, rel=0.1)
    assert sum(between) / len(between) > 10 * sum(within) / len(within)
    assert sum(lengths) / len(lengths) == pytest.approx(1 / LEAVES, rel=0.1)


def test_when_one_comes_depends_on_no_other() -> None:
    """Sixteen times as many shoppers, sixteen times as many visits: the first one's are at the same times."""
    times = []
    for n, per_s in ((1, 1.0), (16, 16.0)):
        turns = islice(World(ITEMS, 1, n).visits(per_s, 0), 200 * n)
        times.append([at_ms for at_ms, who in turns if who == "shopper-1"][:50])
    assert times[0] == times[1]


def test_bots_make_their_share_of_the_visits_while_they_are_there() -> None:
    turns = play(World(ITEMS, 1, n=60, drifts=[BotTraffic(60.0, 120.0, share=0.3)]), by_liking(), 6_000)
    bots = [turn for turn in turns if turn.who.startswith("bot")]
    assert all(60_000 <= turn.at_ms < 120_000 for turn in bots)
    during = sum(60_000 <= turn.at_ms < 120_000 for turn in turns)
    assert len(bots) / during == pytest.approx(0.3, abs=0.03)
    assert all(isinstance(turn.events[0], Impression) for turn in bots)
