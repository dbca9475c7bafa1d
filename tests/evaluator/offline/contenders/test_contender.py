"""The interface: scores that cannot be used are refused, and classes of one's own are imported."""

import numpy as np
import pytest

from evaluator.offline.contenders.contender import ContenderError, checked, make
from evaluator.offline.data import Case, Document, EvaluationData

CASE = Case("c", ("a", "b"), np.ones(2))


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([], "gave 0 lists of scores for 1 cases"),
        ([np.zeros(3)], r"of shape \(3,\) for the 2 items of c"),
        ([np.array([0.0, np.inf])], "no finite number for case c"),
    ],
)
def test_scores_that_cannot_be_used_are_refused(scores: list[np.ndarray], said: str) -> None:
    with pytest.raises(ContenderError, match=said):
        checked(scores, [CASE])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("python:json", "give python:MODULE:CLASS"),
        ("python:absent_module:A", "cannot be imported"),
        ("python:collections:Counter", "has no method fit"),
    ],
)
def test_classes_that_are_no_contenders_are_refused(name: str, said: str) -> None:
    with pytest.raises(ContenderError, match=said):
        make(name)


def test_items_that_dimensions_rank_besides_change_no_score_of_the_data() -> None:
    items = {name: Document(text) for name, text in (("a", "green hose"), ("b", "hose reel"), ("c", "tap"))}
    cases = [Case("q", ("a", "b", "c"), np.array([1.0, 0.0, 0.0]), "green hose")]
    stuffed = {f"x{number}": Document("green hose green") for number in range(20)}
    for name in ("bm25", "cosine"):
        found = []
        for further in ({}, stuffed):
            contender = make(name)
            contender.fit(EvaluationData("d", "graded", cases, [], {**items, **further}, further=tuple(further)))
            found.append(contender.score(cases)[0])
        np.testing.assert_allclose(found[0], found[1], rtol=5e-3)
        assert contender.score([Case("q", ("x0", "c"), np.zeros(2), "green hose")])[0][0] > 0
