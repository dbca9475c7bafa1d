"""Fairness: does exposure follow merit, are popular items pushed further, and does the order hang on names?

Exposure is the gate's: 1 / log2(1 + rank) over the first ten (Singh and Joachims 2018). Merit is a group's share of the
gains. Knows values, and ranks cases with swapped words; nothing of how contenders work.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from evaluator.gate.checks.exposure import DEPTH
from evaluator.offline.contenders.contender import PaidContender
from evaluator.offline.data import Document, EvaluationData
from evaluator.offline.dimensions.dimension import Bench, Finding, Part, Reading, optional
from evaluator.offline.effect.honesty import random_ndcg
from evaluator.offline.fairness.exposure import Shares, centred, exposures, gini, merits, shared, shares_of
from evaluator.offline.fairness.groups import Grouping, groupings, popularity, ranked
from evaluator.offline.fairness.swaps import MOST_ITEMS, by_kind, cases_of, fewer, plan
from evaluator.offline.measures.measure import judged
from evaluator.offline.measures.ranking import ndcg
from evaluator.offline.resampling import Interval, Numbers, interval

NAME = "fairness"

LEAST = 30
"""Cases that a group or a segment needs for a figure of its own."""

SHOWN = 5
"""Groups of a grouping that have figures of their own, those with the most merit."""

TABLE = 20
"""Groups of a grouping in the table."""

NAMES = ("brand", "seller")
"""Groupings with many small groups, of which only those with some weight are looked at for a finding."""

UNFAIR = 0.8
"""The ratio of exposure to merit, a group's over the others', below which it is unfair: the four-fifths rule."""

ATTAINABLE = 0.9
"""A group is treated unfairly only where the best order would give it more than its exposure over this."""

WEIGHTY = 0.05
"""The share of merit or exposure that a brand or a seller needs for a finding."""

AMPLIFIED = 1.5
"""The ratio of the popularity of what is shown to that of what was chosen above which a reader is told."""

GAP = 0.05
"""The gap in nDCG@10 between segments above which a reader is told."""

PAID_SWAPS = 12
"""Cases of each kind with swapped words that a service is asked for."""

LEAST_SWAPS = 10
"""Cases with swapped words that a figure needs."""

FLIPPED = 0.25
"""The share of pairs that turn round when names are swapped above which a reader is told."""

Named = Mapping[str, Any]


class Fairness:
    """See the module."""

    name = NAME

    def further_items(self, data: EvaluationData, seed: int) -> Mapping[str, Document]:
        """Items of the counterfactual cases."""
        return plan(data, seed)[1]

    def measure(self, bench: Bench) -> Part:
        """Exposure and merit by group, concentration, popularity, gaps between segments, swapped words."""
        measured = list(_measured(bench))
        part = Part(readings=[reading for one in measured for reading in _of_groups(one)])
        part.details |= {one.grouping.name: _table(one) for one in measured}
        part.findings += _unfair(measured)
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


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What the groups of one grouping got, by draw: float64 [draws + 1, groups] each.

    Attributes
    ----------
    told
        Places of the groups that have figures, those with the most merit first.
    """

    grouping: Grouping
    shares: Shares
    exposure: Numbers
    merit: Numbers
    ideal: Numbers
    told: list[int]

    @property
    def counts(self) -> Numbers:
        """How many cases each group has merit in."""
        found: Numbers = (self.shares.merit > 0).sum(axis=0)
        return found


def _measured(bench: Bench) -> Iterator[Measured]:
    """Every grouping of the data's items; none where no order is better than another."""
    for grouping in groupings(bench.data):
        shares = shares_of(bench.data, bench.scores, grouping.of)
        if shares.total.any():
            exposure, merit, ideal = shares.replicates(bench.resampling)
            counts, order = (shares.merit > 0).sum(axis=0), np.argsort(-merit[0], kind="stable").tolist()
            told = [place for place in order if counts[place] >= LEAST][:TABLE]
            yield Measured(grouping, shares, exposure, merit, ideal, told)


def _of_groups(one: Measured) -> Iterator[Reading]:
    """How far exposure is from merit over all groups, and the ratio of both of the groups with the most merit."""
    note = one.grouping.note
    gap = np.abs(one.exposure - one.merit).sum(axis=1) / 2
    larger = float(np.nanmean(gap[1:]) - gap[0])  # resampling adds as much as sampling did
    yield _reading(
        centred(gap),
        measure=f"exposure gap by {one.grouping.name}",
        better="lower",
        count=int((one.shares.total > 0).sum()),
        says="Half the sum of the differences between a group's share of the exposure and its share of the gains.",
        note=f"{note}; about {max(0.0, larger):.4f} of it is chance",
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = one.exposure / one.merit
    for place in one.told[:SHOWN]:
        yield _reading(
            ratio[:, place],
            measure="exposure over merit",
            segment=f"{one.grouping.name}: {one.shares.names[place]}",
            better=None,
            count=int(one.counts[place]),
            says="Share of the exposure in the first ten over the share of the gains (Singh and Joachims 2018).",
            note=note,
        )


def _table(one: Measured) -> list[Any]:
    """A row a group: its shares of exposure, merit and ideal exposure, with intervals."""
    parts = {"exposure": one.exposure, "merit": one.merit, "ideal": one.ideal}
    return [
        {"group": one.shares.names[place], "cases": int(one.counts[place])}
        | {name: [optional(bound) for bound in interval(values[:, place])] for name, values in parts.items()}
        for place in one.told
    ]


def _unfair(measured: Sequence[Measured]) -> Iterator[Finding]:
    """Of each grouping the group that is treated worst, and the brand or seller that is treated best, where that is
    sure. Groups of too little weight are not looked at; the intervals are of all others together."""
    looked_at = [(one, [place for place in one.told if _weighty(one, place)]) for one in measured]
    looks = sum(len(places) for _, places in looked_at)
    for one, places in looked_at:
        if places:
            yield from _unfair_by(one, places, looks)


def _weighty(one: Measured, place: int) -> bool:
    names = one.grouping.name in NAMES
    return bool(max(one.exposure[0, place], one.merit[0, place]) >= (WEIGHTY if names else 0.0))


def _unfair_by(one: Measured, places: list[int], looks: int) -> Iterator[Finding]:
    by = one.grouping.name
    exposure, merit, ideal = (part[:, places] for part in (one.exposure, one.merit, one.ideal))
    with np.errstate(invalid="ignore", divide="ignore"):
        others = (exposure / merit) / ((1 - exposure) / (1 - merit))
        reached = exposure / ideal
    others, reached = (np.where(np.isfinite(part), part, np.nan) for part in (others, reached))
    bounds = [(interval(others[:, at], looks), interval(reached[:, at], looks)) for at in range(len(places))]
    starved = [at for at, (two, three) in enumerate(bounds) if two.high < UNFAIR and three.high < ATTAINABLE]
    if starved:
        at = min(starved, key=lambda at: others[0, at])
        group = one.shares.names[places[at]]
        said = f"{group} items" if by == "age" else f"items of {by} “{group}”"
        said = f"It is unfair to {said}: they get {_shares(exposure[:, at], merit[:, at], ideal[:, at])}"
        name = f"unfair_to_{group}" if by == "age" else f"unfair_by_{by}"
        yield Finding(dimension=NAME, name=name, severity=0.8 if bounds[at][0].high < 0.5 else 0.6, sentence=said)
    favoured = [at for at, (two, three) in enumerate(bounds) if two.low > 1 / UNFAIR and three.low > 1 / ATTAINABLE]
    if by in NAMES and favoured:
        at = max(favoured, key=lambda at: others[0, at])
        said = f"It favours the {by} “{one.shares.names[places[at]]}”, which gets "
        said += _shares(exposure[:, at], merit[:, at], ideal[:, at])
        yield Finding(dimension=NAME, name=f"favours_{by}", severity=0.5, sentence=said)


def _shares(exposure: Numbers, merit: Numbers, ideal: Numbers) -> str:
    return (
        f"{_percent(interval(exposure))} of the exposure for {_percent(interval(merit))} of the merit; "
        f"the best order would give {ideal[0]:.1%}."
    )


def _percent(one: Interval) -> str:
    return f"{one.value:.1%} ({one.low:.1%} to {one.high:.1%})"


def _concentration(bench: Bench) -> Iterator[Reading]:
    """Gini's coefficient of exposure over all items that are ranked."""
    number = {item: place for place, item in enumerate(ranked(bench.data))}
    rows, places, values = [], [], []
    for row, (case, scores) in enumerate(zip(bench.data.cases, bench.scores, strict=True)):
        seen = exposures(scores)
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
    amounts: dict[tuple[str, ...], Numbers] = {}  # cases of a feed share their candidates
    for row, (case, scores) in enumerate(zip(bench.data.cases, bench.scores, strict=True)):
        if case.items not in amounts:
            amounts[case.items] = np.array([sold[item] for item in case.items], np.float64)
        of = amounts[case.items]
        if len(of) > 1:
            figures[:2, row] = (of @ shared(scores, most)) / min(DEPTH, len(of)), of.mean()
        gains, seen = merits(case, bench.data.span[0]), exposures(scores)
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
        said = f"What it shows is {bounds.value:.1f} times as popular as what was chosen ({bounds.low:.1f} to "
        said += f"{bounds.high:.1f} times): it amplifies popularity."
        part.findings.append(Finding(dimension=NAME, name="amplifies_popularity", severity=0.4, sentence=said))


def _gaps(bench: Bench, part: Part) -> None:
    """The largest gap in nDCG@10 between segments, by each segmentation.

    The best and the worst of several segments are apart by chance too: a finding needs intervals that hold for all
    pairs of all segmentations together.
    """
    least = bench.data.span[0]
    values, beyond = np.full((2, len(bench.data.cases)), np.nan)
    for row, (case, scores) in enumerate(zip(bench.data.cases, bench.scores, strict=True)):
        values[row] = ndcg(judged(case, scores, least).gains)
        beyond[row] = values[row] - random_ndcg(case, least)
    means = {by: _means(bench, names, values, beyond) for by, names in _segmentations(bench).items()}
    looks = sum(math.comb(len(some), 2) for some in means.values())
    for by, some in means.items():
        if len(some) < 2:
            continue
        best, worst = (pick(some, key=lambda name: some[name].values[0]) for pick in (max, min))
        gap, more = some[best].values - some[worst].values, some[best].beyond - some[worst].beyond
        says = "nDCG@10 of the segment with the best less that of the one with the worst."
        note = f"{best} less {worst}"
        named: Named = {"measure": "ndcg@10 gap", "segment": by, "better": "lower", "says": says, "note": note}
        part.readings.append(_reading(gap, count=some[best].cases + some[worst].cases, **named))
        one, two = interval(gap, looks), interval(more, looks)
        if min(one.low, two.low) > GAP:
            said = f"{by} “{worst}” is served worse than “{best}”: nDCG@10 lower by {one.value:.3f} ({one.low:.3f} to "
            said += f"{one.high:.3f}), and by {two.value:.3f} beyond what a random order gives."
            part.findings.append(Finding(dimension=NAME, name="quality_gap", severity=0.3, sentence=said))


class Segment(NamedTuple):
    """Replicates of a segment's mean nDCG@10, of the same less a random order's, and how many cases it has."""

    values: Numbers
    beyond: Numbers
    cases: int


def _means(bench: Bench, names: Sequence[str], values: Numbers, beyond: Numbers) -> dict[str, Segment]:
    """Segments with enough cases, in the order of their names."""
    counts = Counter(name for name, value in zip(names, values, strict=True) if name and not math.isnan(value))
    found = {}
    for name in sorted(name for name, count in counts.items() if count >= LEAST):
        inside = np.array(names) == name
        own, more = (bench.resampling.mean(np.where(inside, some, np.nan)) for some in (values, beyond))
        found[name] = Segment(own, more, counts[name])
    return found


def _segmentations(bench: Bench) -> dict[str, list[str]]:
    """The segments of the data: of each segmentation every case's, empty where it has none."""
    cases = bench.data.cases
    names = dict.fromkeys(by for case in cases for by in case.segments)
    return {by: [case.segments.get(by, "") for case in cases] for by in names}


def _swaps(bench: Bench, part: Part) -> None:
    swaps, _ = plan(bench.data, bench.seed)
    if isinstance(bench.contender, PaidContender):
        swaps = fewer(swaps, PAID_SWAPS)
    if not swaps:
        return
    scores = bench.contender.score(cases_of(swaps))
    kinds = list(by_kind(swaps, scores))
    for kind, found in kinds:
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
            says=f"Share of pairs that turn round when {_said(kind)} are swapped in all texts; queries name none.",
            note=f"{len(found)} sampled cases of up to {MOST_ITEMS} candidates",
        )
        part.readings.append(reading)
        bounds = interval(replicates, looks=len(kinds))
        if bounds.low > FLIPPED and len(found) >= LEAST:
            said = (
                f"It reads {kind}: {bounds.value:.0%} of pairs ({bounds.low:.0%} to {bounds.high:.0%}) turn round when "
            )
            said += f"{_said(kind)} are swapped in the items' texts, for queries that name none."
            part.findings.append(Finding(dimension=NAME, name=f"reads_{kind}", severity=0.7, sentence=said))


def _said(kind: str) -> str:
    return "two brands' names" if kind == "brand" else "words of gender"


DIMENSION = Fairness()
