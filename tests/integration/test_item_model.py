"""The item-to-item model is fitted from what Redis remembers of shoppers, whatever else lies there."""

from collections.abc import Iterator

import numpy as np
import pytest
from redis import Redis
from scipy.sparse import csr_matrix

from evaluator.retraining.config import LearningConfig
from evaluator.retraining.item_model import LEAST_SHOPPERS, fitted
from models.ranker import ItemWeights, ease
from models.ranker.item_weights import REGULARISATION
from streams.config import RedisConfig
from streams.features.own import ROW
from streams.redis.keys import own

pytestmark = pytest.mark.integration

ITEMS, SHOPPERS = 40, 600


@pytest.fixture
def redis(redis_db: str) -> Iterator["Redis"]:
    with Redis.from_url(redis_db) as client:
        client.flushdb()
        yield client


def row(times: int) -> bytes:
    return np.array((times, 0.5, 0, 0, 9), ROW).tobytes()


def remembered(redis: "Redis", shoppers: int) -> np.ndarray:
    """Shoppers who bought items of one half, and looked at one of the other; returns who bought which."""
    chance, matrix = np.random.default_rng(0), np.zeros((shoppers, ITEMS), np.float32)
    for number in range(shoppers):
        half = number % 2 * ITEMS // 2
        mine = half + chance.choice(ITEMS // 2, 1 + number % 4, replace=False)
        matrix[number, mine] = 1
        rows = {f"i{item:02}": row(1 + number % 3) for item in mine} | {f"i{ITEMS - 1 - half:02}": row(0)}
        redis.hset(own(number % 8, "own", f"u{number}"), mapping=rows)
    return matrix


def test_items_that_shoppers_own_together_speak_for_each_other(redis: "Redis", redis_db: str) -> None:
    matrix = remembered(redis, SHOPPERS)
    redis.set(own(3, "own", "spoilt"), "no hash")
    redis.hset(own(3, "own", "odd"), mapping={"i00": b"short", "i01": row(1)})
    found = fitted(RedisConfig(url=redis_db), LearningConfig(), known=())
    assert found.weights is not None, found.said
    several = matrix[matrix.sum(1) > 1]
    ids = list(found.weights.ids)
    order = [ids.index(f"i{item:02}") for item in range(ITEMS)]
    dense = found.weights.dense()[np.ix_(order, order)]
    expected = ItemWeights.of(tuple(ids), ease(csr_matrix(several), REGULARISATION)).dense()
    np.testing.assert_allclose(dense, expected, atol=2e-3)
    assert dense[0, 1 : ITEMS // 2].sum() > 10 * dense[0, ITEMS // 2 :].sum()
    bounded = fitted(RedisConfig(url=redis_db), LearningConfig(item_model_items=20), known=())
    assert bounded.weights is not None and len(bounded.weights.ids) == 20


def test_variants_are_learned_as_their_product(redis: "Redis", redis_db: str) -> None:
    """Each shopper buys other sizes: of these alone nothing could be said."""
    matrix, chance = remembered(redis, SHOPPERS), np.random.default_rng(1)
    redis.flushdb()
    for number, mine in enumerate(matrix):
        rows = {f"i{item:02}-{chance.integers(8)}": row(1) for item in np.flatnonzero(mine)}
        rows |= {name.replace("-", "-x"): row(1) for name in rows if number % 5 == 0}  # some buy two sizes
        redis.hset(own(number % 8, "own", f"u{number}"), mapping=rows)
    groups = {f"i{item:02}-{x}{size}": f"i{item:02}" for item in range(ITEMS) for x in ("", "x") for size in range(8)}
    known = list(groups)
    found = fitted(RedisConfig(url=redis_db), LearningConfig(), known, groups)
    assert found.weights is not None, f"16 sizes of a product in the model there is are one of it: {found.said}"
    assert sorted(groups[item] for item in found.weights.ids) == sorted({*groups.values()})
    order = np.argsort([groups[item] for item in found.weights.ids])
    expected = ItemWeights.of(found.weights.ids, ease(csr_matrix(matrix[matrix.sum(1) > 1]), REGULARISATION)).dense()
    np.testing.assert_allclose(found.weights.dense()[np.ix_(order, order)], expected, atol=2e-3)


def test_too_little_and_no_redis_leave_the_model_as_it_is(redis: "Redis", redis_db: str) -> None:
    config = RedisConfig(url=redis_db)
    remembered(redis, LEAST_SHOPPERS // 2)
    few = fitted(config, LearningConfig(), known=())
    assert few.weights is None and few.said.startswith("The item-to-item model stays: ")
    redis.flushdb()
    remembered(redis, SHOPPERS)
    emptied = fitted(config, LearningConfig(), known=[f"i{item}" for item in range(10 * ITEMS)])
    assert emptied.weights is None, "a model of many more items is not thrown away"
    gone = fitted(RedisConfig(url="redis://127.0.0.1:1/0"), LearningConfig(), known=())
    assert gone.weights is None and "Redis cannot be read" in gone.said
