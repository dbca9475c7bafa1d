"""The whole simulated shop: who visits when, what they do with a shelf, and the expected clicks of any ranking.

Pure: shelves and the time in, events out. Knows nothing of Kafka, Redis, or how shelves are made.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random

from liveshelf.simulation import arrivals
from liveshelf.simulation.arrivals import BOTS, Bot
from liveshelf.simulation.assortment import Assortment, On
from liveshelf.simulation.drift import SEASONAL, BotTraffic, BrokenFrontend, Drift, Season
from liveshelf.simulation.preferences import TEXT_ONLY, Preferences, Traits
from liveshelf.simulation.shopper import LEAVES, Chances, Shopper
from liveshelf.simulation.taste import FEED, Aim, asked, drawn
from liveshelf.simulation.truth import Moment, Rates, Truth
from liveshelf.simulation.visit import EXAMINED, PAGE, Visit, followed
from streams.events.schema import AnyEvent, Item, Purchase
from streams.events.shelf import Shelf

SEARCHES, BROWSES = 0.3, 0.3
"""The default probability that a session goes on with a search; and otherwise, if an item was opened, the probability
that it goes on with similar items."""

MORE = 0.5
"""The probability that an order without a shelf has one more item that is chosen for itself."""


class World:
    """The shoppers of one shop, and the drifts there.

    Parameters
    ----------
    items
        The catalogue; at least one item. Those of a `NewCategory` go on sale at its time.
    seed
        The same seed, items, drifts, shelves and times give the same events. Each shopper has their own random sources,
        so what one does does not depend on others.
    n
        The number of shoppers; their ids are ``shopper-1`` to ``shopper-n``.
    drifts
        What changes, and when.
    searches
        The probability that a session goes on with a search.
    start_ms
        When the shop opens; the times of drifts count from it. It may be set until the first visit.
    preferences
        The weights of what text does not say; none by default.

    Raises
    ------
    ValueError
        When a drift names a category that does not exist.

    Examples
    --------
    >>> shop = [Item(item_id="a", title="Steel kettle"), Item(item_id="b", title="Trail shoe")]
    >>> world = World(shop, seed=1, n=2)
    >>> [event.kind for event in world.act("shopper-1", None, now_ms=1_000)]
    ['search']
    """

    def __init__(
        self,
        items: Sequence[Item],
        seed: int,
        n: int,
        drifts: Sequence[Drift] = (),
        start_ms: int = 0,
        searches: float = SEARCHES,
        preferences: Preferences = TEXT_ONLY,
    ) -> None:
        self.start_ms, self.searches, self.preferences = start_ms, searches, preferences
        self.seed = seed
        self._shop = Assortment(items, drifts, seed)
        self.traits = Traits(items, seed, preferences)
        self._truth = Truth(self._shop, seed, self.traits)
        self._other_truths: dict[Preferences, Truth] = {}
        self._shoppers = {name: self._shopper(name) for name in (f"shopper-{k}" for k in range(1, n + 1))}
        self._bots = {name: Bot(name, seed) for name in (f"bot-{k}" for k in range(1, BOTS + 1))}

    @property
    def items(self) -> Mapping[str, Item]:
        """All items that are ever on sale, by id."""
        return self._shop.items

    @property
    def ids(self) -> list[str]:
        """The ids of all shoppers, without bots."""
        return list(self._shoppers)

    def on_sale(self, now_ms: int) -> Mapping[str, Item]:
        """The current catalogue, by item id."""
        return self._shop.at(self._on(now_ms))

    def changed(self, after_ms: int, until_ms: int) -> dict[str, Item | None]:
        """The items that changed between two times, to send to the catalogue; None for those no longer on sale."""
        before, after = self.on_sale(after_ms), self.on_sale(until_ms)
        if before is after:
            return {}
        gone: dict[str, Item | None] = {item_id: None for item_id in before if item_id not in after}
        return gone | {item_id: item for item_id, item in after.items() if before.get(item_id) != item}

    def begin(self, number: int, now_ms: int) -> None:
        """Start a drift, by its number, now instead of at its time. This does not change the visits of bots."""
        self._shop.begin(number, (now_ms - self.start_ms) / 1000)

    def aim(self, visitor: str) -> Aim:
        """What a frontend shows now: the feed, the results of a query, or items similar to the one just opened."""
        who = self._shoppers.get(visitor)
        return FEED if who is None else who.aim

    def visits(self, per_s: float, now_ms: int) -> Iterator[tuple[int, str]]:
        """Endless visits in order of time: of shoppers in sessions, and of bots while there are any.

        Parameters
        ----------
        per_s
            The mean number of visits of shoppers a second; visits of bots are added.
        now_ms
            The earliest time of a visit.

        Returns
        -------
        iterator of tuples
            Milliseconds since the epoch, and the visitor. Let them `act` before taking the next one.
        """
        due = arrivals.of_shoppers(self._shoppers.values(), per_s, now_ms)
        for drift in self._shop.drifts:
            if isinstance(drift, BotTraffic):
                due += arrivals.of_bots(self._bots.values(), drift, per_s, now_ms, self.start_ms)
        return arrivals.visits(due)

    def act(self, visitor: str, shelf: Shelf | None, now_ms: int) -> list[AnyEvent]:
        """What a shopper or a bot does with a shelf; without one, a shopper searches.

        Returns
        -------
        list of events
            In order, their times 1 ms apart from ``now_ms`` on.
        """
        at = self._at(now_ms)
        if visitor in self._bots:
            return self._bots[visitor].act(shelf, self._shop.at(at.on), now_ms)
        who = self._shoppers[visitor]
        visit, chances, opened = Visit(who.id, who.session, who.visit, now_ms), who.chances(), None
        if shelf is not None and shelf.items:
            opened = self._look(who, shelf, visit, chances, at)
        who.visit += 1
        self._go_on(who, visit, chances, opened, at.on)
        self._replenish(who, visit, at)
        return visit.events

    def order(self, shopper: str, now_ms: int, *, anything: bool = True) -> list[Purchase]:
        """What a shopper orders without a shelf, in one session: what is used up, and what completes it; with
        ``anything`` before it one or more items that they like, and what completes these.

        Returns
        -------
        list of purchases
            Each item once, their times 1 ms apart from ``now_ms`` on.
        """
        at, who = self._at(now_ms), self._shoppers[shopper]
        visit = Visit(who.id, who.session, who.visit, now_ms)
        sale, chosen, more = self._shop.at(at.on), set[str](), anything
        if more:
            who.focus = self._truth.taste(who, at.on).pick(who.needs.random())
        while more:
            if (item_id := self._truth.chosen(who, at)) not in chosen:
                chosen.add(item_id)
                visit.buy(sale[item_id])
                self._bought(who, item_id, visit, at)
            more = who.needs.random() < MORE
        self._replenish(who, visit, at)
        who.visit, who.session = who.visit + 1, who.session + 1
        found = {event.item_id: event for event in reversed(visit.events) if isinstance(event, Purchase)}
        return list(reversed(found.values()))

    def next_due(self, shopper: str) -> int | None:
        """When the next thing is used up, in milliseconds since the epoch; None while nothing will be."""
        due = min(self._shoppers[shopper].due.values(), default=None)
        return None if due is None else math.ceil(self.start_ms + due * self.preferences.day_ms)

    def liking(self, shopper: str, item_id: str, aim: Aim, now_ms: int) -> float:
        """How much a shopper likes an item on a page, in [0, 1]: the truth that recommendations have to find."""
        return self._truth.liking(self._shoppers[shopper], self._shop.items[item_id], aim, self._at(now_ms))

    def likings(self, shopper: str, aim: Aim, now_ms: int, preferences: Preferences) -> dict[str, float]:
        """How much a shopper would like each item on sale if these preferences counted instead of the shop's own: what
        one could know who knows the tastes but for the rest."""
        if preferences not in self._other_truths:
            traits = Traits(list(self._shop.items.values()), self.seed, preferences)
            self._other_truths[preferences] = Truth(self._shop, self.seed, traits)
        truth, who, at = self._other_truths[preferences], self._shoppers[shopper], self._at(now_ms)
        return {item_id: truth.liking(who, item, aim, at) for item_id, item in self._shop.at(at.on).items()}

    def expected_ctr(self, ranking: Sequence[str], shopper: str, aim: Aim, now_ms: int) -> float:
        """Expected clicks per impression if these items were shown now, in closed form; assumes that links work.

        Parameters
        ----------
        ranking
            Item ids from the top down; those that fit on the screen count.
        aim
            The page; the method `aim` returns the page that the shopper wants.
        """
        return self._truth.expected(self._shoppers[shopper], ranking, aim, self._at(now_ms))

    def oracle(self, shopper: str, aim: Aim, k: int, now_ms: int) -> list[str]:
        """The ``k`` items with the highest expected click rate now, best first, of those that a shop may show.

        These are in stock, not the item that the page is about, and not bought before, where nothing is bought again.
        """
        return self._truth.best(self._shoppers[shopper], aim, k, self._at(now_ms))

    def random_ctr(self, shopper: str, aim: Aim, k: int, now_ms: int) -> float:
        """Expected clicks per impression of ``k`` items drawn at random from those that a shop may show."""
        return self._truth.chance(self._shoppers[shopper], aim, k, self._at(now_ms))

    def rates(self, ranking: Sequence[str], shopper: str, now_ms: int) -> Rates:
        """Expected click rates of a ranking, the oracle and a random shelf, on the page that the shopper wants."""
        aim, k = self.aim(shopper), min(PAGE, len(ranking))
        best = self.oracle(shopper, aim, k, now_ms)
        shown, oracle = (self.expected_ctr(some, shopper, aim, now_ms) for some in (ranking, best))
        return Rates(shown, oracle, self.random_ctr(shopper, aim, k, now_ms))

    def _on(self, now_ms: int) -> On:
        return self._shop.on((now_ms - self.start_ms) / 1000)

    def _at(self, now_ms: int) -> Moment:
        return Moment(self._on(now_ms), (now_ms - self.start_ms) / self.preferences.day_ms)

    def _shopper(self, name: str) -> Shopper:
        random = Random(f"{self.seed}:{name}")
        taste = replace(drawn(random, self._shop.first), profile=self.traits.profile(name))
        return Shopper.named(name, self.seed, taste, random)

    def _look(self, who: Shopper, shelf: Shelf, visit: Visit, chances: Chances, at: Moment) -> str | None:
        """Look at a shelf and open items; returns the last item opened."""
        seen, opened = visit.see(shelf), None
        dead = sum(drift.share for drift in (self._shop.drifts[k] for k in at.on) if isinstance(drift, BrokenFrontend))
        if chances.dead < dead:
            return None
        tempting = [self._truth.tempted(who, item_id, who.aim, at) for item_id in seen]
        sale, dearer = self._shop.at(at.on), self._shop.dearer(at.on)
        for place, item_id in enumerate(seen):
            if chances.click[place] >= EXAMINED[place] * tempting[place]:
                continue
            liking = self._truth.liking(who, sale[item_id], who.aim, at)
            likely = followed(liking, dearer, self.preferences.eager)
            steps = 0
            while steps < len(likely) and chances.follow[place][steps] < likely[steps]:
                steps += 1
            visit.open(sale[item_id], shelf, place, steps)
            who.novelty.update(item_id, who.visit)
            if steps == len(likely):
                self._bought(who, item_id, visit, at)
            opened = item_id
        return opened

    def _bought(self, who: Shopper, item_id: str, visit: Visit, at: Moment) -> None:
        """Record a purchase; what completes the set may be bought with it, without a shelf."""
        self._own(who, item_id, at.day)
        sale = self._shop.at(at.on)
        for other in self.traits.complements.get(item_id, ()):
            with_it = who.needs.random() < self.preferences.together
            if with_it and other not in who.bought and other in sale and sale[other].in_stock:
                visit.buy(sale[other])
                self._own(who, other, at.day)

    def _own(self, who: Shopper, item_id: str, day: float) -> None:
        who.bought[item_id] = day
        who.due.pop(item_id, None)
        if (lasts := self.traits.lasts(item_id, who.needs)) < math.inf:
            who.due[item_id] = day + lasts

    def _replenish(self, who: Shopper, visit: Visit, at: Moment) -> None:
        """Buy what is used up, without a shelf."""
        sale = self._shop.at(at.on)
        for item_id in [one for one, day in who.due.items() if day <= at.day]:
            del who.due[item_id]
            if item_id in sale and sale[item_id].in_stock:
                visit.buy(sale[item_id])
                self._bought(who, item_id, visit, at)

    def _go_on(self, who: Shopper, visit: Visit, chances: Chances, opened: str | None, on: On) -> None:
        """Choose what the shopper wants next, and whether a new session begins."""
        who.aim, who.rests = FEED, False
        if visit.events and chances.leave < LEAVES:
            who.session, who.rests = who.session + 1, True
            who.focus = self._truth.taste(who, on).pick(chances.focus)
        elif not visit.events or chances.search < self.searches:
            who.aim = asked(self._wanted(who, chances, on), chances.length, chances.brand)
            visit.search(who.aim.query)
        elif opened is not None and chances.browse < BROWSES:
            who.aim = Aim("similar", "", opened)

    def _wanted(self, who: Shopper, chances: Chances, on: On) -> Item:
        """The item to search for: of the season's category, or what the session is about."""
        for k in on:
            if isinstance(self._shop.drifts[k], Season) and chances.season < SEASONAL:
                return self._shop.of[k][int(chances.thing * len(self._shop.of[k]))]
        return self._shop.items[self._truth.taste(who, on).interest(who.focus)]
