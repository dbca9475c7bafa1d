"""Is the challenger better? Log loss, nDCG@10 and calibration on the same lists, challenger minus champion.

A first model has no champion: it is compared with the untrained scorer once that scorer is calibrated. Pure: takes
lists and both scorers' probabilities. What must be shown is decided by the worse end of its interval, so that chance
alone passes nobody: a challenger that is equal passes the loss check in (1 - confidence) / 2 of all slices.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from evaluator.gate.bootstrap import Bootstrap, Bounds, Estimate, Groupings, Rows, combined
from evaluator.gate.config import GateConfig
from evaluator.gate.dataset import GateRequest, Groups, RankedList, Score, answers, ranked_lists
from evaluator.gate.report import Check
from models.intents import INTENTS
from models.scorer import Floats
from models.training.calibration import fit
from models.training.examples import Example, expected_level
from models.training.ndcg import ndcgs_of_levels
from models.training.reliability import TENTHS, bins_of, expected_calibration_error

Numbers = npt.NDArray[np.float64]

Worth = Callable[[Floats], Floats]
"""Maps probabilities to the values that items are ranked by."""

SMALLEST = 1e-9
DEPTH = 10


def log_losses(lists: Sequence[RankedList], found: Sequence[Floats]) -> Numbers:
    """Each list's weighted sum of log losses."""
    return np.array(
        [
            -float(one.weights @ (one.targets * np.log(part.clip(SMALLEST))).sum(1))
            for one, part in zip(lists, found, strict=True)
        ]
    )


def ndcgs(lists: Sequence[RankedList], scores: Sequence[Floats]) -> Numbers:
    """Each list's nDCG@10. Gains are levels from 0 to 1; NaN where all are equal. Ties of scores are broken against the
    model, as in training."""
    levels = [expected_level(one.targets.astype(np.float32)) for one in lists]
    return ndcgs_of_levels(levels, scores, DEPTH)


def mean_difference(values: Numbers, groupings: Groupings, bootstrap: Bootstrap) -> Estimate | None:
    """The mean of the lists' differences, without those that are NaN."""
    known = ~np.isnan(values)
    return bootstrap.ratio(np.where(known, values, 0.0), known.astype(float), *groupings)


def loss_check(
    lists: Sequence[RankedList],
    champion: Sequence[Floats],
    challenger: Sequence[Floats],
    config: GateConfig,
    bootstrap: Bootstrap,
) -> Check:
    """Passes when the loss is smaller, and its interval's upper end is below the margin."""
    weights = np.array([one.weights.sum() for one in lists])
    before, after = log_losses(lists, champion), log_losses(lists, challenger)
    level = float(before.sum() / weights.sum())
    margin, effect = config.loss_margin * level, config.loss_effect * level
    groups = Groups.of(lists)
    found = bootstrap.ratio(after - before, weights, *groups.groupings)
    if found is None:
        return no_data("loss", margin, config)
    passed = found.value < 0 and found.high < margin
    needed = bootstrap.needed(found, effect + margin)
    open_ = not passed and found.low < 0 and needed > found.groups
    said = _compared("Log loss", level, level + found.value, found)
    if passed:
        said += ", better."
    elif open_:
        said += f"; a gain of {effect:.4f} would show with {groups.said(needed)}."
    else:
        said += "; not shown to be better."
    return _check("loss", found, margin, passed, needed if open_ else None, said)


def ndcg_check(
    lists: Sequence[RankedList],
    champion: Sequence[Floats],
    challenger: Sequence[Floats],
    config: GateConfig,
    bootstrap: Bootstrap,
    worth: Worth,
) -> Check:
    """Passes when the interval's lower end is above minus the margin."""
    before, after = (ndcgs(lists, [worth(part) for part in found]) for found in (champion, challenger))
    groups = Groups.of(lists)
    found = mean_difference(after - before, groups.groupings, bootstrap)
    margin = config.ndcg_margin
    if found is None:
        return no_data("ndcg", -margin, config)
    passed = found.low > -margin
    needed = math.ceil(bootstrap.needed(found, margin) * groups.count / found.groups)
    open_ = not passed and found.high > -margin and needed > groups.count
    level = float(np.nanmean(before))
    said = _compared("nDCG@10", level, level + found.value, found)
    if passed:
        said += f", not worse by {margin:g}."
    elif open_:
        said += f"; whether it is worse by {margin:g} would show with {groups.said(needed)}."
    else:
        said += f"; it may be worse by more than {margin:g}."
    return _check("ndcg", found, -margin, passed, needed if open_ else None, said)


def calibration_check(
    lists: Sequence[RankedList],
    champion: Sequence[Floats],
    challenger: Sequence[Floats],
    config: GateConfig,
    bootstrap: Bootstrap,
) -> Check:
    """Passes unless the whole interval of the expected calibration error's difference is above the margin."""
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
    passed = found.low <= config.calibration_margin
    said = _compared("Calibration error", values[0], values[1], found)
    said += "." if passed else f", more than {config.calibration_margin:g} worse."
    return _check("calibration", found, config.calibration_margin, passed, None, said)


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


def no_data(name: str, limit: float, config: GateConfig) -> Check:
    """A check that the slice has no data for."""
    said = f"Nothing in the slice measures {name}: too few of its lists have outcomes that differ."
    return Check(
        name=name, value=None, interval=None, limit=limit, passed=False, needed=config.least_shoppers, sentence=said
    )


def _check(name: str, found: Estimate, limit: float, passed: bool, needed: int | None, said: str) -> Check:
    return Check(
        name=name,
        value=found.value,
        interval=(found.low, found.high),
        limit=limit,
        passed=passed,
        needed=needed,
        sentence=said,
    )


def _compared(what: str, champion: float, challenger: float, found: Estimate) -> str:
    difference = f"{found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})"
    return f"{what}: champion {champion:.4f}, challenger {challenger:.4f}, difference {difference}"


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
