"""A challenger that hangs on the spelling is refused for it, by the kind that it fails on."""

from collections.abc import Callable, Sequence

import numpy as np

from evaluator.gate.bootstrap import Bootstrap
from evaluator.gate.checks.robustness import robustness_checks
from evaluator.gate.config import GateConfig
from evaluator.gate.dataset import GateRequest, RankedList, Score, answers
from evaluator.gate.report import Check
from evaluator.gate.typing_errors import KINDS
from models.scorer import Floats
from models.training.examples import expected_level
from tests.evaluator.gate.world import World, rows, sigmoid

CONFIG = GateConfig(draws=300, robustness_contexts=80)


def checks(lists: Sequence[RankedList], champion: Score, challenger: Score) -> dict[str, Check]:
    requests = [one.request for one in lists]
    scorers = ((champion, answers(champion, requests)), (challenger, answers(challenger, requests)))
    found = robustness_checks(lists, scorers, CONFIG, Bootstrap(draws=300), expected_level)
    return {check.name: check for check in found}


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
    found = checks(world.lists(), world.scorer(world.truth), world.scorer(2 * world.truth))
    assert list(found) == [f"robustness_{kind}_{what}" for kind in KINDS for what in ("order", "ndcg")]
    assert all(check.passed and check.value == 0 for check in found.values())


def test_who_hangs_on_case_fails_on_case_alone() -> None:
    world = World(100, 1)
    found = checks(world.lists(), world.scorer(world.truth), hanging_on(world, str.islower))
    assert {name for name, check in found.items() if not check.passed} == {
        "robustness_case_order",
        "robustness_case_ndcg",
    }
    order = found["robustness_case_order"]
    assert order.value is not None and order.value < -0.8
    assert order.sentence.startswith("Rank correlation with changed case: champion 1.0000, challenger ")


def test_a_champion_that_is_as_bad_is_no_reason_to_refuse() -> None:
    world = World(100, 2)
    both = hanging_on(world, str.islower)
    assert all(check.passed for check in checks(world.lists(), both, both).values())


def test_without_queries_there_is_nothing_to_perturb() -> None:
    world = World(20, 3)
    lists = [
        RankedList(one.request._replace(query="", history=("x",)), one.targets, one.weights) for one in world.lists()
    ]
    found = checks(lists, world.scorer(world.truth), world.scorer(world.truth))
    assert all(check.passed and check.value is None and "No queries" in check.sentence for check in found.values())
