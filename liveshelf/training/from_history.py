"""``liveshelf train --from-history``: a history of purchases in, a version with a ranker by behaviour out.

The history is replayed in time. Before each of the newest orders the candidates and their features are taken as they
were then; a ranker learns from these, and is judged by the newest tenth of them. Connects the replay, the rankers and
the store.
"""

import hashlib
import math
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text as Line

from evaluator.offline.resampling import Interval, Resampling, interval
from liveshelf.settings import Settings
from liveshelf.terminal import figure, progress
from liveshelf.training.history import HistoryFiles, Purchases
from models.encoder import Encoder
from models.measures.ranking import ndcg_of_found
from models.ranker import Columns, ItemWeights, Kind, Linear, Ranker, packaged, save
from models.store import Description, Manifest, ModelStore
from models.store.manifest import Data
from models.store.parts import Parts, parts
from models.training.examples import ExamplesError
from models.training.rankers import Choice, train, train_linear
from models.weights import fingerprint, resolve
from streams.features.behaviour import FEATURES, Reals, Scores
from streams.features.history import COLD_EVENTS, Asked, Order, Replay
from streams.features.items import DAY_MS, Floats, Places

METHOD = "ranker"
HELD_OUT = 0.1
SHELF, SHORTLIST = 20, 100
"""Items of a shelf, and of its candidates those that the first stage leaves to the ranker."""

LEAST = 20
"""Orders to judge by, below which there is no ranker."""

FIRST_ORDERS = 300
"""First orders of shoppers, the newest, that are learned from too: what follows the first of their items. With them
known shoppers lose 1 %, first orders gain a third (docs/log.md)."""

REGULARISATION = 200.0
ENCODED = 256

BEST, OWN, EASE, PRIOR, OURS = (
    "best sellers of 7 days",
    "own, then best sellers",
    "EASE",
    "the ranker that comes with Liveshelf",
    "the ranker",
)

Say = Callable[[int, int | None], None]
Probe = Callable[[Replay, Order], None]


@dataclass(slots=True, eq=False)
class Answers:
    """What a replay was asked: to learn from, and by system what was gained on the orders that judge.

    Attributes
    ----------
    learned, first
        Orders of shoppers with a past; and what follows the first items of first orders.
    judged
        Orders that judge, of shoppers with a past.
    gained
        By system nDCG@20 of each of them: of all items, and of those new to the shopper.
    """

    learned: list[Asked] = field(default_factory=list)
    first: list[Asked] = field(default_factory=list)
    judged: list[Asked] = field(default_factory=list)
    gained: dict[str, list[tuple[float, float]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """A ranker, its first stage, the item-to-item model, and how good they were on the newest orders.

    Attributes
    ----------
    figures
        By system: nDCG@20 of all items and of new ones, with 95 % intervals over shoppers.
    leads
        By other system: how much more the ranker has, of all items and of new ones, order by order.
    """

    ranker: Ranker
    first: Linear
    weights: ItemWeights
    figures: dict[str, tuple[Interval, Interval]]
    leads: dict[str, tuple[Interval, Interval]]
    orders: int
    judged: int

    def table(self) -> Table:
        """The figures as a table."""
        title = f"The newest {self.judged:,} orders of known shoppers, predicted from what was before them"
        table = Table("nDCG@20", "all items", "not bought before", title=title)
        for name, found in self.figures.items():
            told = [
                f"{figure(one.value, '.3f')} ({figure(one.low, '.3f')} to {figure(one.high, '.3f')})" for one in found
            ]
            table.add_row(name, *told, style="bold" if name == OURS else "")
        return table

    def verdict(self) -> str:
        """Whether the ranker is better than the best of the other systems, of all items."""
        rival = max(self.leads, key=lambda name: self.figures[name][0].value)
        lead = self.leads[rival][0]
        beside = f"{lead.value:+.3f} ({lead.low:+.3f} to {lead.high:+.3f}) of all items beside {rival}"
        if lead.low > 0:
            return f"The ranker is better: {beside}."
        if lead.high < 0:
            return f"The ranker is worse, do not promote it: {beside}."
        return f"The orders do not tell whether the ranker is better: {beside}. More orders would."


def run_history(
    settings: Settings,
    files: HistoryFiles,
    *,
    kind: Kind = "trees",
    orders: int,
    parent: str | None = None,
    seed: int = 0,
    notes: str = "",
    console: Console,
) -> Manifest:
    """Learn a ranker from a history, print how good it is, and put it into the store beside the parent's other parts.

    Parameters
    ----------
    kind
        The ranker's.
    orders
        How many orders to ask for at most, the newest; a tenth of them judges.
    parent
        The version whose other parts are kept; by default the champion, if there is one.

    Raises
    ------
    ExamplesError
        When the files hold too few orders to learn from and to judge by.
    models.store.errors.StoreError
        When the parent or the store cannot be used.
    """
    store = ModelStore(settings.model.store)
    champion = store.slots.read("champion").current
    chosen = parent or (champion.version if champion else None)
    base = parts(store, chosen) if chosen else Parts(weights=settings.model.weights, said=settings.model.said)
    with progress("reading") as say:
        purchases = files.read(say)
    console.print(purchases.table())
    with progress("encoding items") as say:
        vectors = encoded(settings, base, purchases.texts, say)
    with progress("replaying orders") as say:
        learned = learn(purchases, vectors, kind, orders, seed, say)
    console.print(learned.table())
    console.print(learned.verdict())
    made = put(store, base, learned, purchases, files.name, notes)
    console.print(
        Line.assemble("Stored as ", (made.id, "bold"), f". Promote it with: liveshelf models promote {made.id}")
    )
    return made


def encoded(settings: Settings, base: Parts, texts: Sequence[str], say: Say) -> Reals:
    """Unit vectors of the items, float32 [n, D], by a version's encoder, as workers have them."""
    model = settings.model
    encoder = Encoder(
        base.weights,
        precision=model.precision,
        max_item_tokens=model.max_item_tokens,
        max_query_tokens=model.max_query_tokens,
        adapter=base.adapter,
        said=base.said,
    )
    return unit_vectors(encoder, texts, say)


def unit_vectors(encoder: Encoder, texts: Sequence[str], say: Say = lambda *_: None) -> Reals:
    """Unit vectors of items' texts, as a worker's catalogue has them, float32 [n, D]; ``say`` is told how many
    are done, and of how many."""
    found = []
    for start in range(0, len(texts), ENCODED):
        found += [item.pooled for item in encoder.encode_items(texts[start : start + ENCODED])]
        say(len(found), len(texts))
    vectors: Reals = np.stack(found).astype(np.float32)
    return vectors


def learn(
    purchases: Purchases, vectors: Reals, kind: Kind, orders: int, seed: int = 0, say: Say | None = None
) -> Learned:
    """Replay the orders, learn from the newest but a tenth, and judge by that tenth.

    Raises
    ------
    ExamplesError
        When there are too few orders of shoppers who had bought before.
    """
    questions = _Questions(purchases.orders, orders)
    replay = Replay(purchases.orders, vectors, REGULARISATION, variants=purchases.variants)
    answers = questions.ask(replay, say or (lambda _done, _total: None))
    columns = Columns.of(FEATURES, FEATURES)
    choices = [Choice(one.features, one.hits, one.new) for one in (*answers.learned, *answers.first)]
    try:
        first = train_linear(choices, columns, seed)
        ranker = first if kind == "linear" else train(kind, choices, FEATURES, FEATURES, seed)
    except ValueError as error:
        raise ExamplesError(f"the history teaches nothing: {error}") from error
    prior = packaged(FEATURES)
    for name, judge in ((PRIOR, (prior, prior)), (OURS, (ranker, first))):
        answers.gained[name] = [_served(one, *judge) for one in answers.judged]
    draws = Resampling.of([one.order.shopper for one in answers.judged])

    def judged(gains: Floats) -> tuple[Interval, Interval]:
        every, new = (interval(draws.mean(some.tolist())) for some in gains.T)
        return every, new

    gained = {name: np.array(some) for name, some in answers.gained.items()}
    figures = {name: judged(gains) for name, gains in gained.items()}
    leads = {name: judged(gained[OURS] - gains) for name, gains in gained.items() if name != OURS}
    weights = replay.weights(purchases.orders, purchases.ids)
    return Learned(ranker, first, weights, figures, leads, len(choices), len(answers.judged))


class _Questions:
    """Which orders are asked for: the newest of shoppers who had bought before, and first orders of the same time."""

    def __init__(self, orders: Sequence[Order], most: int) -> None:
        self.orders = orders
        shoppers = set[str]()
        known, first = list[int](), list[int]()
        for number, order in enumerate(orders):
            (known if order.shopper in shoppers else first).append(number)
            shoppers.add(order.shopper)
        known = known[-most:]
        judged = math.ceil(len(known) * HELD_OUT)
        if judged < LEAST:
            raise ExamplesError(
                f"the history has {len(known):,} orders of shoppers who had bought before; {LEAST / HELD_OUT:,.0f} are "
                "needed to learn from nine tenths and to judge by the rest. Give a longer history: --from-history may "
                "be repeated"
            )
        self.learned, self.judged = known[:-judged], set(known[-judged:])
        self.since = orders[known[-judged]].ts
        start = orders[known[0]].ts
        self.first = [one for one in first if start <= orders[one].ts < self.since and len(orders[one].items) > 1]

    def ask(self, replay: Replay, say: Say) -> Answers:
        """The answers, in one pass."""
        answers, week = Answers(), _Week(replay.count)

        def learned(asked: Replay, order: Order) -> None:
            answers.learned.append(asked.ask(order, asked.past.own(order.shopper))[0])

        def first(asked: Replay, order: Order) -> None:
            possible = [count for count in COLD_EVENTS if count < len(order.items)]
            count = possible[len(answers.first) % len(possible)]
            answers.first.append(asked.ask(*order.after(count))[0])

        def judged(asked: Replay, order: Order) -> None:
            one, scores = asked.ask(order, asked.past.own(order.shopper))
            answers.judged.append(one)
            for name, values in _simple(scores, week.at(order.ts)).items():
                answers.gained.setdefault(name, []).append(_gained(one, asked.known, values))

        wanted: dict[int, list[Probe]] = {number: [learned] for number in self.learned}
        wanted |= {number: [first] for number in self.first[-FIRST_ORDERS:]}
        wanted |= {number: [judged] for number in self.judged}

        def gone(count: int) -> None:
            week.add(self.orders[count - 1])
            if count % 100 == 0:
                say(count, len(self.orders))

        replay.run(wanted, gone)
        return answers


class _Week:
    """Purchases of each item in the last seven days."""

    def __init__(self, count: int) -> None:
        self._counts = np.zeros(count)
        self._orders = deque[Order]()

    def add(self, order: Order) -> None:
        self._orders.append(order)
        self._counts[order.items] += 1
        self.at(order.ts)

    def at(self, ts: int) -> Floats:
        while self._orders and self._orders[0].ts <= ts - 7 * DAY_MS:
            self._counts[self._orders.popleft().items] -= 1
        return self._counts


def _simple(scores: Scores, week: Floats) -> dict[str, Floats]:
    times = np.zeros(len(week))
    [own], [since] = scores.owns, scores.since
    times[own.places] = own.times + 1 / (2 + since)
    linear = np.nan_to_num(scores.linear_of(0, np.arange(len(week)))[0])
    return {BEST: week, OWN: times + 0.5 * week / max(1.0, week.max()), EASE: linear}


def _served(one: Asked, ranker: Ranker, first: Linear) -> tuple[float, float]:
    """What a ranker gains over the first stage's shortlist: of all candidates, and of the new ones."""
    scores, before = ranker.scores(one.features), first.scores(one.features)
    gains = []
    for allowed, truth in zip((np.ones(len(one.places), bool), one.new), one.truth, strict=True):
        among = np.flatnonzero(allowed)
        kept = among[np.argsort(-before[among], kind="stable")[:SHORTLIST]]
        best = one.places[kept[np.argsort(-scores[kept], kind="stable")[:SHELF]]]
        gains.append(ndcg_of_found(np.isin(best, truth), len(truth), SHELF))
    return gains[0], gains[1]


def _gained(one: Asked, known: Places, values: Floats) -> tuple[float, float]:
    """What a ranking of all known items gains: of all of them, and of the new ones."""
    order = known[np.argsort(-values[known], kind="stable")]
    every, new = one.truth
    shown = order[~one.old[order]][:SHELF]
    return (
        ndcg_of_found(np.isin(order[:SHELF], every), len(every), SHELF),
        ndcg_of_found(np.isin(shown, new), len(new), SHELF),
    )


def put(
    store: ModelStore, base: Parts, learned: Learned, purchases: Purchases, source: str, notes: str = ""
) -> Manifest:
    """Store a version: what was learned, and the other parts of the base, so that searches stay as they are."""
    parent = store.manifest(base.version) if base.version else None
    since, until = purchases.window
    digest = hashlib.blake2b(digest_size=8)
    for order in purchases.orders:
        digest.update(msgspec.json.encode((order.shopper, order.ts, order.items.tolist())))
    about = Description(
        method=METHOD,
        architecture=base.architecture,
        encoder=parent.encoder if parent else base.weights,
        encoder_fingerprint=fingerprint(resolve(base.weights)),
        conventions=base.said,
        data=Data(source, learned.orders, since, until, digest.hexdigest()),
        parent=base.version,
        metrics=_metrics(learned.figures),
        calibration=parent.calibration if parent else {},
        notes=notes,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for there in (base.adapter, base.head, base.cross_encoder):
            if there is not None:
                shutil.copytree(there, folder / there.name)
        save(learned.ranker, learned.first, folder / "ranker")
        learned.weights.save(folder / "ranker")
        return store.put(folder, about)


def _metrics(figures: Mapping[str, tuple[Interval, Interval]]) -> dict[str, float]:
    names = {OURS: "", BEST: "best_sellers_", OWN: "own_", EASE: "ease_", PRIOR: "packaged_"}
    found = {
        f"{names[name]}ndcg_20_{side}": one.value
        for name, some in figures.items()
        for side, one in zip(("all", "new"), some, strict=True)
    }
    return {name: value for name, value in found.items() if math.isfinite(value)}
