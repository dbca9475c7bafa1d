"""The figures of a scorer's predictions: of ranking, of grading and of calibration.

Knows logits and labels; nothing of models or files.
"""

import numpy as np
import numpy.typing as npt

from models.scorer import Floats
from models.training import calibration, measures
from models.training.examples import expected_level


def probabilities(logits: Floats) -> Floats:
    """Softmax of logits [n, 4]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def figures(logits: Floats, labels: npt.NDArray[np.float32]) -> dict[str, float]:
    """Log loss, Spearman, RMSE (of levels, 0..1), nDCG@10 and calibration error of predictions."""
    predictions = probabilities(logits)
    targets, group = labels[:, :4], labels[:, 5].astype(np.int64)
    predicted, actual = expected_level(predictions), expected_level(targets)
    curves = calibration.reliability(predictions, targets)
    return {
        "log_loss": float(-(targets * np.log(predictions.clip(1e-9))).sum(1).mean()),
        "spearman": measures.spearman(predicted, actual),
        "rmse": measures.rmse(predicted, actual),
        "ndcg_10": measures.ndcg(predicted, actual, group),
        "ece": float(np.mean([curve.error for curve in curves])),
    }
