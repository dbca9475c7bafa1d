"""What is kept of a canary that has ended: who it was, how it ended, its online result, the gate's figures of both.

Pure: takes slots, evidence and a verdict. Knows nothing of where records are kept.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from evaluator.experiments.result import result
from evaluator.gate.report import Verdict
from evaluator.rollout.evidence import Canary
from evaluator.rollout.policy import Action
from models.store.experiments import Arm, Better, Ended, Figure, FinishedExperiment
from models.store.slots import Promotion, Slot

ENDS: dict[Action, Ended] = {"promote": "promoted", "roll_back": "rolled_back", "give_up": "given_up"}
"""The actions that end a canary."""

CHECKS: dict[str, tuple[str, Better]] = {
    "loss": ("log_loss", "lower"),
    "ndcg": ("ndcg@10", "higher"),
    "calibration": ("ece", "lower"),
}
"""The gate's checks of quality: the measure, and which way is better. Exposure has no better way."""

PERTURBED: dict[str, str] = {"ndcg": "ndcg@10", "order": "rank correlation"}
"""The measures under a perturbation, by the last word of the check's name; the higher, the better."""


def champion_of(champion: Slot, challenger: Promotion) -> str:
    """The version that a challenger was compared with: the champion when its share began; empty for untrained weights.

    Examples
    --------
    >>> first, later = (Promotion(name, datetime(2026, 11, day, tzinfo=UTC), "") for name, day in (("a", 1), ("b", 3)))
    >>> champion_of(Slot(later, (first,)), Promotion("c", datetime(2026, 11, 2, tzinfo=UTC), "", 0.1))
    'a'
    """
    past = (*champion.history, *([champion.current] if champion.current else ()))
    return next((one.version for one in reversed(past) if one.at <= challenger.at), "")


def figures(verdict: Verdict) -> Iterator[Figure]:
    """The gate's figures of quality: differences on its newest examples.

    Examples
    --------
    >>> from evaluator.gate.report import Check, conclude
    >>> check = Check(name="robustness_typo_ndcg", value=0.1, interval=None, limit=0, passed=True, sentence="")
    >>> [(one.measure, one.segment) for one in figures(conclude([check], 0, 0, 0, {}))]
    [('ndcg@10', 'perturbation: typo, strength 1')]
    """
    for check in verdict.checks:
        first, _, rest = check.name.partition("_")
        kind, _, last = rest.rpartition("_")
        if first in CHECKS:
            (measure, better), segment = CHECKS[first], ""
        elif first == "robustness" and last in PERTURBED:
            measure, better, segment = PERTURBED[last], "higher", f"perturbation: {kind}, strength 1"
        else:
            continue
        if check.value is not None:
            low, high = check.interval or (None, None)
            yield Figure(
                measure=measure,
                segment=segment,
                source="gate",
                better=better,
                difference=check.value,
                low=low,
                high=high,
            )


def finished(
    challenger: Promotion, champion: str, ended: Ended, reason: str, canary: Canary, verdict: Verdict | None, now: int
) -> FinishedExperiment:
    """The record of a canary.

    Parameters
    ----------
    challenger
        What the slot held: the version, its share, and since when.
    verdict
        The gate's on these two versions, None where there is none.
    now
        When it ended, epoch ms.
    """
    arms = Arm(canary.champion_impressions, canary.champion_clicks), Arm(canary.impressions, canary.clicks)
    return FinishedExperiment(
        kind="canary",
        champion=champion,
        challenger=challenger.version,
        begun_at=challenger.at,
        ended_at=datetime.fromtimestamp(now / 1_000, UTC),
        share=challenger.share,
        ended=ended,
        reason=reason,
        online=result(*arms, log10_evalue=canary.log10_clicks, dispersion=canary.dispersion),
        offline=tuple(figures(verdict)) if verdict else (),
    )
