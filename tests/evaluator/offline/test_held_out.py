"""A trainer's slice as evaluation data: its lists, outcomes and counts are those of the gate."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from evaluator.gate.config import GateConfig
from evaluator.gate.dataset import GateRequest, Groups, ranked_lists
from evaluator.gate.figures.quality import levels
from evaluator.gate.held_out import FILE, HeldOut
from evaluator.offline.contenders.bert import request
from evaluator.offline.data import Case, EvaluationData
from evaluator.offline.loaders import load
from evaluator.offline.spec import Spec
from evaluator.preparation.tables import DataError
from models.training.examples import Example

SHOWN = [
    Example(
        query=query,
        history=("Lamp", "Old lamp"),
        asked=("light",),
        weights=(1.0, 0.5, 0.25),
        item=item,
        intent=intent,
        shopper=who,
        popularity=popularity,
        weight=weight,
    )
    for query, who in (("Tv", "ann"), ("tv ", "ann"), ("tv", "bob"))
    for item, intent, popularity, weight in (
        ("Set", "buy", 0.5, 1.0),
        ("Box", "ignore", 0.25, 2.0),
        ("Set", "ignore", 0.5, 3.0),
        ("Dish", "look", 0.0, 1.0),
    )
]


def spec(file: Path) -> Spec:
    return Spec(data=str(file), task="held_out", contenders=["random"])


@pytest.fixture
def data(tmp_path: Path) -> EvaluationData:
    held = HeldOut(
        examples=SHOWN,
        brands={"Set": "acme"},
        intent_weights={"buy": 1.0},
        config=GateConfig(most_contexts=2).model_dump(mode="json") | {"file": "one/that/is/elsewhere.toml"},
        champion=None,
    )
    (tmp_path / FILE).write_bytes(msgspec.json.encode(held))
    return load(spec(tmp_path / FILE))


def test_cases_are_the_newest_lists_of_the_gate(data: EvaluationData) -> None:
    lists = ranked_lists(SHOWN, 2)
    assert [case.query for case in data.cases] == [one.request.query for one in lists] == ["tv", "tv "]
    for case, one in zip(data.cases, lists, strict=True):
        back = {item: place for place, item in enumerate(one.request.items)}
        order = [back[item] for item in case.items]
        assert sorted(order) == [0, 1, 2] and case.shopper == one.shopper
        assert case.targets is not None and case.masses is not None
        assert (case.targets == one.targets[order]).all() and (case.masses == one.weights[order]).all()
        assert (case.gains == levels(one)[order]).all()
        [asked] = (one.request._replace(items=case.items, popularity=tuple(case.popularity[i] for i in case.items)),)
        assert request(case, data.items) == asked
    assert (
        data.counts == {"shoppers": 2, "queries": len(set(Groups.of(lists).queries))} == {"shoppers": 2, "queries": 1}
    )
    assert data.items["Set"].brand == "acme" and data.intent_weights == {"buy": 1.0}


def test_what_a_worker_knew_besides_counts_only_with_the_past_that_it_knew(data: EvaluationData) -> None:
    case = data.cases[0]
    other = Case("c", ("Box",), np.zeros(1), "tv", ("Lamp",) * 3, asked=case.asked, weights=case.weights)
    items = data.items
    assert request(other, items) == GateRequest("tv", ("Lamp",), ("Box",), ("light",))


@pytest.mark.parametrize("text", ["", "{}", '{"examples": 3}'])
def test_another_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(DataError, match=r"held_out\.json is no held-out slice"):
        load(spec(tmp_path / FILE))
    with pytest.raises(DataError, match="cannot be read"):
        load(spec(tmp_path / "none.json"))


def test_contenders_see_no_outcome_of_a_slice(data: EvaluationData) -> None:
    for case in data.blind().cases:
        assert np.isnan(case.gains).all() and case.targets is None and case.masses is None
