"""Are the probabilities right? Log loss, calibration and the four intents, as the gate measures them.

Knows judged cases and probabilities; nothing of contenders. A grade is a target distribution over the intents as in
training; a click is a look.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from evaluator.message import Text, said
from evaluator.offline.contenders.contender import Scores
from evaluator.offline.data import Case, EvaluationData
from evaluator.offline.dimensions.dimension import Bench, Part, Reading, optional
from evaluator.offline.measures.measure import Better
from evaluator.offline.resampling import Numbers
from models.intents import INTENTS
from models.measures.names import ECE, LOG_LOSS
from models.measures.probabilities import Reliability, expected_calibration_error
from models.scorer import Floats
from models.training.examples import LEVELS, soft_target


def targets(case: Case, data: EvaluationData) -> Numbers:
    """The target distributions of a case's judged items, float64 [judged, 4].

    Examples
    --------
    >>> case = Case("c", ("a", "b"), np.array([1.0, 2.0]))
    >>> targets(case, EvaluationData("d", "graded", [case], [], {}, (1.0, 3.0))).round(2).tolist()
    [[0.0, 0.0, 0.0, 1.0], [0.0, 0.5, 0.5, 0.0]]
    >>> targets(case, EvaluationData("d", "clicks", [case], [], {}, (1.0, 2.0)))[1].tolist()
    [0.0, 0.0, 1.0, 0.0]
    """
    judged = ~np.isnan(case.gains)
    if case.targets is not None:
        return case.targets[judged]
    low, high = data.span
    levels = (case.gains[judged] - low) / (high - low)
    if data.task != "graded":
        levels = np.where(levels > 0, LEVELS["look"], LEVELS["ignore"])
    return np.array([soft_target(level) for level in levels], np.float64).reshape(-1, len(INTENTS))


def part(bench: Bench) -> Part:
    """Readings and details of a contender's probabilities; empty where it gives none, or nothing is judged."""
    if bench.probabilities is None or bench.data.span[0] == bench.data.span[1]:
        return Part()
    judged = [~np.isnan(case.gains) for case in bench.data.cases]
    wanted = [targets(case, bench.data) for case in bench.data.cases]
    given = [found[known] for found, known in zip(bench.probabilities, judged, strict=True)]
    masses = [
        np.ones(known.sum()) if case.masses is None else case.masses[known]
        for case, known in zip(bench.data.cases, judged, strict=True)
    ]
    counts = np.array([some.sum() for some in masses])
    if not counts.sum():
        return Part()
    from evaluator.gate.dataset import GateRequest, RankedList
    from evaluator.gate.figures.quality import gaps, log_losses  # they load torch, which most contenders do not need

    lists = [RankedList(GateRequest("", (), ()), rows, some) for rows, some in zip(wanted, masses, strict=True)]
    readings = [
        _log_loss(bench, log_losses(lists, _floats(given)), counts),
        *_calibration(bench, gaps(lists, _floats(given)), counts),
    ]
    cells = np.array([confusion(rows, found) for rows, found in zip(wanted, given, strict=True)])
    readings += _classes(bench, cells, counts)
    return Part(readings=readings, details={"report": _report(cells.sum(0)), "reliability": _curve(wanted, given)})


def _log_loss(bench: Bench, sums: Numbers, counts: Numbers) -> Reading:
    losses = np.where(counts > 0, sums / np.where(counts > 0, counts, 1), np.nan)
    replicates = bench.resampling.mean(losses, counts)
    says = "Mean cross-entropy of the four intents, in nats; a grade is split between the two nearest intents."
    return resampled(LOG_LOSS, replicates, counts, says, "lower", cases=[optional(value) for value in losses])


def _calibration(bench: Bench, gaps: Numbers, counts: Numbers) -> Iterator[Reading]:
    """The gate's figure, and that of each intent."""
    weights = bench.resampling.weights
    apart = (weights @ gaps).reshape(len(weights), len(INTENTS), -1)
    each = np.asarray(expected_calibration_error(apart, (weights @ counts)[:, None]), np.float64)
    says = "Expected calibration error in ten bins, mean over the four intents (Naeini et al. 2015)."
    yield resampled(ECE, each.mean(1), counts, says, "lower")
    for name, column in zip(INTENTS, each.T, strict=True):
        of_intent = said("Expected calibration error of the intent {name}, in ten bins.", name=name)
        yield resampled(ECE, column, counts, of_intent, None, segment=f"intent: {name}")


def resampled(
    name: str, replicates: Numbers, counts: Numbers, says: Text, better: Better | None, **more: Any
) -> Reading:
    """A reading from its replicates; ``counts`` are the judged items of each case."""
    return Reading(
        measure=name,
        dimension="effect",
        value=optional(replicates[0]),
        replicates=replicates.tolist(),
        better=better,
        count=int((counts > 0).sum()),
        says=says,
        **more,
    )


def confusion(wanted: Numbers, given: Numbers) -> Numbers:
    """How often each likeliest intent was predicted (columns) where each intent was the nearest (rows), float64 [4, 4].

    Examples
    --------
    >>> confusion(np.array([[0.0, 0.6, 0.4, 0.0]]), np.array([[0.7, 0.1, 0.1, 0.1]]))[1].tolist()
    [1.0, 0.0, 0.0, 0.0]
    """
    found = np.zeros((len(INTENTS), len(INTENTS)))
    np.add.at(found, (wanted.argmax(1), given.argmax(1)), 1.0)
    return found


def f1(cells: Numbers) -> Numbers:
    """F1 of each intent from confusion matrices, float64 [..., 4]; NaN where an intent neither is nor is predicted.

    Examples
    --------
    >>> f1(np.array([[2.0, 0.0], [1.0, 1.0]])).round(3).tolist()
    [0.8, 0.667]
    """
    right = np.diagonal(cells, axis1=-2, axis2=-1)
    with np.errstate(invalid="ignore"):
        found: Numbers = 2 * right / (cells.sum(-1) + cells.sum(-2))
    return found


def _classes(bench: Bench, cells: Numbers, counts: Numbers) -> Iterator[Reading]:
    """Macro-F1, and F1 of each intent that occurs."""
    size = len(INTENTS)
    drawn = (bench.resampling.weights @ cells.reshape(len(cells), -1)).reshape(-1, size, size)
    there = cells.sum((0, 2)) > 0
    each = np.nan_to_num(f1(drawn)[:, there])
    says = "Mean F1 of the intents that occur; the likeliest intent against the one nearest to the grade."
    yield resampled("macro_f1", each.mean(1), counts, says, "higher")
    names = [name for name, occurs in zip(INTENTS, there, strict=True) if occurs]
    for name, column in zip(names, each.T, strict=True):
        yield resampled(
            "f1", column, counts, said("F1 of the intent {name}.", name=name), None, segment=f"intent: {name}"
        )


def _report(cells: Numbers) -> list[dict[str, Any]]:
    """Precision, recall, F1 and support of each intent, as scikit-learn's classification report has them."""
    right, scores = np.diag(cells), f1(cells)
    with np.errstate(invalid="ignore"):
        precision, recall = right / cells.sum(0), right / cells.sum(1)
    rows = zip(INTENTS, precision, recall, scores, cells.sum(1), strict=True)
    return [
        {"intent": name, "precision": optional(p), "recall": optional(r), "f1": optional(f), "support": int(n)}
        for name, p, r, f, n in rows
    ]


def _curve(wanted: Sequence[Numbers], given: Sequence[Numbers]) -> dict[str, list[dict[str, float]]]:
    """The reliability curve of each intent: bins that have predictions."""
    truth, predicted = np.concatenate(wanted), np.concatenate(given)
    found = {}
    for column, name in enumerate(INTENTS):
        bins = Reliability()
        bins.update(predicted[:, column], truth[:, column])
        rows = zip(bins.counts, bins.predicted, bins.observed, strict=True)
        found[name] = [{"count": int(n), "predicted": float(p / n), "observed": float(o / n)} for n, p, o in rows if n]
    return found


def _floats(given: Sequence[Scores]) -> list[Floats]:
    return [found.astype(np.float32) for found in given]
