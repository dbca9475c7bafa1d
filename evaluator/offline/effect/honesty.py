"""Defects of effect that a reader has to see first: leaked test data, crashes on empty text, and probabilities that
are wrong although the order is right.

Each is named only where its interval supports it. Knows a bench and the figures of all cases; nothing of files.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from evaluator.message import Text, said
from evaluator.offline.contenders.contender import Scores, ServiceError, checked
from evaluator.offline.data import Case, Document, EvaluationData, spelled
from evaluator.offline.dimensions.dimension import Bench, Finding, Reading, finding
from evaluator.offline.resampling import Numbers, interval
from evaluator.offline.safety.privacy import told_of
from models.measures.ranking import DEPTH, ndcg, random_ndcg

EMPTY = "effect/empty"
"""The id of the item without a text."""

LEAST = 30
"""Cases that a comparison needs on each side."""

OVERLAP = 0.01
"""Share of judged pairs that may be in the training part too."""

PERFECT = 0.995
"""An nDCG that no honest model reaches where graders disagree or shoppers choose."""

ROOM = 0.02
"""How far a random order has to be from perfect, so that a perfect one tells something."""

MISCALIBRATED = 0.1

PANELS = 20
"""How often a second panel of graders is simulated."""


def empty_item() -> dict[str, Document]:
    """An item without a text, as catalogues have them."""
    return {EMPTY: Document("")}


def chance_ndcg(case: Case, least: float, at: int = DEPTH) -> float:
    """The nDCG that a random order of a case's judged items has on average; NaN where no order is better than another.

    Examples
    --------
    >>> round(chance_ndcg(Case("c", ("a", "b"), np.array([0.0, 1.0])), 0.0), 3)
    0.815
    """
    return random_ndcg(case.gains[~np.isnan(case.gains)] - least, at)


def findings(bench: Bench, ndcg: Numbers, calibration: Sequence[Reading]) -> Iterator[Finding]:
    """All of them; ``ndcg`` is of each case, NaN where undefined; ``calibration`` of each intent."""
    base = np.array([chance_ndcg(case, bench.data.span[0]) for case in bench.data.cases])
    yield from _overlap(bench, ndcg, base)
    yield from _too_good(bench, ndcg, base)
    yield from _miscalibrated(bench, ndcg, base, calibration)
    yield from _empty_texts(bench)


def overlap(data: EvaluationData) -> tuple[Numbers, int]:
    """Of each case the share of its judged pairs of query and item that are in the training part too, and their sum.

    A feed's cases have no query: an order is in both parts where shopper, time and an item are the same.
    """
    known = {(_context(case), item) for case in data.train for item in _judged(case, data)}
    found, total = np.zeros(len(data.cases)), 0
    for place, case in enumerate(data.cases):
        pairs = _judged(case, data)
        shared = sum((_context(case), item) in known for item in pairs)
        found[place], total = shared / max(1, len(pairs)), total + shared
    return found, total


def _context(case: Case) -> str:
    return spelled(case.query) or f"{case.shopper}/{case.ts}"


def _judged(case: Case, data: EvaluationData) -> list[str]:
    """Judged items; of a feed those that were bought."""
    pairs = zip(case.items, case.gains.tolist(), strict=True)
    return [item for item, gain in pairs if gain == gain and (data.task != "feed" or gain > data.span[0])]  # noqa: PLR0124


def _overlap(bench: Bench, ndcg: Numbers, base: Numbers) -> Iterator[Finding]:
    """Pairs that are in both parts, and whether the contender is better on them.

    In lists of clicks the same query comes again and again: there a pair in both parts is no leak.
    """
    if bench.data.task == "clicks" or not bench.data.train:
        return
    share, total = overlap(bench.data)
    pairs = sum(len(_judged(case, bench.data)) for case in bench.data.cases)
    if total <= OVERLAP * pairs:
        return
    text = "{total:,} of {pairs:,} judged pairs ({share:.0%}) are in the training part too."
    told = [said(text, total=total, pairs=pairs, share=total / pairs)]
    seen, severity = share > 0.5, 0.6
    gain = (ndcg - base) / np.maximum(1 - base, ROOM)
    sides = [np.where(side, gain, np.nan) for side in (seen, ~seen)]
    if all((side == side).sum() >= LEAST for side in sides):  # noqa: PLR0124
        one, other = (bench.resampling.mean(side) for side in sides)
        apart = interval(one - other)
        if apart.low > 0:
            text = (
                "On cases it could have seen it closes {seen:.0%} of the gap between a random and a perfect order, "
                "on others {other:.0%}: it has learned the test."
            )
            told.insert(0, said(text, seen=one[0], other=other[0]))
            severity = 1.0
    elif interval(bench.resampling.mean(gain)).low > 0:
        told.append(said("Its figures are of what it could have learned by heart."))
    yield finding("effect", "leak", severity, *told)


def _too_good(bench: Bench, ndcg: Numbers, base: Numbers) -> Iterator[Finding]:
    """An order better than a second panel of the same graders would have, or all but perfect."""
    known = ~np.isnan(ndcg)
    if known.sum() < LEAST or np.nanmean(base) > 1 - ROOM:
        return
    found, limit = interval(bench.resampling.mean(ndcg)), PERFECT
    beside = said("A random order has {random:.3f}.", random=np.nanmean(base))
    panel = second_panel(bench.data, bench.seed)
    if panel is not None:
        apart = interval(bench.resampling.mean(ndcg - panel))
        limit = float(np.nanmean(panel))
        text = "A random order has {random:.3f}, and the graders' own order {limit:.3f} if graded anew."
        beside = said(text, random=np.nanmean(base), limit=limit)
        better = apart.low > 0
    else:
        better = found.low > limit
    if better:
        text = "Its nDCG@10 of {value:.3f} is too good: it has probably been trained on the test data."
        yield finding("effect", "too good", 0.95, said(text, value=found.value), beside)


def second_panel(data: EvaluationData, seed: int) -> Numbers | None:
    """Each case's nDCG@10 of the true grades' order, judged by a second panel of graders; None where grades are whole.

    A grade between two whole ones is the mean of three graders. The second panel's three draw from the two whole grades
    around it, with the grade as mean: the least disagreement that there can be, so what is better has seen the grades.
    """
    if data.task != "graded" or not _averaged(data):
        return None
    chance, found = np.random.default_rng(seed), np.full(len(data.cases), np.nan)
    for place, case in enumerate(data.cases):
        if not case.decided:
            continue
        gains = np.sort(case.gains[~np.isnan(case.gains)])[::-1]
        under = np.floor(gains)
        votes = under + chance.binomial(3, gains - under, (PANELS, len(gains))) / 3
        found[place] = np.mean(np.nan_to_num([ndcg(row - data.span[0]) for row in votes], nan=1.0))
    return found


def _averaged(data: EvaluationData) -> bool:
    gains = np.concatenate([case.gains for case in data.cases])
    gains = gains[~np.isnan(gains)]
    bounds = np.array(data.span)
    whole = bool((bounds == bounds.round()).all())
    return whole and float((gains != gains.round()).mean()) > 0.2 and bounds[1] - bounds[0] > 1


def _miscalibrated(bench: Bench, ndcg: Numbers, base: Numbers, calibration: Sequence[Reading]) -> Iterator[Finding]:
    """The intent whose probabilities are furthest from the truth."""
    worst = max(calibration, key=lambda one: one.value or 0.0, default=None)
    if worst is None:
        return
    wrong = interval(np.array(worst.replicates, np.float64))
    gain = interval(bench.resampling.mean(ndcg - base))
    if wrong.low > MISCALIBRATED and gain.low > 0:
        text = (
            "Its probabilities are wrong: those of {intent} are off by {value:.2f} on average "
            "({low:.2f} to {high:.2f})."
        )
        off = said(text, intent=worst.segment.removeprefix("intent: "), **wrong._asdict())
        text = "It ranks better than a random order (nDCG@10 {gain:+.3f}): calibrate it."
        yield finding("effect", "miscalibrated", 0.7, off, said(text, gain=gain.value))


def _empty_texts(bench: Bench) -> Iterator[Finding]:
    """Score a case without query and history, and one with an item that has no text."""
    case = next((case for case in bench.data.cases if len(case.items) > 1), None)
    if case is None:
        return
    hidden = np.full(len(case.items), np.nan)
    bare = Case(case.id, case.items, hidden, shopper=case.shopper, ts=case.ts)
    items = (EMPTY, *case.items[1:])
    blank = Case(case.id, items, hidden, case.query, case.history, case.shopper, case.ts)
    known = (
        "It fails where the query is empty: {error}."
        if case.query
        else "It fails where the shopper has no past: {error}."
    )
    kinds = (
        (blank, "empty text", "It fails where an item has no text: {error}.", 0.8),
        (bare, "empty query", known, 0.7),
    )
    for one, name, text, severity in kinds:
        if (error := crash(bench, one)) is not None:
            yield finding("effect", name, severity, said(text, error=error))


def crash(bench: Bench, case: Case) -> Text | None:
    """What went wrong when a case was scored; None where nothing did."""
    try:
        found: Sequence[Scores] = bench.contender.score([case])
        checked(found, [case])
    except ServiceError:
        return None
    except Exception as error:
        return told_of(error)
    return None
