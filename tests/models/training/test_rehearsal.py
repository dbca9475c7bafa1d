"""Against forgetting: which old contexts are drawn, and that a teacher's answers are those of the scorer asked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.encoder import Encoder
from models.training.examples import Example, by_context, context
from models.training.rehearsal import rehearse, taught
from models.training.run import Run
from tests.models.training.conftest import Configure


def pairs(name: str, count: int) -> list[Example]:
    return [Example(query=f"{name} {number // 2}", item=f"{name} item {number}", grade=1) for number in range(count)]


@given(st.integers(1, 30), st.integers(0, 30), st.floats(0, 0.95), st.integers(0, 3))
def test_old_contexts_are_drawn_whole_up_to_the_share(new: int, old: int, share: float, seed: int) -> None:
    first, second = pairs("new", new), pairs("old", old)
    found = rehearse(first, second, share, seed)
    assert found[:new] == first
    drawn = found[new:]
    groups = by_context(second)
    contexts = {context(one) for one in drawn}
    assert sorted(drawn, key=second.index) == [one for one in second if context(one) in contexts], "whole"
    assert len(contexts) == min(round(share / (1 - share) * len(by_context(first))), len(groups))
    assert found == rehearse(first, second, share, seed)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_cannot_be_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share of old contexts"):
        rehearse(pairs("new", 2), pairs("old", 2), share)


def test_a_teacher_says_of_each_example_what_it_would_be_served_with(
    encoder: Encoder, examples: list[Example], configure: Configure
) -> None:
    some = examples[:40]
    run = Run(encoder, configure(method="head"))
    tower = run.tower()
    found = taught(run, tower, some)
    assert sorted(map(str, (one.item for one in found))) == sorted(one.item for one in some)
    again, _ = run.logits(tower, found)
    np.testing.assert_allclose([one.teacher for one in found], again, atol=1e-5)
    own = (1.0, 2.0, 3.0, 4.0)
    kept = taught(run, tower, [Example(query="q", item="i", grade=1, teacher=own)])
    assert kept[0].teacher == own
