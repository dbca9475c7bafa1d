"""How good is a feed on real purchases, beside the field's recommenders?

``python -m benchmarks.recommend --json F``: Online Retail. The next order of shoppers with at least five earlier
purchases is predicted from everything before it, with nothing known of the order but its shopper and time. Rankers
learn from the newest orders before a month and rank the month; what is chosen is chosen on the first month, and
reported on the second.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from benchmarks.data import PURCHASES, data_folder
from benchmarks.feeds import REFERENCE, SHARES, Asked, Probe, Replay, dense
from benchmarks.purchases import MEASURES, History, Ranked, case, epoch_ms, ranked, read, table
from benchmarks.rankers import Blend, linear, network, trees
from benchmarks.report import Report, Value
from benchmarks.sasrec import Trained
from benchmarks.smoke import smoke
from benchmarks.worker_feed import feeds
from evaluator.offline.contenders.collaborative import EASE
from evaluator.offline.data import Case
from evaluator.offline.resampling import Resampling, compare, interval
from liveshelf.training.from_history import unit_vectors
from models.encoder import Encoder
from models.ranker import Linear, Network, Trees
from streams.features.behaviour import FEATURES, GROUPS, Reals
from streams.features.history import COLD_EVENTS, SOURCES, Flags, Order
from streams.features.items import FIRST, VISITS, Floats, Places

LEAST_PAST = 5
LAMBDAS = (100.0, 200.0, 500.0, 1_000.0)
EPOCHS = (2, 4, 8)
FEWER = (100, 0.15)
"""Trees and rate of a faster ranker; what is left out is compared with it."""

TUNED_SEQUENCES = 300
COLD_SHOWN = 5
"""Unseen items that are shown beside an order's others, when unseen items are compared."""

Ranker = Callable[[Asked], Ranked]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Months:
    """The first day of the month that is tuned on, of the one that is reported, and the end; epoch ms."""

    tune: int
    report: int
    end: int


@dataclass(slots=True, eq=False)
class Answers:
    """What a replay was asked.

    Attributes
    ----------
    asked
        Orders of shoppers with a past, by number of the order.
    cold_items
        For orders of the reported month: which items were first sold in the month before the order; their features.
    cold_shoppers
        By number of events, first orders of shoppers: their other items are to be predicted.
    similar
        By system, the recall of the rest of an order, given one item.
    """

    asked: dict[int, Asked] = field(default_factory=dict)
    cold_items: dict[int, tuple[Places, Reals]] = field(default_factory=dict)
    cold_shoppers: dict[int, list[Asked]] = field(default_factory=lambda: defaultdict(list))
    similar: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    similar_shoppers: list[str] = field(default_factory=list)


class Bench:
    """One history, replayed once; and what is learned from the answers."""

    def __init__(self, history: History, months: Months, report: Report, say: Say) -> None:
        self.history, self.months, self.report, self.say = history, months, report, say
        self.answers = Answers()
        past: dict[str, int] = {}
        self.eligible: list[int] = []
        self.first_orders: set[int] = set()
        for number, order in enumerate(history.orders):
            before = past.get(order.shopper, 0)
            if before >= LEAST_PAST:
                self.eligible.append(number)
            elif not before:
                self.first_orders.add(number)
            past[order.shopper] = before + len(order.items)

    def between(self, start: int, end: int, most: int = 0, newest: bool = False) -> list[int]:
        """Eligible orders of a time: a seeded sample, or the newest."""
        found = [number for number in self.eligible if start <= self.history.orders[number].ts < end]
        if newest:
            return found[-most:]
        if most and len(found) > most:
            found = sorted(np.random.default_rng(0).choice(found, most, replace=False).tolist())
        return found

    def replay(self, vectors: Reals, learned: int, limit: int, regularisation: float) -> Replay:
        """Ask all there is to ask, in one pass."""
        months = self.months
        self.tuned = self.between(months.tune, months.report, limit)
        self.reported = self.between(months.report, months.end, limit)
        self.before_tuned = self.between(0, months.tune, learned, newest=True)
        self.before_reported = self.between(0, months.report, learned, newest=True)
        wanted = defaultdict[int, list[Probe]](list)
        ranked_too = {*self.tuned, *self.reported}
        for number in {*ranked_too, *self.before_tuned, *self.before_reported}:
            wanted[number].append(self._feed(number, number in ranked_too))
        start = self.history.orders[min(wanted)].ts
        for number in self.first_orders:
            if self.history.orders[number].ts >= start and len(self.history.orders[number].items) > max(COLD_EVENTS):
                wanted[number].append(self._cold_shopper())
        visits = EASE(str(regularisation))
        old = [order for order in self.history.orders if order.ts < months.report]
        visits.learn([_alone(order) for order in old], 0.0)
        by_visit = dense(visits, len(self.history.ids))
        for number in self.reported:
            wanted[number].append(self._similar(number, by_visit))
        replay = Replay(self.history, vectors, regularisation)
        replay.run(wanted, lambda gone: None if gone % 1_000 else self.say(f"{gone} orders"))
        return replay

    def _feed(self, number: int, rank: bool) -> Probe:
        def probe(replay: Replay, order: Order) -> None:
            asked, scores = replay.question(order, replay.past.shoppers[order.shopper].get())
            self.answers.asked[number] = asked
            if rank:
                replay.rank(asked, scores)
            if order.ts >= self.months.report:
                fresh = np.flatnonzero(replay.past.items.values[:, FIRST] >= self.months.report)
                pool = fresh[~asked.old[fresh]]
                self.answers.cold_items[number] = pool, replay.features(scores, pool)

        return probe

    def _cold_shopper(self) -> Probe:
        def probe(replay: Replay, order: Order) -> None:
            for events in COLD_EVENTS:
                asked, scores = replay.question(*order.after(events))
                replay.rank(asked, scores)
                self.answers.cold_shoppers[events].append(asked)

        return probe

    def _similar(self, number: int, by_visit: Reals) -> Probe:
        def probe(replay: Replay, order: Order) -> None:
            known = replay.known
            given = int(np.random.default_rng(number).choice(order.items))
            others = order.items[order.items != given]
            if not len(others):
                return
            places, counts = replay.past.pairs.row(given)
            by_cosine, by_count = np.zeros(replay.count), np.zeros(replay.count)
            visits = replay.past.items.values[:, VISITS]
            by_cosine[places], by_count[places] = counts / np.sqrt(visits[places] * visits[given]), counts
            near = replay.vectors @ replay.vectors[given]
            systems = {
                "best sellers, 7 days": replay.days.sold(order.ts, 7),
                "nearest by text": near.astype(np.float64),
                "item-kNN": replay.neighbours[given].astype(np.float64),
                "EASE": replay.linear[given].astype(np.float64),
                "EASE of visits": by_visit[given].astype(np.float64),
                "together, counts": by_count,
                "together, cosine": by_cosine,
                "together, cosine, and 0.1 text": by_cosine + 0.1 * near,
            }
            among = known[known != given]
            for name, values in systems.items():
                best = among[np.argsort(-values[among], kind="stable")[:20]]
                self.answers.similar[name].append(float(np.isin(others, best).mean()))
            self.answers.similar_shoppers.append(order.shopper)

        return probe

    def of(self, numbers: Sequence[int]) -> list[Asked]:
        """Answers by number of the order."""
        return [self.answers.asked[number] for number in numbers]

    def tune_linear(self) -> float:
        """The regularisation of EASE that ranks the first month best, learned once before it."""
        start, best = self.months.tune, (-1.0, LAMBDAS[0])
        numbers = set(self.between(start, self.months.report))
        old = [order for order in self.history.orders if order.ts < start]
        for regularisation in LAMBDAS:
            model = EASE(str(regularisation))
            model.learn([case(order) for order in old], 0.0)
            weights, past = dense(model, len(self.history.ids)), defaultdict[str, set[int]](set)
            rankings, truths = [], []
            for number, order in enumerate(self.history.orders):
                if number in numbers:
                    known = np.zeros(len(weights), bool)
                    known[list(past[order.shopper])] = True
                    rankings.append(ranked(weights[known].sum(0), np.arange(len(weights)), known))
                    truths.append((order.items, order.items[~known[order.items]]))
                past[order.shopper].update(order.items.tolist())
            value = _headline(table(rankings, truths))
            self.report.row(part="tuning", system=f"EASE, λ {regularisation:.0f}", of_all_and_new=value)
            best = max(best, (value, regularisation))
        return best[1]

    def feeds(self, epochs: Sequence[int]) -> tuple[Blend, Linear]:
        """The table: every system on the reported month, chosen on the first."""
        report, tuned, asked = self.report, self.of(self.tuned), self.of(self.reported)
        truths = [one.truth for one in tuned]
        share = max(SHARES, key=lambda one: _headline(table([x.rankings[_with(one)] for x in tuned], truths)))
        chosen = [name for name in asked[0].rankings if "recency, " not in name] + [_with(share)]
        rankings = {name: [one.rankings[name] for one in asked] for name in chosen}
        rankings |= self._sequences(epochs)
        learned = self.of(self.before_reported)
        begin = time.process_time()
        first, slow = linear(learned), trees(learned)
        report.facts["training_cpu_s"] = time.process_time() - begin
        for name, columns in (("13 features", REFERENCE[:-2]), ("13 features, 2 cosines", REFERENCE)):
            reference = trees(learned, columns, reference=True)
            rankings[f"LightGBM, {name}"] = [one.rank(reference.scores(one.reference)) for one in asked]
        rankings["ours, linear (the first stage)"] = [one.rank(first.scores(one.features)) for one in asked]
        fewer = trees(learned, FEATURES, *FEWER)
        rankings["ours, 100 trees"] = [staged(one, fewer, first) for one in asked]
        net = network(learned)
        rankings["ours, network"] = [staged(one, net, first) for one in asked]
        rankings["ours, trees"] = [staged(one, slow, first) for one in asked]
        both = Blend(slow, net)
        rankings["ours"] = [staged(one, both, first) for one in asked]
        rankings["ours, all candidates"] = [one.rank(both.scores(one.features)) for one in asked]
        self.resampling = Resampling.of([one.order.shopper for one in asked])
        self.tables = {name: table(some, [one.truth for one in asked]) for name, some in rankings.items()}
        for name, values in self.tables.items():
            report.row(part="feed", system=name, **figures(values, self.resampling))
        for one in ("ours", "ours, all candidates"):
            for other in ("LightGBM, 13 features", "LightGBM, 13 features, 2 cosines", "EASE"):
                self._compare(one, other)
        return both, first

    def worker(self, most: int) -> None:
        """The worker's feed on a sample of the reported month, beside others on the same orders."""
        chosen = sorted(np.random.default_rng(0).permutation(self.reported)[:most].tolist())
        asked = self.of(chosen)
        rankings = feeds(self.history, chosen, dict(zip(chosen, (one.old for one in asked), strict=True)))
        draws, kept = Resampling.of([one.order.shopper for one in asked]), np.isin(self.reported, chosen)
        tables = {name: table(some, [one.truth for one in asked]) for name, some in rankings.items()}
        for name in ("best sellers, 30 days", "EASE", "LightGBM, 13 features", "ours"):
            tables[name] = {measure: values[kept] for measure, values in self.tables[name].items()}
        for name, values in tables.items():
            self.report.row(part=f"worker, {len(asked)} orders", system=name, **figures(values, draws))

    def _compare(self, one: str, other: str) -> None:
        found: dict[str, Value] = {}
        for side in ("all", "new"):
            name = f"{side}_ndcg_20"
            mine, theirs = (self.resampling.mean(self.tables[system][name]) for system in (one, other))
            ratio = interval(mine / theirs)
            found |= {f"{name}_ratio": ratio.value, f"{name}_ratio_low": ratio.low, f"{name}_ratio_high": ratio.high}
            found[f"{name}_p"] = compare(mine, theirs).p
        self.report.row(part="compared", system=f"{one} / {other}", **found)

    def _sequences(self, epochs: Sequence[int]) -> dict[str, list[Ranked]]:
        """SASRec: how long to train is chosen on the first month; learned once before the month it ranks."""
        length = epochs[0] if len(epochs) == 1 else self._tune_sequences(epochs)
        model = Trained(self._orders(self.months.report), len(self.history.ids))
        model.learn(length)
        pairs = zip(self.of(self.reported), self.reported, strict=True)
        return {"SASRec": [self._sequence(model, one, self._before(number)) for one, number in pairs]}

    def _tune_sequences(self, epochs: Sequence[int]) -> int:
        model, some = Trained(self._orders(self.months.tune), len(self.history.ids)), self.tuned[:TUNED_SEQUENCES]
        best, gone = (-1.0, epochs[0]), 0
        for count in sorted(epochs):
            model.learn(count - gone)
            gone = count
            pairs = zip(self.of(some), some, strict=True)
            found = [self._sequence(model, one, self._before(number)) for one, number in pairs]
            value = _headline(table(found, [one.truth for one in self.of(some)]))
            self.report.row(part="tuning", system=f"SASRec, {count} epochs", of_all_and_new=value)
            best = max(best, (value, count))
        return best[1]

    def _orders(self, until: int) -> list[list[int]]:
        found = defaultdict[str, list[int]](list)
        for order in self.history.orders:
            if order.ts < until:
                found[order.shopper].extend(order.items.tolist())
        return list(found.values())

    def _before(self, number: int) -> list[int]:
        """What the shopper of an order bought before it."""
        orders, shopper = self.history.orders, self.history.orders[number].shopper
        return [item for order in orders[:number] if order.shopper == shopper for item in order.items.tolist()]

    def _sequence(self, model: Trained, one: Asked, before: Sequence[int]) -> Ranked:
        return ranked(model.scores(before), np.arange(len(one.old)), one.old)

    def left_out(self, ours: Blend, first: Linear) -> None:
        """Each source and each group of features left out of ours; groups are learned without."""
        asked, learned = self.of(self.reported), self.of(self.before_reported)
        truths = [one.truth for one in asked]
        for bit, name in enumerate(SOURCES):
            kept = [one.masks != 1 << bit for one in asked]
            rankings = [staged(one, ours, first, some) for one, some in zip(asked, kept, strict=True)]
            brought = np.mean([(one.masks >> bit & 1).mean() for one in asked])
            bought = np.concatenate([one.hits[one.masks == 1 << bit] for one in asked])
            row = figures(table(rankings, truths), self.resampling)
            alone = float(bought.mean()) if len(bought) else None
            self.report.row(part="without source", system=name, share=float(brought), bought_alone=alone, **row)
        for name in GROUPS:
            without = trees(learned, [one for one in FEATURES if one not in GROUPS[name]], *FEWER)
            rankings = [staged(one, without, first) for one in asked]
            self.report.row(part="without features", system=name, **figures(table(rankings, truths), self.resampling))
            self.say(f"without {name}")

    def cold_items(self, ours: Blend) -> None:
        """Items first sold in the reported month: those chosen from text, beside random ones, at equal exposure."""
        names = (*GROUPS["text"], *GROUPS["price"], *GROUPS["shopper"])
        text = trees(self.of(self.before_reported), names, *FEWER)
        nearest = FEATURES.index("text_nearest")
        systems: dict[str, Callable[[Reals], Floats | Reals]] = {
            "trees over text": text.scores,
            "nearest by text": lambda rows: rows[:, nearest].astype(np.float64),
            "ours": ours.scores,
        }
        for name, scores in systems.items():
            found, chance, shoppers = [], [], []
            for number, (pool, features) in self.answers.cold_items.items():
                if number not in self.reported or len(pool) <= COLD_SHOWN:
                    continue
                bought = np.isin(pool, self.answers.asked[number].order.items)
                best = np.argsort(-scores(features), kind="stable")[:COLD_SHOWN]
                found.append(float(bought[best].sum()))
                chance.append(COLD_SHOWN * float(bought.mean()))
                shoppers.append(self.answers.asked[number].order.shopper)
            if not sum(chance):
                continue
            draws = Resampling.of(shoppers)
            ratio = interval(draws.mean(found) / np.maximum(draws.mean(chance), 1e-9))
            row = {
                "bought_shown": float(np.sum(found)),
                "bought_at_random": float(np.sum(chance)),
                "orders": len(found),
            }
            of_random = {"of_random": ratio.value, "of_random_low": ratio.low, "of_random_high": ratio.high}
            self.report.row(part="cold items", system=name, **row, **of_random)

    def cold_shoppers(self, ours: Blend, first: Linear) -> None:
        """First orders of the reported month: after some of their items, the others."""
        every = self.answers.cold_shoppers
        early = [one for some in every.values() for one in some if one.order.ts < self.months.report]
        mixed = trees([*self.of(self.before_reported), *early], FEATURES, *FEWER)
        for events, some in every.items():
            asked = [one for one in some if one.order.ts >= self.months.report]
            if not asked:
                continue
            rankings = {name: [one.rankings[name] for one in asked] for name in COLD_SYSTEMS}
            rankings["ours"] = [staged(one, ours, first) for one in asked]
            rankings["ours, 100 trees, learned on first visits too"] = [staged(one, mixed, first) for one in asked]
            draws = Resampling.of([one.order.shopper for one in asked])
            for name, found in rankings.items():
                values = table(found, [one.truth for one in asked])
                at = interval(draws.mean(values["new_ndcg_20"]))
                means = {measure: float(np.nanmean(values[f"new_{measure}"])) for measure in MEASURES}
                bounds = {"ndcg_20_low": at.low, "ndcg_20_high": at.high}
                self.report.row(part=f"after {events} events", system=name, shoppers=len(asked), **means, **bounds)

    def similar(self) -> None:
        """Given one item of an order, the others among twenty."""
        draws = Resampling.of(self.answers.similar_shoppers)
        for name, values in self.answers.similar.items():
            at = interval(draws.mean(values))
            self.report.row(part="similar", system=name, recall_20=at.value, low=at.low, high=at.high)

    def speed(self, ours: Blend, first: Linear, replay: Replay) -> None:
        """CPU milliseconds of one thread: candidates and features of a shopper, and ranking so many candidates."""
        features = np.concatenate([one.features for one in self.of(self.reported)[:50]])
        self.report.row(part="speed", system="candidates and features", cpu_ms=float(np.median(replay.seconds)) * 1_000)
        for name, scores in (("trees", ours.trees.scores), ("network", ours.network.scores), ("linear", first.scores)):
            for count in (100, 300):
                rows, times = features[:count], []
                for _ in range(50):
                    clock = time.process_time()
                    scores(rows)
                    times.append(time.process_time() - clock)
                self.report.row(
                    part="speed", system=f"{name}, {count} candidates", cpu_ms=float(np.median(times)) * 1_000
                )
        lengths = replay.past.pairs.stored()
        own = [len(memory.rows) for memory in replay.past.shoppers.values()]
        self.report.facts |= {
            "neighbours_mean": float(np.mean(lengths)),
            "own_items_mean": float(np.mean(own)),
            "own_items_p99": float(np.quantile(own, 0.99)),
        }


COLD_SYSTEMS = ("best sellers, 7 days", "item-kNN by visit, decayed", "EASE")


def staged(one: Asked, ranker: Trees | Network | Blend, first: Linear, allowed: Flags | None = None) -> Ranked:
    """The first stage's hundred candidates, ranked: of all, and of the new ones."""
    allowed = np.ones(len(one.places), bool) if allowed is None else allowed
    chosen = one.rank(first.scores(one.features), allowed)
    scores = ranker.scores(one.features)
    every, new = (one.rank(scores, np.isin(one.places, some)) for some in (chosen.every, chosen.new))
    return Ranked(every.every, new.new)


def figures(values: Mapping[str, Floats], draws: Resampling) -> dict[str, Value]:
    """Means of measures, and intervals of nDCG over shoppers."""
    found: dict[str, Value] = {}
    for name, some in values.items():
        value, low, high = interval(draws.mean(some))
        found[name] = value
        if name.endswith("ndcg_20"):
            found |= {f"{name}_low": low, f"{name}_high": high}
    return found


def _headline(values: Mapping[str, Floats]) -> float:
    """What is tuned for: nDCG of all and of new items, added."""
    return float(np.nanmean(values["all_ndcg_20"]) + np.nanmean(values["new_ndcg_20"]))


def _with(share: float) -> str:
    return f"EASE, recency, {share} best sellers"


def _alone(order: Order) -> Case:
    """An order as a row of its own, whoever made it."""
    one = case(order)
    return Case(f"{order.ts} {order.shopper}", one.items, one.gains, ts=order.ts)


@smoke(learned=60, limit=40, worker=10, epochs=[1, 2])
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    data: Annotated[Path | None, typer.Option(help="A file of transactions; Online Retail by default.")] = None,
    tune: Annotated[datetime, typer.Option(help="First day of the month that is tuned on.")] = datetime(2011, 8, 1),
    report_from: Annotated[datetime, typer.Option(help="First day of what is reported.")] = datetime(2011, 9, 1),
    end: Annotated[datetime, typer.Option(help="The day after what is reported.")] = datetime(2011, 10, 1),
    learned: Annotated[int, typer.Option(help="Orders that rankers learn from: the newest before a month.")] = 1_800,
    limit: Annotated[int, typer.Option(help="Orders of a month, drawn by a seed; 0 for all.")] = 0,
    regularisation: Annotated[float, typer.Option(help="EASE's; 0 to choose it.")] = 0.0,
    worker: Annotated[int, typer.Option(help="Orders that the worker's feed is measured on; 0 for none.")] = 300,
    epochs: Annotated[list[int] | None, typer.Option(help="SASRec's lengths of training to choose from.")] = None,
) -> None:
    """Measure, print a table, and write JSON where wanted."""
    console = Console(stderr=True)
    begin = time.perf_counter()

    def say(what: str) -> None:
        console.print(f"{time.perf_counter() - begin:,.0f} s: {what}", highlight=False)

    history = read(data or data_folder() / PURCHASES)
    months = Months(epoch_ms(tune), epoch_ms(report_from), epoch_ms(end))
    report = Report("recommend", items=len(history.ids), orders=len(history.orders))
    bench = Bench(history, months, report, say)
    regularisation = regularisation or bench.tune_linear()
    say(f"λ {regularisation:.0f}")
    replay = bench.replay(unit_vectors(Encoder(), history.texts), learned, limit, regularisation)
    report.facts |= {"asked": len(bench.reported), "learned_from": len(bench.before_reported)}
    ours, first = bench.feeds(epochs or EPOCHS)
    bench.similar()
    report.write(json)
    bench.cold_items(ours)
    bench.cold_shoppers(ours, first)
    bench.speed(ours, first, replay)
    bench.left_out(ours, first)
    if worker:
        bench.worker(worker)
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
