"""A simulated shop for the tests: shelves by simple rules, and what came of them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from random import Random

from liveshelf.demo.catalogs import made_up
from liveshelf.simulation.taste import Aim
from liveshelf.simulation.world import World
from streams.events.schema import AnyEvent
from streams.events.shelf import Shelf, ShelfItem

ITEMS = made_up(seed=3, n=120)
PER_S = 25.0

Policy = Callable[[World, str, Aim, int], Sequence[str]]
"""What to show: a world, a shopper, what they are after, and the time to item ids."""


@dataclass(frozen=True)
class Turn:
    """A visit as it was: what was shown, what it had to bring, and what it brought."""

    at_ms: int
    who: str
    aim: Aim
    shown: Sequence[str]
    expected: float
    events: Sequence[AnyEvent]

    def count(self, kind: str) -> int:
        """Events of a kind."""
        return sum(event.kind == kind for event in self.events)


def shelf_of(ids: Sequence[str], surface: str = "feed") -> Shelf:
    """A shelf of items in an order."""
    items = [ShelfItem(item_id, 1.0, 0.1, 0.1, 0.1, "vector") for item_id in ids]
    return Shelf(shelf_id="s", surface=surface, model="m", arm="a", made_at=1, event_ts=1, items=items)


def by_chance(seed: int = 5) -> Policy:
    """Random shelves, of what is on sale at first."""
    random = Random(seed)

    def draw(world: World, who: str, aim: Aim, now_ms: int) -> list[str]:
        return random.sample(list(world.on_sale(0)), 10)

    return draw


def by_liking() -> Policy:
    """A fixed ranking for each shopper and page, by liking as it was in the beginning."""
    known: dict[tuple[str, str, str | None], list[str]] = {}

    def rank(world: World, who: str, aim: Aim, now_ms: int) -> list[str]:
        key = who, aim.surface, aim.about
        if key not in known:
            known[key] = sorted(world.on_sale(0), key=lambda item_id: -world.liking(who, item_id, aim, 0))[:10]
        return known[key]

    return rank


def oracle(world: World, who: str, aim: Aim, now_ms: int) -> list[str]:
    """The best there is."""
    return world.oracle(who, aim, 10, now_ms)


def play(world: World, policy: Policy, visits: int) -> list[Turn]:
    """Let so many come, from time 0 on."""
    turns = []
    for at_ms, who in islice(world.visits(PER_S, 0), visits):
        aim = world.aim(who)
        shown = policy(world, who, aim, at_ms) if who in world.ids else list(world.on_sale(at_ms))[:10]
        expected = world.expected_ctr(shown, who, aim, at_ms) if who in world.ids else 0.0
        turns.append(Turn(at_ms, who, aim, shown, expected, world.act(who, shelf_of(shown, aim.surface), at_ms)))
    return turns


@cache
def undisturbed() -> Sequence[Turn]:
    """Five minutes without drift, ranked by liking."""
    return play(World(ITEMS, 1, n=60), by_liking(), 7_000)


def total(turns: Iterable[Turn], kind: str) -> int:
    """Events of a kind in all of them."""
    return sum(turn.count(kind) for turn in turns)
