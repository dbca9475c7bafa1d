"""A challenger that hangs on the spelling is refused for it, by the kind that it fails on."""

from collections.abc import Callable, Sequence

import numpy as np

from evaluator.gate.bootstrap import Bootstrap
from evaluator.gate.config import GateConfig
from evaluator.gate.dataset import GateRequest, RankedList, Score, answers
from evaluator.gate.figures.robustness import robustness_figures
from evaluator.gate.thresholds import Check, Figure
from evaluator.gate.typing_errors import KINDS
from models.scorer import Floats
from models.training.examples import expected_level
from tests.evaluator.gate.world import World, asked, rows, sigmoid

CONFIG = GateConfig(draws=300, robustness_contexts=80)


def checks(
    lists: Sequence[RankedList], champion: Score, challenger: Score
) -> tuple[dict[str, Figure], dict[str, Check]]:
    requests = [one.request for one in lists]
    scorers = ((champion, answers(champion, requests)), (challenger, answers(challenger, requests)))
    found = list(robustness_figures(lists, scorers, CONFIG, Bootstrap(draws=300), expected_level))
    return {figure.name: figure for figure in found}, asked(CONFIG, *found)


def hanging_on(world: World, spelt: Callable[[str], bool]) -> Score:
    """Knows the truth only for queries spelt so."""
    right, chance = world.scorer(world.truth), np.random.default_rng(0)

    def score(requests: Sequence[GateRequest]) -> list[Floats]:
        known = right(requests)
        return [
            part if spelt(request.query) else rows(sigmoid(chance.normal(size=len(part))))
            for request, part in zip(requests, known, strict=True)
        ]

    return score


def test_who_is_as_robust_as_the_champion_passes() -> None:
    world = World(100, 0)
    figures, found = checks(world.lists(), world.scorer(world.truth), world.scorer(2 * world.truth))
    assert list(figures) == [
        f"{what} (perturbation: {kind}, strength 1)" for kind in KINDS for what in ("rank correlation", "ndcg@10")
    ]
    assert {check.outcome for check in found.values()} == {"passed"} and found.keys() == figures.keys()
    assert all(figure.difference == 0 for figure in figures.values())


def test_who_hangs_on_case_fails_on_case_alone() -> None:
    world = World(100, 1)
    figures, found = checks(world.lists(), world.scorer(world.truth), hanging_on(world, str.islower))
    case = [f"{what} (perturbation: case, strength 1)" for what in ("rank correlation", "ndcg@10")]
    assert [name for name, check in found.items() if check.outcome != "passed"] == case
    order = figures[case[0]]
    assert order.difference is not None and order.difference < -0.8
    assert found[case[0]].said.startswith(f"{case[0]}: champion 1.0000, challenger ")


def test_a_champion_that_is_as_bad_is_no_reason_to_refuse() -> None:
    world = World(100, 2)
    both = hanging_on(world, str.islower)
    assert all(check.outcome == "passed" for check in checks(world.lists(), both, both)[1].values())


def test_without_queries_there_is_nothing_to_perturb() -> None:
    world = World(20, 3)
    lists = [
        RankedList(one.request._replace(query="", history=("x",)), one.targets, one.weights) for one in world.lists()
    ]
    figures, found = checks(lists, world.scorer(world.truth), world.scorer(world.truth))
    assert all(check.outcome == "passed" and "no queries" in check.said for check in found.values())
    assert all(figure.value is None for figure in figures.values())
