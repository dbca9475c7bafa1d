"""What is asked of the first that was trained: less loss than the untrained scorer has once its probabilities mean
what they say.

Pure. Without this anything that has seen how often items are clicked has the smaller log loss, be it trained on noise.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from evaluator.gate.checks.quality import SMALLEST
from evaluator.gate.dataset import Ask, Score, answers, judged
from models.scorer import Floats
from models.training.calibration import fit
from models.training.examples import Example


def calibrated(score: Score, examples: Sequence[Example], most: int) -> Score:
    """The scorer with its probabilities calibrated on the newest contexts of examples that it will not be judged by.

    Raises
    ------
    AnswerError
        When it answers with what is no probabilities.

    Examples
    --------
    >>> shown = [Example(query=f"q{n}", item="hose", intent="look" if n % 4 == 0 else "ignore") for n in range(400)]
    >>> def unsure(asks): return [np.full((len(ask.items), 4), 0.25, np.float32) for ask in asks]
    >>> [row] = calibrated(unsure, shown, 400)([Ask("new", (), ("hose",))])
    >>> row.round(2).tolist()
    [[0.0, 0.0, 0.25, 0.75]]
    """
    lists = judged(examples, most)
    told = np.concatenate(answers(score, [one.ask for one in lists]))
    fitted = fit(_logits(told), np.concatenate([one.targets * one.weights[:, None] for one in lists]))

    def ask(asks: Sequence[Ask]) -> list[Floats]:
        return [softmax(fitted(_logits(part)), axis=1) for part in score(asks)]

    return ask


def _logits(probabilities: Floats) -> Floats:
    logits: Floats = np.log(probabilities.clip(SMALLEST))
    return logits
