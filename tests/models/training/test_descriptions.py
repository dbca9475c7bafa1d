"""Few labels: intents in words, and what they say of pairs without labels."""

import numpy as np
import pytest

from models.encoder import Encoder
from models.intents import INTENTS
from models.training.descriptions import Descriptions, described, label
from models.training.examples import Example
from models.training.run import Run
from tests.models.training.conftest import Configure


@pytest.fixture
def run(encoder: Encoder, configure: Configure) -> Run:
    return Run(encoder, configure(method="head"))


def test_an_intent_is_what_the_scorer_says_of_its_description(run: Run, examples: list[Example]) -> None:
    some, tower = examples[:40], run.tower()
    plain, _ = run.logits(tower, some)
    np.testing.assert_array_equal(described(run, tower, some, Descriptions({})), plain)
    found = described(run, tower, some, Descriptions({"look": "related to {query}"}))
    look = INTENTS.index("look")
    rest = [column for column in range(len(INTENTS)) if column != look]
    np.testing.assert_array_equal(found[:, rest], plain[:, rest])
    assert (found[:, look] != plain[:, look]).any()


def test_pairs_without_labels_get_grades_in_the_order_of_how_they_match(run: Run) -> None:
    things = ("garden hose", "desk lamp", "power drill")
    labelled = [Example(query=a, item=b, intent="buy" if a == b else "ignore") for a in things for b in things]
    unlabelled = [Example(query="fan", item=item, intent="look") for item in ("ceiling fan", "door mat")]
    found = label(run, run.tower(), labelled, unlabelled, Descriptions(weight=0.2))
    assert found[: len(labelled)] == labelled
    near, far = found[len(labelled) :]
    assert (near.item, far.item) == ("ceiling fan", "door mat")
    assert near.grade is not None and far.grade is not None and near.grade > far.grade + 0.2
    assert {one.weight for one in (near, far)} == {0.2} and near.intent is None


def test_contexts_of_histories_alone_are_labelled_too(run: Run) -> None:
    labelled = [
        Example(query="hose", item="Garden hose", intent="buy"),
        Example(query="hose", item="Lamp", intent="ignore"),
    ]
    feed = [Example(history=("Garden hose",), item=item, grade=0) for item in ("Hose reel", "Lamp")]
    found = label(run, run.tower(), labelled, feed, Descriptions())[2:]
    assert [one.history for one in found] == [("Garden hose",)] * 2
    assert (found[0].grade or 0) > (found[1].grade or 0)


@pytest.mark.parametrize(
    ("templates", "said"), [({"ignore": "not {query}"}, "ignore is what is left"), ({"buy": "cheap"}, "has no {query}")]
)
def test_descriptions_that_say_nothing_are_refused(templates: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Descriptions(templates)
