"""Fairness: does exposure follow merit, are popular items pushed further, and does the order hang on names?

Exposure is that of :mod:`models.measures.shelves`, as on the live page and in the gate. Merit is a group's share of the
gains. Knows values, and ranks cases with swapped words; nothing of how contenders work.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from evaluator.message import Message, joined, said
from evaluator.offline.contenders.contender import PaidContender
from evaluator.offline.data import Document, EvaluationData
from evaluator.offline.dimensions.dimension import Bench, Finding, Part, Reading, finding, optional
from evaluator.offline.fairness.exposure import Shares, centred, gini, merits, shares_of
from evaluator.offline.fairness.groups import Grouping, groupings, popularity, ranked
from evaluator.offline.fairness.swaps import MOST_ITEMS, by_kind, cases_of, fewer, plan
from evaluator.offline.measures.measure import judged
from evaluator.offline.resampling import Numbers, interval
from models.measures.ranking import DEPTH, ndcg, random_ndcg
from models.measures.shelves import shared

NAME = "fairness"

LEAST = 30
"""Cases that a group or a segment needs for a figure of its own."""

SHOWN = 5
"""Groups of a grouping that have figures of their own, those with the most merit."""

TABLE = 20
"""Groups of a grouping in the table."""

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

SWAPPED = {"brand": "two brands' names", "gender": "words of gender"}

UNFAIR_TO = {
    "age": "It is unfair to {group} items: they get {exposure:.1%} of the exposure for {merit:.1%} of the merit.",
    "brand": "It is unfair to items of brand “{group}”: they get {exposure:.1%} of the exposure for {merit:.1%} of the "
    "merit.",
    "seller": "It is unfair to items of seller “{group}”: they get {exposure:.1%} of the exposure for {merit:.1%} of "
    "the merit.",
    "price": "It is unfair to items of price “{group}”: they get {exposure:.1%} of the exposure for {merit:.1%} of the "
    "merit.",
}
FAVOURED = {
    "brand": "It favours the brand “{group}”: it gets {exposure:.1%} of the exposure for {merit:.1%} of the merit.",
    "seller": "It favours the seller “{group}”: it gets {exposure:.1%} of the exposure for {merit:.1%} of the merit.",
}
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
        note=joined([note, said("about {chance:.4f} of it is chance", chance=max(0.0, larger))]),
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
    names = one.grouping.name in FAVOURED  # many groups, most of them small
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
        told = _shares(UNFAIR_TO[by], (exposure[:, at], merit[:, at], ideal[:, at]), group)
        name = f"unfair_to_{group}" if by == "age" else f"unfair_by_{by}"
        yield finding(NAME, name, 0.8 if bounds[at][0].high < 0.5 else 0.6, *told)
    favoured = [at for at, (two, three) in enumerate(bounds) if two.low > 1 / UNFAIR and three.low > 1 / ATTAINABLE]
    if by in FAVOURED and favoured:
        at = max(favoured, key=lambda at: others[0, at])
        told = _shares(FAVOURED[by], (exposure[:, at], merit[:, at], ideal[:, at]), one.shares.names[places[at]])
        yield finding(NAME, f"favours_{by}", 0.5, *told)


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
    amounts: dict[tuple[str, ...], Numbers] = {}  # cases of a feed share their candidates
    for row, (case, scores) in enumerate(zip(bench.data.cases, bench.scores, strict=True)):
        if case.items not in amounts:
            amounts[case.items] = np.array([sold[item] for item in case.items], np.float64)
        of = amounts[case.items]
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
    """The largest gap in nDCG@10 between segments, by each segmentation.

    The best and the worst of several segments are apart by chance too: a finding needs intervals that hold for all
    pairs of all segmentations together.
    """
    least = bench.data.span[0]
    values, beyond = np.full((2, len(bench.data.cases)), np.nan)
    for row, (case, scores) in enumerate(zip(bench.data.cases, bench.scores, strict=True)):
        values[row] = ndcg(judged(case, scores, least).gains)
        beyond[row] = values[row] - random_ndcg(merits(case, least)[~np.isnan(case.gains)])
    means = {by: _means(bench, names, values, beyond) for by, names in _segmentations(bench).items()}
    looks = sum(math.comb(len(some), 2) for some in means.values())
    for by, some in means.items():
        if len(some) < 2:
            continue
        best, worst = (pick(some, key=lambda name: some[name].values[0]) for pick in (max, min))
        gap, more = some[best].values - some[worst].values, some[best].beyond - some[worst].beyond
        says = "nDCG@10 of the segment with the best less that of the one with the worst."
        note = said("{best} less {worst}", best=best, worst=worst)
        named: Named = {"measure": "ndcg@10 gap", "segment": by, "better": "lower", "says": says, "note": note}
        part.readings.append(_reading(gap, count=some[best].cases + some[worst].cases, **named))
        one, two = interval(gap, looks), interval(more, looks)
        if min(one.low, two.low) > GAP:
            text = (
                "It serves some cases worse: {by} “{worst}” has an nDCG@10 lower by {value:.3f} "
                "({low:.3f} to {high:.3f}) than “{best}”."
            )
            told = said(text, by=by, worst=worst, best=best, **one._asdict())
            beyond_random = said("That is {value:.3f} beyond what a random order gives.", value=two.value)
            part.findings.append(finding(NAME, "quality_gap", 0.3, told, beyond_random))


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
            says=said(
                "Share of pairs that turn round when {what} are swapped in all texts; queries name none.",
                what=SWAPPED[kind],
            ),
            note=said("{count} sampled cases of up to {most} candidates", count=len(found), most=MOST_ITEMS),
        )
        part.readings.append(reading)
        bounds = interval(replicates, looks=len(kinds))
        if bounds.low > FLIPPED and len(found) >= LEAST:
            text = "It reads {kind}: {value:.0%} of pairs ({low:.0%} to {high:.0%}) turn round when {what} are swapped."
            told = (
                said(text, kind=kind, what=SWAPPED[kind], **bounds._asdict()),
                said("They are swapped in all items' texts, for queries that name none."),
            )
            part.findings.append(finding(NAME, f"reads_{kind}", 0.7, *told))


DIMENSION = Fairness()
