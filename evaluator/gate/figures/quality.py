"""Is the challenger better? Log loss, nDCG@10, reciprocal rank and calibration of both versions on the same lists.

A first model has no champion: it is compared with the untrained scorer once that scorer is calibrated. Pure: takes
lists and both scorers' probabilities.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from evaluator.gate.bootstrap import Bootstrap, Bounds, Estimate, Rows, combined
from evaluator.gate.dataset import GateRequest, Groups, RankedList, Score, answers, ranked_lists
from evaluator.gate.thresholds import Figure
from models.intents import INTENTS
from models.measures.names import ECE, LOG_LOSS, MRR, NDCG
from models.measures.probabilities import SMALLEST, TENTHS, bins_of, cross_entropies, expected_calibration_error
from models.measures.ranking import ndcg, ranked, reciprocal_rank
from models.scorer import Floats
from models.training.calibration import fit
from models.training.examples import Example, expected_level

Numbers = npt.NDArray[np.float64]

Worth = Callable[[Floats], Floats]
"""Maps probabilities to the values that items are ranked by."""

NO_CHOICE = "too few lists have outcomes that differ"


def log_losses(lists: Sequence[RankedList], found: Sequence[Floats]) -> Numbers:
    """Each list's weighted sum of log losses."""
    return np.array(
        [float(one.weights @ cross_entropies(part, one.targets)) for one, part in zip(lists, found, strict=True)]
    )


def of_orders(measure: Callable[[Numbers], float], lists: Sequence[RankedList], scores: Sequence[Floats]) -> Numbers:
    """A measure of each list's gains in the order of the scores."""
    gains = [levels(one) for one in lists]
    return np.array([measure(of[ranked(of, part)]) for of, part in zip(gains, scores, strict=True)])


def levels(one: RankedList) -> Numbers:
    """The gains of a list's items: the mean levels of their outcomes, 0 to 1."""
    return expected_level(one.targets.astype(np.float32)).astype(np.float64)


def paired(
    measure: str, values: Sequence[Numbers], groups: Groups, bootstrap: Bootstrap, segment: str = "", note: str = ""
) -> Figure:
    """The means of a measure of each list, champion's and challenger's, over the lists where both are defined (not
    NaN); ``note`` says why there may be none."""
    champion, challenger = values
    known = ~np.isnan(challenger - champion)
    apart = np.where(known, challenger - champion, 0.0)
    found = bootstrap.ratio(apart, known.astype(float), *groups.groupings)
    if found is None:
        return Figure(measure=measure, segment=segment, counted=groups.unit, note=note)
    return figure(measure, float(champion[known].mean()), found, groups, segment)


def figure(measure: str, champion: float, found: Estimate, groups: Groups, segment: str = "") -> Figure:
    """A figure of the challenger, from the champion's and the estimate of their difference."""
    return Figure(
        measure=measure,
        segment=segment,
        value=champion + found.value,
        reference=champion,
        difference=found.value,
        difference_low=found.low,
        difference_high=found.high,
        count=groups.count,
        counted=groups.unit,
    )


def loss_figure(
    lists: Sequence[RankedList], champion: Sequence[Floats], challenger: Sequence[Floats], bootstrap: Bootstrap
) -> Figure:
    """Log loss, weighted."""
    weights, groups = np.array([one.weights.sum() for one in lists]), Groups.of(lists)
    before, after = log_losses(lists, champion), log_losses(lists, challenger)
    found = bootstrap.ratio(after - before, weights, *groups.groupings)
    if found is None:
        return Figure(measure=LOG_LOSS, counted=groups.unit, note=NO_CHOICE)
    return figure(LOG_LOSS, float(before.sum() / weights.sum()), found, groups)


def order_figures(
    lists: Sequence[RankedList],
    champion: Sequence[Floats],
    challenger: Sequence[Floats],
    bootstrap: Bootstrap,
    worth: Worth,
) -> Iterator[Figure]:
    """nDCG@10 and reciprocal rank of the lists that have a choice."""
    groups = Groups.of(lists)
    for name, measure in ((NDCG, ndcg), (MRR, reciprocal_rank)):
        values = [of_orders(measure, lists, [worth(part) for part in found]) for found in (champion, challenger)]
        yield paired(name, values, groups, bootstrap, note=NO_CHOICE)


def calibration_figure(
    lists: Sequence[RankedList], champion: Sequence[Floats], challenger: Sequence[Floats], bootstrap: Bootstrap
) -> Figure:
    """The expected calibration error, mean of the four intents."""
    weights, groups = [one.weights.sum() for one in lists], Groups.of(lists)
    apart = [gaps(lists, found) for found in (champion, challenger)]
    values = [float(expected_calibration_error(cells.sum(0), sum(weights)) / len(INTENTS)) for cells in apart]

    def bounds(place: Rows) -> Bounds:
        masses = np.bincount(place, weights)
        before, after = (summed(cells, place) for cells in apart)

        def errors(cells: Numbers, rows: Rows) -> Numbers:
            mean = expected_calibration_error(cells[rows].sum(-2), masses[rows].sum(-1)) / len(INTENTS)
            return np.asarray(mean, np.float64)

        return bootstrap.interval(
            lambda rows: errors(after, rows) - errors(before, rows), len(masses), "percentile", before.shape[1]
        )

    value = values[1] - values[0]
    found = Estimate(value, *combined(value, bounds, groups.groupings), groups.count)
    return figure(ECE, values[0], found, groups)


def gaps(lists: Sequence[RankedList], found: Sequence[Floats]) -> Numbers:
    """Predicted minus observed, of each list by intent and bin of the prediction: [lists, all bins].

    The bins are those of training's figures.
    """
    predicted, targets = np.concatenate(found), np.concatenate([one.targets for one in lists])
    weights = np.concatenate([one.weights for one in lists])
    rows = np.repeat(np.arange(len(lists)), [len(part) for part in found])
    cells = np.zeros((len(lists), len(INTENTS), len(TENTHS) + 1))
    places = rows[:, None], np.arange(len(INTENTS)), bins_of(predicted)
    np.add.at(cells, places, weights[:, None] * (predicted - targets))
    return cells.reshape(len(lists), -1)


def summed(cells: Numbers, place: Rows) -> Numbers:
    """The sum of each group's rows: [groups, columns]."""
    found = np.zeros((place.max() + 1, cells.shape[1]))
    np.add.at(found, place, cells)
    return found


def calibrated(score: Score, examples: Sequence[Example], most: int) -> Score:
    """The scorer, calibrated on the newest contexts of examples that the gate does not use.

    Raises
    ------
    AnswerError
        When its answers are not probabilities.

    Examples
    --------
    >>> shown = [Example(query=f"q{n}", item="hose", intent="look" if n % 4 == 0 else "ignore") for n in range(400)]
    >>> def unsure(requests): return [np.full((len(request.items), 4), 0.25, np.float32) for request in requests]
    >>> [row] = calibrated(unsure, shown, 400)([GateRequest("new", (), ("hose",))])
    >>> row.round(2).tolist()
    [[0.0, 0.0, 0.25, 0.75]]
    """
    lists = ranked_lists(examples, most)
    predicted = np.concatenate(answers(score, [one.request for one in lists]))
    fitted = fit(_logits(predicted), np.concatenate([one.targets * one.weights[:, None] for one in lists]))

    def calibrated_score(requests: Sequence[GateRequest]) -> list[Floats]:
        return [softmax(fitted(_logits(part)), axis=1) for part in score(requests)]

    return calibrated_score


def _logits(probabilities: Floats) -> Floats:
    logits: Floats = np.log(probabilities.clip(SMALLEST))
    return logits
