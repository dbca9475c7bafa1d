"""Does offline predict online? In simulated shops, how well does each offline measure predict which model is clicked?

Each shop has nine models and a champion. Each other model is a challenger: its offline difference from the champion, on
four kinds of logs, is set against the difference in expected clicks, which is known in closed form, and against what an
A/B test and an interleaving of some hundred visits find. Pairs of one shop are resampled together.
``python -m benchmarks.offline_online --shops 30 --json F``
"""

import math
import multiprocessing
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import typer
from rich.progress import track

from benchmarks.model_shop import LOGS, ModelShop, Numbers, Scale, Visit
from benchmarks.report import Report, Value
from benchmarks.smoke import Scale as Factor
from benchmarks.smoke import smoke
from evaluator.experiments.click_test import ClickTest
from evaluator.experiments.dispersion import Dispersion, hashed, of_ratio
from evaluator.experiments.interleaving import Interleaved, Preference, interleave
from evaluator.experiments.off_policy import ips, snips
from evaluator.experiments.result import of_preference, result
from evaluator.metrics.intervals import Z95
from evaluator.offline.agreement import DECIDED, Agreement, Pair, agreement, correct
from evaluator.offline.contenders import contender
from evaluator.offline.data import Case, EvaluationData, Task
from evaluator.offline.dimensions.dimension import Bench
from evaluator.offline.effect import logged, probabilities
from evaluator.offline.measures import measure
from evaluator.offline.resampling import Resampling
from liveshelf.simulation.taste import Aim
from liveshelf.simulation.visit import PAGE
from models.encoder import Encoder
from models.store.experiments import Arm, Online

FAR = ("random", "popularity", "head, shuffled labels")
"""Models that nobody would try on shoppers. Without them the others are close, as in canaries."""

Method = Literal["exact", "A/B", "interleaving"]

Figures = Mapping[tuple[str, str], Mapping[str, float]]
"""Each model's figure by log and measure, turned so that higher is better."""


def offline(shop: ModelShop) -> Figures:
    """All offline figures of all models."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for log, (task, cases) in shop.logs.items():
        for model, by_query in shop.scores.items():
            scores = [_those(shop, by_query, case) for case in cases]
            given = shop.probabilities.get(model)
            rows = None if given is None else [_those(shop, given, case) for case in cases]
            for name, value in _figures(shop, task, cases, scores, rows):
                if math.isfinite(value):
                    found.setdefault((log, name), {})[model] = value
    return found


def _those(shop: ModelShop, by_query: Mapping[str, Numbers], case: Case) -> Numbers:
    return by_query[case.query][[shop.places[item] for item in case.items]]


def _figures(
    shop: ModelShop, task: Task, cases: Sequence[Case], scores: Sequence[Numbers], rows: Sequence[Numbers] | None
) -> Iterator[tuple[str, float]]:
    judged = [measure.judged(case, found, 0.0) for case, found in zip(cases, scores, strict=True)]
    for one in measure.every():
        values = np.array([one.of(case) for case in judged])
        if not np.isnan(values).all():
            yield one.name, float(np.nanmean(values)) * (1 if one.better == "higher" else -1)
    if (decided := logged.decisions(cases, scores, 0.0)) is not None:
        yield "off-policy, IPS", ips(decided[0])
        yield "off-policy, SNIPS", snips(decided[0])
    if rows is None:
        return
    span = (0.0, max(1.0, *(float(np.nanmax(case.gains)) for case in cases)))
    data = EvaluationData("log", task, cases, [], shop.documents, span)
    resampling = Resampling.of([case.id for case in cases], draws=1)
    bench = Bench(contender.make("random"), data, scores, rows, resampling, 0, {})
    for reading in probabilities.part(bench).readings:
        if reading.measure in ("log_loss", "ece") and not reading.segment and reading.value is not None:
            yield reading.measure, -reading.value


def online(shop: ModelShop) -> dict[Method, dict[str, Pair]]:
    """Every challenger's online difference from the champion, by the way in which it is known; nothing offline yet."""
    truth = shop.truth()
    champion = list(_arm(shop, shop.champion, 0))
    found: dict[Method, dict[str, Pair]] = {"exact": {}, "A/B": {}, "interleaving": {}}
    for name in shop.scores:
        if name == shop.champion:
            continue
        found["exact"][name] = _exact(shop, truth[name], truth[shop.champion])
        results: dict[Method, Online | None] = {
            "A/B": _tested(champion, list(_arm(shop, name, 1))),
            "interleaving": _mixed(shop, name),
        }
        for method, told in results.items():
            if told is not None:
                sure = told.log10_evalue >= DECIDED
                found[method][name] = Pair(0.0, told.log_ratio, told.error, sure, str(shop.seed))
    return found


def _exact(shop: ModelShop, own: Numbers, base: Numbers) -> Pair:
    """The expected rates' log ratio; its error is that of the pages that were drawn."""
    log_ratio = math.log(own.mean() / base.mean())
    error = max(1e-6, float((own / own.mean() - base / base.mean()).std(ddof=1)) / math.sqrt(len(own)))
    return Pair(0.0, log_ratio, error, abs(log_ratio) > Z95 * error, str(shop.seed))


def _arm(shop: ModelShop, model: str, arm: int) -> Iterator[Visit]:
    """Visits of half of the shoppers, who see one model."""
    return shop.visits(shop.scale.arm, lambda aim: shop.ranking(model, aim.query), arm, arms=2)


def _tested(champion: Sequence[Visit], challenger: Sequence[Visit]) -> Online | None:
    """An A/B test of two arms, as a canary is judged."""
    arms, spreads = [], []
    for visits in (champion, challenger):
        spread = Dispersion()
        for visit in visits:
            for item in visit.shown:
                spread.update(hashed(visit.shopper), item in visit.clicked)
        spreads.append(spread)
        arms.append(Arm(sum(len(one.shown) for one in visits), sum(len(one.clicked) for one in visits)))
    test = ClickTest()
    test.update(arms[1].impressions, arms[1].clicks, arms[0].impressions, arms[0].clicks)
    test.dispersion = of_ratio(spreads[1], arms[1].clicks, spreads[0], arms[0].clicks)
    return result(arms[0], arms[1], test.log10(), test.dispersion)


def _mixed(shop: ModelShop, model: str) -> Online | None:
    """An interleaving with the champion."""
    shelves: list[Interleaved] = []

    def rank(aim: Aim) -> tuple[str, ...]:
        pair = shop.ranking(model, aim.query), shop.ranking(shop.champion, aim.query)
        shelves.append(interleave(*pair, PAGE, f"{shop.seed}-{model}-{len(shelves)}"))
        return shelves[-1].items

    preference = Preference()
    for visit in shop.visits(shop.scale.arm, rank):
        preference.update(shelves[-1].credit(visit.clicked))
    return of_preference(preference)


def differences(seed: int, scale: float) -> list[tuple[str, str, str, Method, Pair]]:
    """All pairs of one shop: log, measure, challenger, how the online difference is known, and both differences."""
    with tempfile.TemporaryDirectory() as folder:
        shop = ModelShop(seed, Scale().times(scale), _encoder(), Path(folder))
        figures, known = offline(shop), online(shop)
    return [
        (log, name, model, method, pair._replace(offline=by_model[model] - by_model[shop.champion]))
        for (log, name), by_model in figures.items()
        if shop.champion in by_model
        for method, by_challenger in known.items()
        for model, pair in by_challenger.items()
        if model in by_model
    ]


@cache
def _encoder() -> Encoder:
    torch.set_num_threads(1)
    return Encoder()


def _row(found: Agreement) -> dict[str, Value]:
    """One measure's agreement with one kind of online results."""
    told: dict[str, Value] = {"pairs": found.count, "shops": found.groups}
    parts = {"signs": found.signs, "decided": found.decided, "rank": found.correlation, "corrected": found.corrected}
    for name, one in parts.items():
        value, low, high = (None, None, None) if one is None else (one.value, one.low, one.high)
        told |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return told | {"reliability": found.reliability, "p": found.p, "claim": found.claim}


@smoke(shops=2, scale=0.02, jobs=1)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    shops: Annotated[int, typer.Option(min=2, help="Simulated shops.")] = 30,
    scale: Factor = 1.0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Simulate, measure, compare; about 20 seconds of CPU a shop."""
    report = Report("offline_online", shops=shops)
    one = partial(differences, scale=scale)
    if jobs == 1:
        found = [one(seed) for seed in track(range(shops), "shops", transient=True)]
    else:
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            found = list(track(pool.map(one, range(shops)), "shops", shops, transient=True))
    pairs: dict[tuple[str, str, str, str], list[Pair]] = {}
    clicks: dict[str, list[float]] = {}
    for log, name, model, method, pair in (one for some in found for one in some):
        for kind in ("all", *(() if model in FAR else ("close",))):
            pairs.setdefault((kind, log, name, method), []).append(pair)
        if (log, name, method) == (LOGS[0], "ndcg@10", "exact"):
            clicks.setdefault(model, []).append(math.exp(pair.online))
    agreed = {key: agreement(key[2], some) for key, some in pairs.items() if len({pair.offline for pair in some}) > 1}
    correct(list(agreed.values()))
    for (kind, log, name, way), of in agreed.items():
        report.row(models=kind, log=log, measure=name, online=way, **_row(of))
    report.facts |= {f"{model}: clicks in the champion's": float(np.mean(some)) for model, some in clicks.items()}
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
