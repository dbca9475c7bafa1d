import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.training.examples import soft_target
from models.training.losses import LOSSES, TEMPERATURE, Labels, levels, total

NUMBERS = st.floats(-5, 5, width=32)
LOGITS = arrays.arrays(np.float32, (6, 4), elements=NUMBERS)
NONE = np.full((6, 4), np.nan, np.float32)


def labels(chance: np.random.Generator, teacher: np.ndarray = NONE) -> Labels:
    target = chance.dirichlet(np.ones(4), 6).astype(np.float32)
    weight = chance.uniform(0.5, 2, 6).astype(np.float32)
    group = np.array([7, 3, 3, 7, 7, 9], np.float32)
    return Labels.unpack(torch.from_numpy(np.concatenate([target, weight[:, None], group[:, None], teacher], axis=1)))


def softmax(rows: np.ndarray) -> np.ndarray:
    powers = np.exp(rows - rows.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def mean(values: np.ndarray, given_labels: Labels) -> float:
    return float(np.average(values, weights=given_labels.weight.numpy()))


@settings(deadline=None)
@given(LOGITS, st.integers(0, 99))
def test_losses_are_their_formulas(logits: np.ndarray, seed: int) -> None:
    given_labels = labels(np.random.default_rng(seed))
    found = {name: float(LOSSES[name](torch.from_numpy(logits), given_labels)) for name in LOSSES}
    chances, target, scale = softmax(logits), given_labels.target.numpy(), np.array([1, 2 / 3, 1 / 3, 0])
    assert found["cross_entropy"] == pytest.approx(mean(-(target * np.log(chances)).sum(1), given_labels), rel=1e-4)
    assert found["graded"] == pytest.approx(mean(((chances - target) @ scale) ** 2, given_labels), rel=1e-3, abs=1e-6)
    assert found["distil"] == 0
    lists = np.zeros(6)
    for members in ([0, 3, 4], [1, 2], [5]):
        wanted, scores = softmax(8 * target[members] @ scale), softmax(8 * chances[members] @ scale)
        lists[members] = -wanted * np.log(scores)
    weights = given_labels.weight.numpy()
    assert found["listwise"] == pytest.approx((lists * weights).sum() / weights.sum() * 6 / 3, rel=1e-3, abs=1e-5)


@settings(deadline=None)
@given(LOGITS, LOGITS)
def test_distilling_is_a_divergence(ours: np.ndarray, theirs: np.ndarray) -> None:
    given_labels = labels(np.random.default_rng(0), theirs)
    loss = LOSSES["distil"]
    assert float(loss(torch.from_numpy(theirs), given_labels)) == pytest.approx(0, abs=1e-5)
    assert float(loss(torch.from_numpy(ours), given_labels)) >= -1e-5
    a, b = softmax(ours / TEMPERATURE), softmax(theirs / TEMPERATURE)
    wanted = mean((b * np.log(b / a)).sum(1) * TEMPERATURE**2, given_labels)
    assert float(loss(torch.from_numpy(ours), given_labels)) == pytest.approx(wanted, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_order_does_not_matter_and_gradients_are_finite(name: str) -> None:
    chance = np.random.default_rng(1)
    logits, given_labels = torch.from_numpy(chance.normal(size=(6, 4)).astype(np.float32)), labels(chance)
    order = torch.tensor([5, 3, 1, 0, 2, 4])
    moved = Labels(*(getattr(given_labels, part)[order] for part in ("target", "weight", "group", "teacher")))
    torch.testing.assert_close(LOSSES[name](logits[order], moved), LOSSES[name](logits, given_labels))
    extreme = torch.tensor([[80.0, -80, 0, 0]] * 6, requires_grad=True)
    LOSSES[name](extreme, given_labels).backward()
    assert extreme.grad is not None and torch.isfinite(extreme.grad).all()


def test_a_sum_is_weighted_and_leaves_out_zeros() -> None:
    given_labels, logits = labels(np.random.default_rng(2)), torch.randn(6, 4)
    wanted = 2 * LOSSES["graded"](logits, given_labels) + LOSSES["listwise"](logits, given_labels)
    torch.testing.assert_close(total(logits, given_labels, {"graded": 2, "listwise": 1, "cross_entropy": 0}), wanted)
    assert levels(torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 1.0]])).tolist() == [1, 0]


@settings(deadline=None)
@given(LOGITS, st.floats(-3, 3, width=32), st.floats(-0.3, 0.3))
def test_ranking_looks_at_differences_only(logits: np.ndarray, shift: float, raised: float) -> None:
    """Neither a constant added to logits nor one added to the levels of a context changes how it is ranked."""
    chance = np.random.default_rng(3)
    wanted = chance.uniform(0.35, 0.65, 6)

    def loss(moved: float, rows: np.ndarray) -> float:
        target = np.stack([soft_target(level + moved) for level in wanted])
        own = labels(np.random.default_rng(3))
        given_labels = Labels(torch.from_numpy(target), own.weight, own.group, own.teacher)
        return float(LOSSES["listwise"](torch.from_numpy(rows), given_labels))

    assert loss(raised, logits) == pytest.approx(loss(0, logits), rel=1e-3, abs=1e-4)
    assert loss(0, logits + np.float32(shift)) == pytest.approx(loss(0, logits), rel=1e-3, abs=1e-4)


def test_contexts_are_ranked_apart() -> None:
    """Numbers of contexts are names only, and what is far above in one context says nothing in another."""
    given_labels, logits = (
        labels(np.random.default_rng(4)),
        torch.randn(6, 4, generator=torch.Generator().manual_seed(0)),
    )
    renamed = Labels(given_labels.target, given_labels.weight, given_labels.group * 1_000 + 5, given_labels.teacher)
    torch.testing.assert_close(LOSSES["listwise"](logits, renamed), LOSSES["listwise"](logits, given_labels))
    weight = torch.tensor([1.0, 0, 0, 1, 1, 0])  # of the context 7 alone
    alone = Labels(given_labels.target, weight, given_labels.group, given_labels.teacher)
    moved = logits.clone()
    moved[[1, 2, 5]] += torch.tensor([9.0, 0, 0, 0])
    torch.testing.assert_close(LOSSES["listwise"](moved, alone), LOSSES["listwise"](logits, alone))


def test_only_what_was_taught_is_distilled() -> None:
    teacher = NONE.copy()
    teacher[[0, 4]] = 1.0, 0.0, -1.0, 2.0
    given_labels = labels(np.random.default_rng(5), teacher)
    logits = torch.zeros(6, 4, requires_grad=True)
    LOSSES["distil"](logits, given_labels).backward()
    assert logits.grad is not None and logits.grad.any(1).tolist() == [True, False, False, False, True, False]
