"""Bytes held, of real contenders and of odd objects."""

import numpy as np
import torch
from scipy import sparse

from evaluator.offline.contenders.bert import Cosine
from evaluator.offline.contenders.bm25 import BM25
from evaluator.offline.cost.footprint import footprint
from tests.evaluator.offline.dimensions.benches import shop


def test_cosine_holds_its_model_once_and_a_vector_an_item() -> None:
    cosine, data = Cosine(), shop(2)
    parameters = 21_000_000
    empty = footprint(cosine)
    assert 2 * parameters < empty.models < 4.5 * parameters  # bfloat16 or float32
    cosine.fit(data)
    full = footprint(cosine)
    assert full.models == empty.models
    assert full.arrays - empty.arrays == 384 * 4 * len(list(data.used()))


def test_the_index_of_bm25_is_counted_and_the_data_is_not() -> None:
    bm25, data = BM25(), shop(4)
    bm25.fit(data)
    assert footprint(bm25).models == 0
    assert 0 < footprint(bm25).arrays < 100 * len(data.items)


def test_sparse_matrices_cycles_and_shared_arrays() -> None:
    class One:
        """Holds itself, and an array twice."""

        def __init__(self) -> None:
            self.me, self.array = self, np.zeros(10)
            self.again, self.matrix = [self.array], sparse.csr_matrix(np.eye(3))

    assert footprint(One()).arrays == 80 + 3 * 8 + 3 * 4 + 4 * 4


def test_a_module_shared_by_two_is_counted_once() -> None:
    layer = torch.nn.Linear(2, 2)
    assert footprint([layer, {"same": torch.nn.Sequential(layer)}]).models == 24
