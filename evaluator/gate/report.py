"""What the gate says: the figures, what was asked of them, and a sentence for people.

Values in, JSON out and back; knows nothing of how anything is measured.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from evaluator.gate.thresholds import Check, Figure, Outcome
from models.measures.names import (
    ECE,
    EXPOSURE_BY_BRAND,
    EXPOSURE_BY_ITEM,
    LATENCY_P50,
    LATENCY_P99,
    LOG_LOSS,
    NDCG,
    RANK_CORRELATION,
    perturbed,
)

Decision = Literal["passed", "refused", "too_few"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a challenger may be rolled out, and why.

    Attributes
    ----------
    shoppers, queries, contexts
        Counts of the slice. Shoppers and queries are resampled as groups; ``shoppers`` is 0 where none is known.
        Contexts are the lists that were ranked.
    config
        The limits and the seed that were used.
    figures
        Of the challenger, beside the champion's; without any where there were too few examples.
    checks
        What was asked.
    """

    decision: Decision
    sentence: str
    shoppers: int
    queries: int
    contexts: int
    config: dict[str, Any]
    figures: tuple[Figure, ...]
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether the challenger may be rolled out."""
        return self.decision == "passed"


def conclude(
    checks: Sequence[Check],
    figures: Sequence[Figure],
    *,
    shoppers: int,
    queries: int,
    contexts: int,
    config: dict[str, Any],
) -> Verdict:
    """One failed check refuses the challenger; otherwise one check without enough examples leaves the decision open.

    Examples
    --------
    >>> fine = Check(asked="log_loss difference_below 0", outcome="passed", said="Better.")
    >>> open = Check(asked="ndcg@10 difference_min -0.01", outcome="too_few", needed=900, said="ndcg@10: ?")
    >>> conclude([fine, open], [], shoppers=100, queries=110, contexts=120, config={}).sentence
    'Not enough examples: 100 shoppers, 110 queries. ndcg@10: ?.'
    """
    open_ = [check for check in checks if check.outcome == "too_few"]
    refused = [check for check in checks if check.outcome in ("failed", "missing")]
    decision: Decision = "refused" if refused else "too_few" if open_ else "passed"
    match decision:
        case "passed":
            said = f"Passed all {len(checks)} checks."
        case "refused":
            said = "Refused."
        case "too_few":
            said = f"Not enough examples: {f'{shoppers:,} shoppers, ' if shoppers else ''}{queries:,} queries."
    return Verdict(
        decision=decision,
        sentence=" ".join([said, *(f"{check.said}." for check in (refused or open_))]),
        shoppers=shoppers,
        queries=queries,
        contexts=contexts,
        config=config,
        figures=tuple(figures),
        checks=tuple(checks),
    )


def encode(verdict: Verdict) -> bytes:
    """As indented JSON."""
    return msgspec.json.format(msgspec.json.encode(verdict), indent=2) + b"\n"


def decode(data: bytes) -> Verdict:
    """Read what :func:`encode` wrote, now or before figures had names; ``msgspec.DecodeError`` for anything else."""
    verdict = msgspec.json.decode(data, type=dict[str, Any])
    if "figures" in verdict:
        return msgspec.convert(verdict, Verdict)
    return _of_old(msgspec.convert(verdict, _OldVerdict))


class _OldCheck(msgspec.Struct, kw_only=True):
    name: str
    value: float | None
    interval: tuple[float, float] | None
    limit: float
    passed: bool
    needed: int | None = None
    sentence: str


class _OldVerdict(msgspec.Struct, kw_only=True):
    decision: Decision
    sentence: str
    queries: int
    contexts: int
    config: dict[str, Any]
    checks: tuple[_OldCheck, ...]
    shoppers: int = 0


_OLD_NAMES = {
    "loss": (LOG_LOSS, ""),
    "ndcg": (NDCG, ""),
    "calibration": (ECE, ""),
    "exposure_item": (EXPOSURE_BY_ITEM, ""),
    "exposure_brand": (EXPOSURE_BY_BRAND, ""),
    **{
        f"robustness_{old}_{what}": (measure, perturbed(new))
        for old, new in [(kind, kind) for kind in ("typo", "keyboard", "case", "spaces")]
        + [("words", "words left out")]
        for what, measure in (("order", RANK_CORRELATION), ("ndcg", NDCG))
    },
}
"""Measure and segment of the checks of verdicts before figures had the names of :mod:`models.measures.names`."""


def _of_old(verdict: _OldVerdict) -> Verdict:
    """An old verdict; of its figures only differences are known, of latencies not even these."""
    return Verdict(
        decision=verdict.decision,
        sentence=verdict.sentence,
        shoppers=verdict.shoppers,
        queries=verdict.queries,
        contexts=verdict.contexts,
        config=verdict.config,
        figures=tuple(_old_figures(verdict)),
        checks=tuple(_of_old_check(one) for one in verdict.checks),
    )


def _old_figures(verdict: _OldVerdict) -> Iterator[Figure]:
    for one in verdict.checks:
        if one.name in _OLD_NAMES:
            measure, segment = _OLD_NAMES[one.name]
            low, high = one.interval or (None, None)
            yield Figure(
                measure=measure,
                segment=segment,
                difference=one.value,
                difference_low=low,
                difference_high=high,
                count=verdict.shoppers or verdict.queries,
                counted="shoppers" if verdict.shoppers else "queries",
            )


def _of_old_check(one: _OldCheck) -> Check:
    latencies = {"latency_median": (LATENCY_P50, ""), "latency_p99": (LATENCY_P99, "")}
    measure, segment = (_OLD_NAMES | latencies).get(one.name, (one.name, ""))
    outcome: Outcome = "passed" if one.passed else "failed" if one.needed is None else "too_few"
    return Check(
        measure=measure,
        segment=segment,
        asked=f"{one.name} {one.limit:g}",
        outcome=outcome,
        said=one.sentence.removesuffix("."),
        needed=one.needed,
    )
