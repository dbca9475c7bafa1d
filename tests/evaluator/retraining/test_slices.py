"""Three slices by time: nothing is lost, nothing is in two, and the newest are judged by."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.attribution.example import LabelledExample
from evaluator.retraining.config import LearningConfig
from evaluator.retraining.dataset import slices
from models.training.examples import ExamplesError


def seen(times: list[int], items: int = 2) -> list[LabelledExample]:
    return [
        LabelledExample(
            id=f"{n}-{item}",
            ts=ts,
            shopper="u",
            item_id=str(item),
            shelf_id=str(n),
            surface="",
            position=item,
            intent="look",
        )
        for n, ts in enumerate(sorted(times))
        for item in range(items)
    ]


@given(st.lists(st.integers(0, 500), min_size=20, max_size=200), st.floats(0.05, 0.4), st.floats(0.05, 0.4))
def test_slices_part_history_by_time(times: list[int], gate: float, calibration: float) -> None:
    config = LearningConfig(gate_share=gate, calibration_share=calibration)
    made = seen(times)
    try:
        cut = slices(made, config)
    except ExamplesError:
        assert max(map(times.count, times)) > 1, "views of different moments can be parted"
        return
    assert list(chain(*cut)) == made and all(cut)
    assert cut.train[-1].ts < cut.calibrate[0].ts and cut.calibrate[-1].ts < cut.gate[0].ts


def test_shares_are_of_views_and_the_gates_are_bounded() -> None:
    made = seen(list(range(1_000)), items=3)
    assert [len(part) // 3 for part in slices(made, LearningConfig())] == [700, 100, 200]
    assert [len(part) // 3 for part in slices(made, LearningConfig(gate_views=50))] == [850, 100, 50]


@pytest.mark.parametrize("times", [[], [1], [1, 2], [5] * 100])
def test_what_cannot_be_parted_is_told(times: list[int]) -> None:
    with pytest.raises(ExamplesError):
        slices(seen(times), LearningConfig())
