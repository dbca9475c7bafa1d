"""Fairness: does exposure follow merit, are popular items pushed further, and does the order hang on names?

Exposure is that of :mod:`models.measures.shelves`, as on the live page and in the gate. Merit is a group's share of the
gains. Knows values, and ranks cases with swapped words; nothing of how contenders work.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy import sparse

from evaluator.message import Message, said
from evaluator.offline.data import Document, EvaluationData
from evaluator.offline.dimensions.dimension import Bench, Finding, Part, Reading, finding, optional
from evaluator.offline.fairness.exposure import Shares, centred, gini, merits, shares_of
from evaluator.offline.fairness.groups import Grouping, groupings, popularity, ranked
from evaluator.offline.fairness.swaps import MOST_ITEMS, by_kind, cases_of, plan
from evaluator.offline.measures.measure import judged
from evaluator.offline.resampling import Numbers, interval
from models.measures.ranking import DEPTH, ndcg, random_ndcg
from models.measures.shelves import shared

NAME = "fairness"

LEAST = 30
"""Cases that a group or a segment needs for a figure of its own."""

SHOWN = 5
"""Groups of a grouping that have figures of their own, those with the most merit."""

UNFAIR = 0.8
"""The ratio of exposure to merit, a group's over the others', below which it is unfair: the four-fifths rule."""

ATTAINABLE = 0.9
"""A group is treated unfairly only where the best order would give it more than its exposure over this."""

WEIGHTY = 0.05
"""The share of merit or exposure that a brand needs for a finding."""

AMPLIFIED = 1.5
"""The ratio of the popularity of what is shown to that of what was chosen above which a reader is told."""

GAP = 0.05
"""The gap in nDCG@10 between segments above which a reader is told."""

LEAST_SWAPS = 10
"""Cases with swapped words that a figure needs."""

FLIPPED = 0.25
"""The share of pairs that turn round when names are swapped above which a reader is told."""

SWAPPED = {"brand": "two brands' names", "gender": "words of gender"}

UNFAIR_TO = {
    "age": "It is unfair to {group} items: they get {exposure:.1%} of the exposure for {merit:.1%} of the merit.",
    "brand": "It is unfair to items of brand “{group}”: they get {exposure:.1%} of the exposure for {merit:.1%} of the "
    "merit.",
    "price": "It is unfair to items of price “{group}”: they get {exposure:.1%} of the exposure for {merit:.1%} of the "
    "merit.",
}
FAVOURED = "It favours the brand “{group}”: it gets {exposure:.1%} of the exposure for {merit:.1%} of the merit."
"""Sentences of findings, by the grouping."""

Named = Mapping[str, Any]


class Fairness:
    """See the module."""

    name = NAME

    def further_items(self, data: EvaluationData, seed: int) -> Mapping[str, Document]:
        """Items of the counterfactual cases."""
        return plan(data, seed)[1]

    def measure(self, bench: Bench) -> Part:
        """Exposure and merit by group, concentration, popularity, gaps between segments, swapped words."""
        part = Part()
        for grouping in groupings(bench.data):
            _by_group(bench, grouping, part)
        bench.progress(0.4)
        part.readings += [*_concentration(bench), *_popularity(bench, part)]
        bench.progress(0.6)
        _gaps(bench, part)
        _swaps(bench, part)
        return part


def _reading(replicates: Numbers, **names: Any) -> Reading:
    value = optional(replicates[0])
    drawn = [] if value is None else np.where(np.isfinite(replicates), replicates, value).tolist()
    return Reading(dimension=NAME, value=value, replicates=drawn, **names)


def _by_group(bench: Bench, grouping: Grouping, part: Part) -> None:
    shares = shares_of(bench.data, bench.scores, grouping.of)
    if not shares.total.any():
        return
    exposure, merit, ideal = shares.replicates(bench.resampling)
    counts = (shares.merit > 0).sum(axis=0)
    distance = centred(np.abs(exposure - merit).sum(axis=1) / 2)
    part.readings.append(
        _reading(
            distance,
            measure=f"exposure gap by {grouping.name}",
            better="lower",
            count=int((shares.total > 0).sum()),
            says="Half the sum of the differences between a group's share of the exposure and its share of the gains.",
            note=grouping.note,
        )
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = exposure / merit
    enough = [place for place in np.argsort(-merit[0], kind="stable").tolist() if counts[place] >= LEAST]
    for place in enough[:SHOWN]:
        part.readings.append(
            _reading(
                ratio[:, place],
                measure="exposure over merit",
                segment=f"{grouping.name}: {shares.names[place]}",
                better=None,
                count=int(counts[place]),
                says="Share of the exposure in the first ten over the share of the gains (Singh and Joachims 2018).",
                note=grouping.note,
            )
        )
    part.details[grouping.name] = _table(shares, exposure, merit, ideal, enough[:20])
    part.findings += _unfair(grouping.name, shares, enough, (exposure, merit, ideal))


def _table(shares: Shares, exposure: Numbers, merit: Numbers, ideal: Numbers, places: list[int]) -> list[Any]:
    """A row a group: its shares of exposure, merit and ideal exposure, with intervals."""
    rows = []
    for place in places:
        parts = {"exposure": exposure, "merit": merit, "ideal": ideal}
        bounds = {name: [optional(one) for one in interval(values[:, place])] for name, values in parts.items()}
        rows.append({"group": shares.names[place], "cases": int((shares.merit[:, place] > 0).sum()), **bounds})
    return rows


def _unfair(by: str, shares: Shares, enough: list[int], parts: tuple[Numbers, Numbers, Numbers]) -> Iterator[Finding]:
    """The group that is treated worst, and for brands the one that is treated best, where that is sure."""
    exposure, merit, ideal = (part[:, enough] for part in parts)
    if not enough:
        return
    with np.errstate(invalid="ignore", divide="ignore"):
        others = (exposure / merit) / ((1 - exposure) / (1 - merit))
        reached = exposure / ideal
    others, reached = (np.where(np.isfinite(part), part, np.nan) for part in (others, reached))
    tail = 0.025 / len(enough)  # all groups are looked at: Bonferroni
    worst = np.nanquantile(others[1:], 1 - tail, axis=0), np.nanquantile(reached[1:], 1 - tail, axis=0)
    best = np.nanquantile(others[1:], tail, axis=0), np.nanquantile(reached[1:], tail, axis=0)
    big = np.maximum(exposure[0], merit[0]) >= (WEIGHTY if by == "brand" else 0.0)
    starved = big & (worst[0] < UNFAIR) & (worst[1] < ATTAINABLE)
    if starved.any():
        at = int(np.argmin(np.where(starved, others[0], np.inf)))
        group = shares.names[enough[at]]
        told = _shares(UNFAIR_TO[by], (exposure[:, at], merit[:, at], ideal[:, at]), group)
        name = f"unfair_to_{group}" if by == "age" else f"unfair_by_{by}"
        yield finding(NAME, name, 0.8 if worst[0][at] < 0.5 else 0.6, *told)
    favoured = big & (best[0] > 1 / UNFAIR) & (best[1] > 1 / ATTAINABLE)
    if by == "brand" and favoured.any():
        at = int(np.argmax(np.where(favoured, others[0], -np.inf)))
        told = _shares(FAVOURED, (exposure[:, at], merit[:, at], ideal[:, at]), shares.names[enough[at]])
        yield finding(NAME, "favours_brand", 0.5, *told)


def _shares(text: str, parts: tuple[Numbers, Numbers, Numbers], group: str) -> Iterator[Message]:
    """What a group gets of the exposure for which merit, and what it would get."""
    exposure, merit, ideal = (interval(part) for part in parts)
    yield said(text, group=group, exposure=exposure.value, merit=merit.value)
    text = (
        "The intervals are {low:.1%} to {high:.1%} of the exposure and {least:.1%} to {most:.1%} of the merit; "
        "the best order would give {ideal:.1%}."
    )
    bounds = {"low": exposure.low, "high": exposure.high, "least": merit.low, "most": merit.high}
    yield said(text, **bounds, ideal=ideal.value)


def _concentration(bench: Bench) -> Iterator[Reading]:
    """Gini's coefficient of exposure over all items that are ranked."""
    number = {item: place for place, item in enumerate(ranked(bench.data))}
    rows, places, values = [], [], []
    for row, (case, scores) in enumerate(zip(bench.data.cases, bench.scores, strict=True)):
        seen = shared(scores)
        for at in np.flatnonzero(seen):
            rows.append(row)
            places.append(number[case.items[at]])
            values.append(seen[at])
    shape = (len(number), len(bench.data.cases))
    of = sparse.csr_matrix((values, (places, rows)), shape=shape)
    of = of[np.flatnonzero(of.getnnz(axis=1))]
    unseen = shape[0] - of.shape[0]
    # Items without exposure stand first in the order; they add nothing but their number.
    found = [
        1 - (1 - gini(amounts)) * len(amounts) / (len(amounts) + unseen)
        for amounts in ((of @ weights) for weights in bench.resampling.weights)
    ]
    yield _reading(
        centred(np.array(found)),
        measure="gini of exposure",
        better=None,
        count=len(number),
        says="Gini's coefficient of the exposure of all candidates: 0 where all have as much, 1 where one has all.",
    )


def _popularity(bench: Bench, part: Part) -> Iterator[Reading]:
    """How much more popular the first ten are than the candidates, and what is shown than what was chosen."""
    sold = popularity(bench.data)
    if not sold:
        return
    most = np.ones(DEPTH)
    figures = np.full((4, len(bench.data.cases)), np.nan)
    for row, (case, scores) in enumerate(zip(bench.data.cases, bench.scores, strict=True)):
        of = np.array([sold[item] for item in case.items], np.float64)
        if len(of) > 1:
            figures[:2, row] = (of @ shared(scores, most)) / min(DEPTH, len(of)), of.mean()
        gains, seen = merits(case, bench.data.span[0]), shared(scores)
        if case.decided and gains.any():
            figures[2:, row] = (of @ seen) / seen.sum(), (of @ gains) / gains.sum()
    means = [bench.resampling.mean(one) for one in figures]
    note = "popularity: how often an item had a gain in the training part"
    with np.errstate(invalid="ignore", divide="ignore"):
        lift, amplified = means[0] / means[1], means[2] / means[3]
    yield _reading(
        lift,
        measure="popularity lift",
        better=None,
        count=int((~np.isnan(figures[0])).sum()),
        says="Mean popularity of the first ten over that of all candidates: 1 where popularity does not matter.",
        note=note,
    )
    yield _reading(
        amplified,
        measure="popularity amplification",
        better=None,
        count=int((~np.isnan(figures[2])).sum()),
        says="Mean popularity of what is shown, by exposure, over that of what was chosen, by gain.",
        note=note,
    )
    bounds = interval(amplified)
    if bounds.low > AMPLIFIED:
        text = (
            "It amplifies popularity: what it shows is {value:.1f} times ({low:.1f} to {high:.1f}) as popular as what "
            "was chosen."
        )
        part.findings.append(finding(NAME, "amplifies_popularity", 0.4, said(text, **bounds._asdict())))


def _gaps(bench: Bench, part: Part) -> None:
    """The largest gap in nDCG@10 between segments, by each segmentation."""
    least = bench.data.span[0]
    values, chance = np.full((2, len(bench.data.cases)), np.nan)
    for row, (case, scores) in enumerate(zip(bench.data.cases, bench.scores, strict=True)):
        values[row] = ndcg(judged(case, scores, least).gains)
        chance[row] = random_ndcg(merits(case, least)[~np.isnan(case.gains)])
    for by, names in _segmentations(bench).items():
        counts = Counter(name for name, value in zip(names, values, strict=True) if name and not math.isnan(value))
        means = {
            name: (_mean(bench, values, names, name), _mean(bench, values - chance, names, name))
            for name in sorted(counts)
            if counts[name] >= LEAST
        }
        if len(means) < 2:
            continue
        best, worst = (pick(means, key=lambda name: means[name][0][0]) for pick in (max, min))
        gap, beyond = (means[best][at] - means[worst][at] for at in (0, 1))
        says = "nDCG@10 of the segment with the best less that of the one with the worst."
        note = said("{best} less {worst}", best=best, worst=worst)
        named: Named = {"measure": "ndcg@10 gap", "segment": by, "better": "lower", "says": says, "note": note}
        part.readings.append(_reading(gap, count=counts[best] + counts[worst], **named))
        one, two = interval(gap), interval(beyond)
        if min(one.low, two.low) > GAP:
            text = (
                "It serves some cases worse: {by} “{worst}” has an nDCG@10 lower by {value:.3f} "
                "({low:.3f} to {high:.3f}) than “{best}”."
            )
            told = said(text, by=by, worst=worst, best=best, **one._asdict())
            beyond_random = said("That is {value:.3f} beyond what a random order gives.", value=two.value)
            part.findings.append(finding(NAME, "quality_gap", 0.3, told, beyond_random))


def _mean(bench: Bench, values: Numbers, names: list[str], name: str) -> Numbers:
    return bench.resampling.mean(np.where(np.array(names) == name, values, np.nan))


def _segmentations(bench: Bench) -> dict[str, list[str]]:
    """The segments of the data, and shoppers with shorter and longer pasts."""
    cases = bench.data.cases
    found = {
        by: [case.segments.get(by, "") for case in cases] for by in dict.fromkeys(b for c in cases for b in c.segments)
    }
    lengths = [len(case.history) for case in cases]
    if any(lengths):
        middle = float(np.median(lengths))
        found["past"] = ["shorter or as long as the median" if one <= middle else "longer" for one in lengths]
    return found


def _swaps(bench: Bench, part: Part) -> None:
    swaps, _ = plan(bench.data, bench.seed)
    if not swaps:
        return
    scores = bench.contender.score(cases_of(swaps))
    for kind, found in by_kind(swaps, scores):
        if len(found) < LEAST_SWAPS:
            continue
        values = np.full(len(bench.data.cases), np.nan)
        values[[place for place, _ in found]] = [share for _, share in found]
        replicates = bench.resampling.mean(values)
        reading = _reading(
            replicates,
            measure=f"{kind} swap",
            better="lower",
            count=len(found),
            says=said(
                "Share of pairs that turn round when {what} are swapped in all texts; queries name none.",
                what=SWAPPED[kind],
            ),
            note=said("{count} sampled cases of up to {most} candidates", count=len(found), most=MOST_ITEMS),
        )
        part.readings.append(reading)
        bounds = interval(replicates)
        if bounds.low > FLIPPED and len(found) >= LEAST:
            text = "It reads {kind}: {value:.0%} of pairs ({low:.0%} to {high:.0%}) turn round when {what} are swapped."
            told = (
                said(text, kind=kind, what=SWAPPED[kind], **bounds._asdict()),
                said("They are swapped in all items' texts, for queries that name none."),
            )
            part.findings.append(finding(NAME, f"reads_{kind}", 0.7, *told))


DIMENSION = Fairness()
