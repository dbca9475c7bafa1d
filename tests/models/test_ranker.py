"""Rankers: what is learned is kept in plain files, equal bytes for equal choices, and damage is told on loading."""

import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from models.ranker import Columns, ItemWeights, Kind, Linear, Ranker, first_stage, load, packaged, save
from models.ranker.columns import CLIP, Scaling, means
from models.training.rankers import Choice, train, train_linear
from models.weights import WeightsError
from streams.features.behaviour import FEATURES

NAMES = ("times", "age", "noise", "unused")
LEARNED = NAMES[:3]


def choices(count: int = 60) -> list[Choice]:
    """Of ten candidates that one is bought whose ``times`` is highest; some ages are not known."""
    chance = np.random.default_rng(3)
    found = []
    for _ in range(count):
        features = chance.normal(size=(10, len(NAMES))).astype(np.float32)
        features[chance.random(10) < 0.2, 1] = np.nan
        bought = features[:, 0] == features[:, 0].max()
        found.append(Choice(features, bought, chance.random(10) < 0.7))
    return found


def learned(kind: Kind) -> tuple[Ranker, Linear]:
    some = choices()
    first = train_linear(some, Columns.of(LEARNED, NAMES))
    return (first if kind == "linear" else train(kind, some, LEARNED, NAMES)), first


once = functools.cache(learned)


def kept(kind: Kind, folder: Path, learn: Callable[[Kind], tuple[Ranker, Linear]] = once) -> Path:
    """A folder with a ranker, a first stage and an item-to-item model."""
    save(*learn(kind), folder)
    ItemWeights.of(("cup", "lamp"), np.array([[0, 0.5], [0.25, 0]], np.float32)).save(folder)
    return folder


@pytest.mark.parametrize("kind", ["linear", "network", "trees"])
def test_a_ranker_is_learned_and_kept_byte_by_byte(kind: Kind, tmp_path: Path) -> None:
    folder, again = kept(kind, tmp_path / "one"), kept(kind, tmp_path / "other", learned)
    files = sorted(path.name for path in folder.iterdir())
    assert files == sorted(path.name for path in again.iterdir())
    assert all((folder / name).read_bytes() == (again / name).read_bytes() for name in files)
    assert not {Path(name).suffix for name in files} - {".json", ".txt", ".safetensors"}
    ranker = load(folder, NAMES)
    assert ranker.features == LEARNED and ranker.kind == kind
    unseen = np.random.default_rng(9).normal(size=(200, len(NAMES))).astype(np.float32)
    scores = ranker.scores(unseen)
    assert scores.dtype == np.float32 and np.corrcoef(scores, unseen[:, 0])[0, 1] > 0.5
    newer = ("later", *reversed(NAMES))
    more = np.concatenate([np.full((200, 1), np.nan, np.float32), unseen[:, ::-1]], 1)
    assert np.array_equal(load(folder, newer).scores(more), scores)
    assert len(ranker.scores(unseen[:0])) == 0
    stage = first_stage(folder, NAMES)
    assert stage is not None and np.isfinite(stage.scores(np.full((2, 4), np.nan, np.float32))).all()
    with pytest.raises(ValueError, match="columns"):
        ranker.scores(unseen[:, :3])


def test_trees_may_split_what_is_known_from_what_is_not(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    rows = chance.gamma(1.0, 2.0, (60, 8, len(FEATURES))).astype(np.float32)
    rows[chance.random(rows.shape) < 0.2] = np.nan
    some = [Choice(one, np.arange(8) == np.nanargmax(one[:, 1]), np.ones(8, bool)) for one in rows]
    ranker = train("trees", some, FEATURES, FEATURES)
    save(ranker, None, tmp_path)
    assert " inf " in (tmp_path / "ranker.txt").read_text()
    assert np.array_equal(load(tmp_path, FEATURES).scores(rows[0]), ranker.scores(rows[0]))


@pytest.mark.parametrize("kind", ["linear", "network", "trees"])
def test_what_scores_owe_to_features_is_how_far_they_fall_without(kind: Kind) -> None:
    ranker, _ = once(kind)
    rows = np.random.default_rng(2).normal(size=(40, len(NAMES))).astype(np.float32)
    rows[::3, 1] = np.nan
    rows[1:, 3] = np.nan
    scores, every = ranker.scores(rows), np.arange(40)
    alone = [ranker.owed(rows, every, np.tile(np.arange(4) == column, (40, 1))) for column in range(4)]
    assert all(one.dtype == np.float32 and one.shape == (40,) for one in alone)
    assert not alone[3].any(), "it is not one of the ranker's"
    assert np.corrcoef(alone[0], rows[:, 0])[0, 1] > 0.7 and alone[0].std() > 2 * alone[2].std()
    assert not ranker.owed(rows, every, np.zeros((40, 4), bool)).any()
    whole = ranker.owed(rows, every, np.ones((40, 4), bool))
    assert np.allclose(np.diff(whole), np.diff(scores), atol=1e-4), "without any, all are alike"
    assert len(ranker.owed(rows, every[:0], np.zeros((0, 4), bool))) == 0
    if kind == "linear":
        assert np.allclose(sum(alone), scores - scores.mean(), atol=1e-4)


def edited(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).write_text(change((folder / name).read_text()))

    return spoil


def tensors(name: str, **changed: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        found = load_file(folder / name)
        save_file(
            found | {one: np.ascontiguousarray(change(found[one])) for one, change in changed.items()}, folder / name
        )

    return spoil


@pytest.mark.parametrize(
    ("kind", "spoil", "said"),
    [
        ("linear", lambda folder: (folder / "config.json").unlink(), "No such file"),
        ("linear", edited("config.json", lambda text: text.replace("linear", "forest")), "no config of a ranker"),
        ("linear", edited("config.json", lambda text: text.replace('"format": 1', '"format": 9')), "format 9"),
        ("linear", edited("config.json", lambda text: text.replace('"noise"', '"mood"')), "not computed here: mood"),
        ("linear", edited("config.json", lambda text: text.replace('"noise"', '"age"')), "2 of them different"),
        ("linear", tensors("ranker.safetensors", weights=lambda one: one * np.nan), "not finite"),
        ("linear", tensors("ranker.safetensors", weights=lambda one: one[:-1]), "of shape"),
        ("linear", tensors("ranker.safetensors", spreads=lambda one: -one), "not positive"),
        ("network", tensors("ranker.safetensors", outer=lambda one: one[:-1]), "do not fit"),
        ("trees", lambda folder: (folder / "ranker.txt").unlink(), "No such file"),
        ("trees", edited("ranker.txt", lambda text: text[: len(text) // 2]), "cut off"),
        (
            "trees",
            edited("ranker.txt", lambda text: text.replace("feature_names=times", "feature_names=price")),
            "other",
        ),
        ("trees", edited("ranker.txt", lambda text: text.replace("left_child=", "left_child=7", 1)), "damaged"),
        ("trees", edited("ranker.txt", lambda text: text.replace("leaf_value=", "leaf_value=nan ", 1)), "damaged"),
    ],
)
def test_damage_is_told(kind: Kind, spoil: Callable[[Path], None], said: str, tmp_path: Path) -> None:
    folder = kept(kind, tmp_path)
    spoil(folder)
    with pytest.raises(WeightsError, match=said):
        load(folder, NAMES)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "items.json").unlink(), "no list of items"),
        (edited("items.json", lambda _: json.dumps(["cup"])), "of shape"),
        (edited("items.json", lambda _: json.dumps(["cup", "cup"])), "twice"),
        (tensors("linear.safetensors", slots=lambda one: one + 9), "does not have"),
        (tensors("linear.safetensors", weights=lambda one: one.astype(np.float32)), "do not fit"),
    ],
)
def test_damage_of_the_item_to_item_model_is_told(spoil: Callable[[Path], None], said: str, tmp_path: Path) -> None:
    folder = kept("linear", tmp_path)
    assert (found := ItemWeights.load(folder)) and found.dense().tolist() == [[0, 0.5], [0.25, 0]]
    spoil(folder)
    with pytest.raises(WeightsError, match=said):
        ItemWeights.load(folder)


def test_a_folder_may_have_no_first_stage_and_no_item_to_item_model(tmp_path: Path) -> None:
    save(once("trees")[0], None, tmp_path)
    assert first_stage(tmp_path, NAMES) is None and ItemWeights.load(tmp_path) is None


def test_a_weight_that_may_not_fall_stays_at_zero() -> None:
    lowest = [Choice(one.features, one.features[:, 0] == one.features[:, 0].min(), one.new) for one in choices()]
    columns = Columns.of(LEARNED, NAMES)
    assert train_linear(lowest, columns).weights[0] < 0 == train_linear(lowest, columns, rising=["times"]).weights[0]


def test_nothing_bought_is_nothing_to_learn() -> None:
    with pytest.raises(ValueError, match="nothing was bought"):
        train("linear", [Choice(np.zeros((3, 4), np.float32), np.zeros(3, bool), np.ones(3, bool))], NAMES, NAMES)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=5), st.floats(0.01, 1e4), st.integers(0, 99))
def test_the_packaged_ranker_knows_no_scale(sizes: list[int], scale: float, seed: int) -> None:
    """Requests together score as each alone, and a shop with more sales, or other features, scores the same."""
    ranker = packaged(FEATURES)
    rows = np.random.default_rng(seed).normal(size=(sum(sizes), len(FEATURES))).astype(np.float32)
    rows[np.random.default_rng(seed + 1).random(rows.shape) < 0.1] = np.nan
    found = ranker.scores(rows, sizes)
    ends = np.cumsum(sizes)
    alone = [ranker.scores(rows[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
    assert np.allclose(found, np.concatenate(alone), atol=1e-4) and np.isfinite(found).all()
    assert np.allclose(found, ranker.scores(rows * np.float32(scale) + 3, sizes), atol=0.05)


def test_the_packaged_ranker_prefers_what_sells_and_what_goes_with_the_shoppers_items() -> None:
    ranker, rows = packaged(FEATURES), np.zeros((50, len(FEATURES)), np.float32)
    rows[7, [FEATURES.index(name) for name in ("together", "together_share", "text_nearest")]] = 3
    rows[9, [FEATURES.index(name) for name in ("demand_week", "demand_month", "buyers_week")]] = 2
    assert set(np.argsort(-ranker.scores(rows))[:2].tolist()) == {7, 9}
    assert isinstance(ranker, Linear) and len(ranker.features) >= 7


def scaled_alone(scaling: Scaling, values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """What :class:`Scaling` says of the rows of one request, in as few words."""
    there = np.isfinite(values)
    rows, weights = np.where(there, values, 0.0).astype(np.float64), there * counts[:, None]
    known = np.maximum(weights.sum(0), 1.0)
    means = (weights * rows).sum(0) / known
    spreads = np.maximum(np.sqrt((weights * (rows - means) ** 2).sum(0) / known), 1e-6)
    means, spreads = (
        np.where(scaling.relative, own, fixed) for own, fixed in ((means, scaling.means), (spreads, scaling.spreads))
    )
    with np.errstate(invalid="ignore"):
        found = np.clip((values - means) / spreads, -CLIP, CLIP)
    return np.concatenate([np.nan_to_num(found), np.isnan(values)], axis=1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=5), st.integers(0, 2**20), st.booleans())
def test_compiled_scaling_and_means_are_those_of_plain_arrays(sizes: list[int], seed: int, by_column: bool) -> None:
    chance = np.random.default_rng(seed)
    values = chance.normal(scale=30, size=(sum(sizes), 3)).round(1).astype(np.float32)
    values[chance.random(values.shape) < 0.2] = np.nan
    values[chance.random(values.shape) < 0.1] = np.inf
    counts = chance.integers(1, 5, len(values)).astype(np.float32)
    scaling = Scaling(np.ones(3, np.float32), np.full(3, 7, np.float32), np.array([True, False, True]))
    found = scaling(np.asfortranarray(values) if by_column else values, sizes, counts)
    ends = np.cumsum(sizes)
    parts = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    alone = [scaled_alone(scaling, values[part], counts[part]) for part in parts]
    np.testing.assert_allclose(found, np.concatenate([np.zeros((0, 6)), *alone]), atol=1e-5)
    rows = np.arange(len(found))
    wanted = [
        np.tile(found[part].mean(0, dtype=np.float64), (part.stop - part.start, 1))
        for part in parts
        if len(found[part])
    ]
    np.testing.assert_allclose(means(found, rows, sizes), np.concatenate([np.zeros((0, 6)), *wanted]), atol=1e-6)
    with pytest.raises(ValueError, match="rows"):
        scaling(values, [*sizes, 1])
