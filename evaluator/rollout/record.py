"""What is kept of a canary that has ended: who it was, how it ended, its online result, the gate's figures of both.

Pure: takes slots, evidence and a verdict. Knows nothing of where records are kept.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from evaluator.experiments.result import result
from evaluator.gate.report import Verdict
from evaluator.rollout.evidence import Canary
from evaluator.rollout.policy import Action
from models.measures.names import ECE, LOG_LOSS, NDCG, RANK_CORRELATION
from models.store.experiments import Arm, Better, Ended, Figure, FinishedExperiment
from models.store.slots import Promotion, Slot

ENDS: dict[Action, Ended] = {"promote": "promoted", "roll_back": "rolled_back", "give_up": "given_up"}
"""The actions that end a canary."""

BETTER: dict[str, Better] = {LOG_LOSS: "lower", NDCG: "higher", ECE: "lower", RANK_CORRELATION: "higher"}
"""The gate's figures of quality, and which way is better. Exposure has no better way."""


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
    >>> from evaluator.gate.report import conclude
    >>> from evaluator.gate.thresholds import Figure as OfGate
    >>> loss = OfGate(measure="log_loss", value=1.0, reference=1.5, difference=-0.5)
    >>> verdict = conclude([], [loss], shoppers=0, queries=0, contexts=0, config={})
    >>> [(one.measure, one.champion, one.challenger, one.difference) for one in figures(verdict)]
    [('log_loss', 1.5, 1.0, -0.5)]
    """
    for one in verdict.figures:
        if one.measure in BETTER and one.difference is not None:
            yield Figure(
                measure=one.measure,
                segment=one.segment,
                source="gate",
                better=BETTER[one.measure],
                difference=one.difference,
                low=one.difference_low,
                high=one.difference_high,
                champion=one.reference,
                challenger=one.value,
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
