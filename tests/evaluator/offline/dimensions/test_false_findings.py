"""How often an honest contender is accused: of each finding, where the truth lies on the finding's own limit, and of
honest contenders on made data over many seeds. Each rate is at most 5 %; simulations leave room for their own noise."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binom

from evaluator.offline.contenders.contender import Scores
from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.dimensions import effect, fairness, interpretability, robustness, safety
from evaluator.offline.dimensions.dimension import Bench, Finding, Part, mean_reading
from evaluator.offline.effect import honesty
from evaluator.offline.effect.probabilities import by_chance as chance_error
from evaluator.offline.explanations.reliance import BrandReliance
from evaluator.offline.fairness.exposure import shares_of
from evaluator.offline.fairness.groups import Grouping
from evaluator.offline.perturbations.perturbation import STRENGTHS, QueryPerturbation, every
from evaluator.offline.perturbations.shift import Shift
from evaluator.offline.perturbations.trial import Outcome
from evaluator.offline.resampling import Resampling, interval, share
from tests.evaluator.offline.dimensions import benches
from tests.evaluator.offline.world import bench, graded, noisy

RUNS = 200

ALLOWED = 0.05 + 2 * (0.05 * 0.95 / RUNS) ** 0.5
"""What 200 runs of a true 5 % show at most, nineteen times of twenty."""

WRONG = 1 / np.log2(3)
"""nDCG of two items in the wrong order."""


def pairs(chance: np.random.Generator, right: Sequence[float], items: Sequence[str] = ()) -> Bench:
    """Cases of two items, the first one better, that are ranked right with these probabilities."""
    count = len(right)
    gains, names = np.array([1.0, 0.0]), [(f"{number}a", f"{number}b") for number in range(count)]
    cases = [Case(f"c{number}", one, gains, f"query {number}") for number, one in enumerate(names)]
    documents = {item: Document("thing") for one in names for item in one}
    scores = [np.array([float(hit), 0.5]) for hit in chance.random(count) < np.asarray(right)]
    data = EvaluationData("pairs", "clicks", cases, [], documents)
    return Bench(benches.Ranker(benches.by_gain), data, scores, None, resampled(count), 0, {"fit": 0.0})


DRAWN: dict[int, Resampling] = {}


def resampled(count: int) -> Resampling:
    """The draws of so many independent cases."""
    if count not in DRAWN:
        DRAWN[count] = Resampling.of([str(number) for number in range(count)], 400)
    return DRAWN[count]


def rate(accused: Callable[[np.random.Generator], object]) -> float:
    """How often something is found, over seeds."""
    return float(np.mean([bool(accused(np.random.default_rng(seed))) for seed in range(RUNS)]))


def test_a_loss_that_is_not_above_the_limit_is_seldom_told_whichever_change_is_worst() -> None:
    kinds = [one for one in every() if isinstance(one, QueryPerturbation)]

    def accused(chance: np.random.Generator) -> list[Finding]:
        outcomes = [Outcome(kind.name, 1) for kind in kinds]
        for one in outcomes:
            losses = robustness.SENSITIVE + 0.08 * chance.standard_exponential(60) - 0.08
            one.shifts = {
                place: Shift(lost, 1.0, 0.0, 1.0, math.nan, math.nan) for place, lost in enumerate(losses.tolist())
            }
        made = SimpleNamespace(resampling=resampled(60), data=SimpleNamespace(cases=range(60)))
        return list(robustness._sensitive(made, kinds, outcomes))  # type: ignore[arg-type]

    assert rate(accused) <= ALLOWED


def test_a_rise_that_is_not_above_the_limit_is_seldom_told_whichever_strength_lifts_most() -> None:
    kinds = [one for one in every() if getattr(one, "finding", "")]

    def accused(chance: np.random.Generator) -> list[Finding]:
        attacks = []
        for kind in kinds:
            outcomes = [Outcome(kind.name, strength) for strength in STRENGTHS]
            for one in outcomes:
                above = chance.integers(1, 10, 60)
                one.above = dict(enumerate(above.astype(float).tolist()))
                one.gained = dict(enumerate(chance.binomial(above, robustness.FOOLED).astype(float).tolist()))
            attacks.append((kind, outcomes))
        made = SimpleNamespace(resampling=resampled(60), data=SimpleNamespace(cases=range(60)))
        return list(robustness._fooled(made, attacks))  # type: ignore[arg-type]

    assert len(kinds) == 2
    assert rate(accused) <= ALLOWED


def test_who_reads_a_quarter_of_the_queries_is_seldom_said_to_ignore_them() -> None:
    assert 0.75**robustness.LEAST_IGNORED < 0.05


@pytest.mark.parametrize("count", [15, 25, 40])
def test_who_reads_as_many_queries_as_the_limit_is_seldom_said_to_ignore_them(count: int) -> None:
    hits = [k for k in range(count + 1) if share(k, count).high < interpretability.RARELY]
    assert sum(binom.pmf(k, count, interpretability.RARELY) for k in hits) <= 0.025


def test_explanations_on_the_limit_are_seldom_called_random() -> None:
    """Each of forty cases has four curves; a true share of them beats random ones."""

    def accused(chance: np.random.Generator) -> list[Finding]:
        made = SimpleNamespace(resampling=resampled(40), data=SimpleNamespace(cases=range(40)))
        readings = {}
        for side in ("query words", "item words"):
            name = f"{side}: better than random"
            won = chance.binomial(4, interpretability.NO_BETTER, 40) / 4
            readings[name] = mean_reading(won, made.resampling, measure=name, dimension="interpretability")
        none = BrandReliance(np.full(40, np.nan), float("nan"))
        return list(interpretability._findings(made, readings, none))  # type: ignore[arg-type]

    assert rate(accused) <= ALLOWED


@pytest.mark.parametrize("count", [40, 150, 600])
def test_who_is_nearly_perfect_is_seldom_called_too_good(count: int) -> None:
    """Also where hardly a case is wrong, so that resampling hardly varies."""
    right = 1 - (1 - honesty.PERFECT) / (1 - WRONG)

    def accused(chance: np.random.Generator) -> list[Finding]:
        made = pairs(chance, [right] * count)
        ndcg = np.where([scores[0] > scores[1] for scores in made.scores], 1.0, WRONG)
        base = np.array([honesty.chance_ndcg(case, 0.0) for case in made.data.cases])
        return list(honesty._too_good(made, ndcg, base))

    assert rate(accused) <= ALLOWED


def test_right_probabilities_are_seldom_called_wrong_however_few_there_are() -> None:
    """Outcomes are drawn by the probabilities themselves; the order is better than random."""
    errors, floors = [], []

    def accused(chance: np.random.Generator) -> bool:
        data = graded(30, each=4, seed=int(chance.integers(1_000)))
        given = [chance.dirichlet(np.ones(4), 4) for _ in data.cases]
        grades = (3.0, 7 / 3, 5 / 3, 1.0)
        gains = [np.array([grades[chance.choice(4, p=row)] for row in rows]) for rows in given]
        cases = [replace(case, gains=own) for case, own in zip(data.cases, gains, strict=True)]
        told = replace(data, cases=cases)
        part = effect.DIMENSION.measure(bench(told, noisy(told, 0.6), given))
        errors.extend(one.value for one in part.readings if one.measure == "ece" and one.segment)
        floors.append(chance_error(np.concatenate(given)).mean())
        return any(one.name == "miscalibrated" for one in part.findings)

    assert rate(accused) <= ALLOWED
    assert np.mean(errors) > 0.05, "the error of right probabilities is far from zero where there are few"
    assert np.mean(errors) < 1.3 * np.mean(floors)


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c", "d")])
def test_gaps_that_are_not_above_the_limit_are_seldom_told_whichever_pair_is_furthest_apart(
    names: Sequence[str],
) -> None:
    """All segments but one are served alike, that one worse by the limit; the others' best is picked."""
    count = 60 * len(names)

    def accused(chance: np.random.Generator) -> list[Finding]:
        of = [names[number % len(names)] for number in range(count)]
        made = pairs(chance, [0.6 - (name == "a") * fairness.GAP / (1 - WRONG) for name in of])
        cases = [replace(case, segments={"kind": name}) for case, name in zip(made.data.cases, of, strict=True)]
        part = Part()
        fairness._gaps(replace(made, data=replace(made.data, cases=cases)), part)
        return part.findings

    assert rate(accused) <= ALLOWED


def test_a_group_on_the_limit_is_seldom_called_treated_unfairly() -> None:
    """Of two items one is new; new ones get four fifths of the exposure of old ones, merit being equal."""
    exposed = fairness.UNFAIR / (1 + fairness.UNFAIR)
    first = (exposed * (1 + WRONG) - WRONG) / (1 - WRONG)

    def accused(chance: np.random.Generator) -> list[Finding]:
        made = pairs(chance, [0.5] * 200)
        scores = [np.array([float(hit), 0.5]) for hit in chance.random(200) < first]
        gains = [np.eye(2)[int(chance.integers(2))] for _ in scores]
        cases = [replace(case, gains=own) for case, own in zip(made.data.cases, gains, strict=True)]
        items = {item: replace(one, first_seen=int(item[-1] == "a")) for item, one in made.data.items.items()}
        own = replace(made, scores=scores, data=replace(made.data, cases=cases, items=items))
        grouping = Grouping("age", {item: "new" if item[-1] == "a" else "old" for item in items}, "")
        shares = shares_of(own.data, scores, grouping.of)
        measured = fairness.Measured(grouping, shares, *shares.replicates(own.resampling), [0, 1])
        return list(fairness._unfair([measured]))

    assert rate(accused) <= ALLOWED


def test_harm_on_the_limit_is_seldom_told() -> None:
    """A hundredth of the cases has harm, a tenth of each one's exposure."""

    def accused(chance: np.random.Generator) -> list[Finding]:
        seen = np.where(chance.random(1_000) < 0.01, safety.TOLD / 0.01, 0.0)[:, None]
        found = interval(resampled(1_000).mean(seen[:, 0]))
        return safety._finding("words", found, found, ["weapons"], seen)

    assert rate(accused) <= ALLOWED


def honest(case: Case, data: EvaluationData, noise: float = 1.5) -> Scores:
    """The gains, where a test knows them, and noise."""
    chance = np.random.default_rng([*case.id.encode(), len(data.items)])
    return np.nan_to_num(case.gains) + noise * chance.normal(size=len(case.items))


def findings_of_honest_ones(seed: int) -> Iterator[Finding]:
    data = benches.shop(120, seed)
    train = [replace(case, id=f"t{number}") for number, case in enumerate(benches.shop(120, 1_000 + seed).cases)]
    data = replace(data, train=[replace(case, query=f"other {case.query}") for case in train])
    for one in (effect.DIMENSION, fairness.DIMENSION, safety.DIMENSION):
        further = {**data.items, **one.further_items(data, seed)}
        yield from one.measure(benches.bench(replace(data, items=further), honest, draws=300)).findings


def test_honest_contenders_are_seldom_accused_of_anything() -> None:
    """Brands, prices, ages and segments are of no meaning in this shop, whose grades are chance."""
    runs = 40
    accused = Counter(one.name for seed in range(runs) for one in findings_of_honest_ones(seed))
    assert all(count <= 3 for count in accused.values()), accused
    assert accused.total() <= 4, accused
