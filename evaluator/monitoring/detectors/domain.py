"""Drift of inputs: can a classifier separate recent texts from the reference's?

Knows embeddings and texts; nothing of the encoder. A domain classifier's AUC (Rabanser et al. 2019, "Failing Loudly"),
with a permutation test instead of a guessed limit, and the words that changed most as evidence.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evaluator.monitoring.detectors.detector import Evidence
from evaluator.monitoring.detectors.window import WindowTest

PERMUTATIONS = 999
RIDGE = 0.1
WORDS = 5

Input = tuple[str, npt.NDArray[np.float32]]
"""A text and its embedding [D]."""


class DomainClassifier(WindowTest[Input]):
    """Alarms when a ridge classifier's leave-one-out AUC is higher than with permuted labels.

    Leave-one-out predictions of ridge regression are linear in the labels, so a thousand permutations are one matrix
    product. The p-value, the rank of the AUC among those of permuted labels, is exactly uniform where nothing changed.

    Parameters
    ----------
    size
        Texts in a window; the matrix has the square of twice that many entries.
    significance
        At least one in a thousand, the resolution of :data:`PERMUTATIONS`.

    Examples
    --------
    >>> chance = np.random.default_rng(0)
    >>> detector = DomainClassifier(100)
    >>> for word, centre in (("lamp", 0.0), ("lamp", 0.0), ("parka", 0.5)):
    ...     for row in chance.normal(centre, size=(100, 16)).astype(np.float32):
    ...         detector.update((word, row))
    >>> reading = detector.get()
    >>> reading.drifted, reading.evidence["more"]
    (True, 'parka')
    """

    def __init__(self, size: int = 500, significance: float = 0.005) -> None:
        if significance < 1 / (PERMUTATIONS + 1):
            raise ValueError(f"{PERMUTATIONS} permutations cannot show a significance of {significance}")
        super().__init__(size, significance)

    def _test(self, reference: Sequence[Input], window: Sequence[Input]) -> tuple[float, Evidence]:
        width = Counter(len(vector) for _, vector in (*reference, *window)).most_common(1)[0][0]
        reference, window = ([one for one in some if len(one[1]) == width] for some in (reference, window))
        if min(len(reference), len(window)) < 2:  # vectors of one encoder have one width; others are errors
            return 1.0, {}
        rows = np.stack([vector for _, vector in (*reference, *window)]).astype(np.float64)
        rows -= rows.mean(axis=0)
        labels = np.repeat([-1.0, 1.0], [len(reference), len(window)])
        chance = np.random.default_rng(0)
        permuted = np.stack([labels, *(chance.permutation(labels) for _ in range(PERMUTATIONS))], axis=1)
        found = _auc(_left_out(rows, permuted), permuted)
        p = float((found >= found[0]).sum() / len(found))  # the true labels are among them
        more, less = changed([text for text, _ in reference], [text for text, _ in window])
        return p, {"auc": float(found[0]), "more": " ".join(more), "less": " ".join(less)}

    def _plain(self, value: Input) -> tuple[str, bytes]:
        return value[0], np.asarray(value[1], "<f4").tobytes()

    def _restored(self, plain: tuple[str, bytes]) -> Input:
        return plain[0], np.frombuffer(plain[1], "<f4")


def changed(before: Sequence[str], now: Sequence[str]) -> tuple[list[str], list[str]]:
    """Words whose frequency rose most and fell most: log odds over their standard error, shrunk towards the frequencies
    of both windows (Monroe et al. 2008, "Fightin' Words"). Only those beyond two standard errors.

    Examples
    --------
    >>> changed(["red lamp"] * 20, ["red parka"] * 20)
    (['parka'], ['lamp'])
    """
    old, new = (Counter(word for text in texts for word in set(text.lower().split())) for texts in (before, now))
    every = old + new
    sizes = old.total() + every.total(), new.total() + every.total()
    scores = {}
    for word, prior in every.items():
        a, b = old[word] + prior, new[word] + prior
        odds = math.log(b / (sizes[1] - b + 1)) - math.log(a / (sizes[0] - a + 1))
        scores[word] = odds / math.sqrt(1 / a + 1 / b)
    order = sorted(scores, key=lambda word: (scores[word], word))
    up = [word for word in reversed(order) if scores[word] > 2][:WORDS]
    return up, [word for word in order if scores[word] < -2][:WORDS]


def _left_out(rows: npt.NDArray[np.float64], labels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Ridge predictions [n, P] of each row from all others, for each column of labels."""
    scale = RIDGE * float((rows**2).sum()) / rows.shape[1]
    gram = rows.T @ rows + scale * np.eye(rows.shape[1])
    hat = rows @ np.linalg.solve(gram, rows.T) + 1 / len(rows)
    own = np.diag(hat)[:, None]
    predicted: npt.NDArray[np.float64] = (hat @ labels - own * labels) / (1 - own)
    return predicted


def _auc(scores: npt.NDArray[np.float64], labels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Area under the ROC curve of each column; ties are broken by row, independently of permuted labels."""
    ranks = scores.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable") + 1
    positive = labels > 0
    count = positive.sum(axis=0)
    found: npt.NDArray[np.float64] = ((ranks * positive).sum(axis=0) - count * (count + 1) / 2) / (
        count * (len(scores) - count)
    )
    return found
