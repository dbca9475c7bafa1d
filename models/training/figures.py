"""The figures of a scorer's predictions: of ranking, of grading and of calibration.

Knows logits and labels; nothing of models or files.
"""

import numpy as np
import numpy.typing as npt

from models.measures.probabilities import cross_entropies
from models.measures.ranking import ndcg, rank_correlation, ranked
from models.scorer import Floats
from models.training import calibration
from models.training.examples import expected_level


def probabilities(logits: Floats) -> Floats:
    """Softmax of logits [n, 4]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def mean_ndcg(predicted: Floats, actual: Floats, group: npt.NDArray[np.integer]) -> float:
    """Mean nDCG@10 of the groups whose levels differ; 0 where there is none.

    Examples
    --------
    >>> mean_ndcg(np.array([0.2, 0.1], "f4"), np.array([1.0, 0.0], "f4"), np.array([0, 0]))
    1.0
    """
    order = np.argsort(group, kind="stable")
    lists = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    values = [ndcg(actual[places][ranked(actual[places], predicted[places])].astype(np.float64)) for places in lists]
    return 0.0 if np.isnan(values).all() else float(np.nanmean(values))


def figures(logits: Floats, labels: npt.NDArray[np.float32]) -> dict[str, float]:
    """Log loss, Spearman, RMSE (of levels, 0..1), nDCG@10 and calibration error of predictions.

    Experiment trackers take no ``@`` in a name, so ``ndcg@10`` is ``ndcg_10`` here.
    """
    predictions = probabilities(logits)
    targets, group = labels[:, :4], labels[:, 5].astype(np.int64)
    predicted, actual = expected_level(predictions), expected_level(targets)
    curves = calibration.reliability(predictions, targets)
    return {
        "log_loss": float(cross_entropies(predictions, targets).mean()),
        "spearman": rank_correlation(predicted, actual),
        "rmse": float(np.sqrt(np.mean(np.square(predicted - actual)))),
        "ndcg_10": mean_ndcg(predicted, actual, group),
        "ece": float(np.mean([curve.error for curve in curves])),
    }
