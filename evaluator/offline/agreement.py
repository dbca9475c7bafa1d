"""How well offline measures predict online results: agreement of signs, rank correlation, and both with intervals.

Pure: takes pairs of an offline difference and an online one with its standard error. Knows nothing of where they come
from, except that :func:`agreements` reads the records of finished experiments.

Online differences are noisy, so a perfect measure does not agree with them perfectly. Their reliability, the share of
their variance that is not error, says how high a rank correlation can be at all: its root (Spearman 1904, "The Proof
and Measurement of Association between Two Things"). Divided by it, the correlation is one with the true differences;
for ranks that is an approximation, which simulations in the tests bear out. The offline differences are not corrected:
how noisy a measure is belongs to how well it predicts. Urbano and Marrero (2016, "Toward Estimating the Rank
Correlation between the Test Collection Results and the True System Performance") treat the offline side.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import ndtr
from scipy.stats import norm, rankdata, t

from evaluator.metrics.intervals import wilson
from evaluator.offline.dimensions.dimension import optional
from evaluator.offline.resampling import Numbers, holm
from models.store.experiments import FinishedExperiment, Kind

LEAST = 10
"""Independent pairs below which nothing is claimed."""

DRAWS = 2_000

DECIDED = math.log10(20)
"""Evidence (log10) from which an online difference counts as decided: the rollout's own bound at its default."""

LEAST_RELIABILITY = 0.25
"""Below it online differences are mostly error, and no correlation is corrected."""

SURE = 0.05

Claim = Literal["too_few", "predicts", "not_shown", "opposite"]


class Pair(NamedTuple):
    """Two models, offline and online.

    Attributes
    ----------
    offline
        The difference of the measure, above zero where the challenger is better.
    online
        The online difference, such as the log ratio of click rates, and its standard error.
    decided
        Whether the sign of the online difference is sure.
    group
        Pairs that share a shop or a champion are resampled together; empty for a pair of its own.
    """

    offline: float
    online: float
    error: float
    decided: bool
    group: str = ""


class Share(msgspec.Struct, frozen=True):
    """A share of pairs whose signs agree, its 95 % interval, and how many pairs it is from."""

    value: float
    low: float
    high: float
    count: int


class Correlation(msgspec.Struct, frozen=True):
    """Spearman's rank correlation and its 95 % interval."""

    value: float
    low: float
    high: float


class Agreement(msgspec.Struct, kw_only=True):
    """How well one measure predicted.

    Attributes
    ----------
    count, groups
        Pairs, and independent groups of them.
    signs, weighted, decided
        Agreement of signs: over all pairs; with each pair weighted by how sure its online sign is; over the pairs whose
        online difference is decided. None without such pairs.
    chance
        The agreement over all pairs if signs had nothing to do with each other, given how many of each there are.
    one_sided
        Whether all offline differences have the same sign: then the agreement only says how many challengers won.
    correlation
        Between offline and online differences; None where one of them does not vary.
    reliability
        Share of the variance of online differences that is not error; its root is the highest possible correlation.
    corrected
        The correlation with true online differences; None where they are mostly error.
    p
        Of no correlation, two-sided, corrected for all measures that were looked at together (Holm 1979).
    """

    measure: str
    segment: str = ""
    source: str = ""
    kind: Kind = "canary"
    count: int
    groups: int
    signs: Share | None
    weighted: Share | None
    decided: Share | None
    chance: float | None
    one_sided: bool
    correlation: Correlation | None
    reliability: float | None
    corrected: Correlation | None
    p: float | None = None

    @property
    def claim(self) -> Claim:
        """What can be said of the measure."""
        if self.groups < LEAST:
            return "too_few"
        if self.p is None or self.p >= SURE or self.correlation is None:
            return "not_shown"
        return "predicts" if self.correlation.value > 0 else "opposite"


def agreements(experiments: Iterable[FinishedExperiment]) -> list[Agreement]:
    """Every measure's agreement with the online results, the best correlated first.

    Canaries and interleavings are apart, as their online differences have other scales; so are the gate's figures and
    those of evaluations, which are of other cases.
    """
    pairs: dict[tuple[Kind, str, str, str], list[Pair]] = {}
    for one in experiments:
        if one.online is None:
            continue
        sure = one.online.log10_evalue >= DECIDED
        for figure in one.offline:
            better = figure.difference if figure.better == "higher" else -figure.difference
            pair = Pair(better, one.online.log_ratio, one.online.error, sure)
            pairs.setdefault((one.kind, figure.source, figure.measure, figure.segment), []).append(pair)
    found = []
    for (kind, source, measure, segment), some in pairs.items():
        agreed = agreement(measure, some)
        agreed.kind, agreed.source, agreed.segment = kind, source, segment
        found.append(agreed)
    correct(found)
    return sorted(found, key=lambda one: -(one.correlation.value if one.correlation else -2.0))


def agreement(measure: str, pairs: Sequence[Pair], draws: int = DRAWS, seed: int = 0) -> Agreement:
    """One measure's agreement; its p-value is not corrected for other measures yet.

    Intervals of shares are Wilson's, of the effective number of pairs where they are weighted or come in groups (Kish
    1965; Korn and Graubard 1998). Those of correlations are percentiles of a bootstrap of whole groups; for the
    corrected one each draw has its own reliability.

    Examples
    --------
    >>> some = [Pair(0.01 * place, 0.02 * place + 0.005 * (place % 3), 0.01, True) for place in range(-9, 10) if place]
    >>> found = agreement("ndcg@10", some)
    >>> found.count, found.signs.value, found.correlation.value > 0.9, found.claim
    (18, 1.0, True, 'predicts')
    >>> agreement("ndcg@10", some[:3]).claim
    'too_few'
    """
    offline, online, error = (np.array([pair[place] for pair in pairs], np.float64) for place in range(3))
    names = [pair.group or f"\0{place}" for place, pair in enumerate(pairs)]
    groups = np.unique(names, return_inverse=True)[1]
    signed = (offline != 0) & (online != 0)
    agree = (offline > 0) == (online > 0)
    sure = signed & np.array([pair.decided for pair in pairs], bool)
    certainty = np.abs(2 * ndtr(online / error) - 1)
    found = Agreement(
        measure=measure,
        count=len(pairs),
        groups=int(groups.max()) + 1,
        signs=_share(agree[signed], np.ones(signed.sum()), groups[signed]),
        weighted=_share(agree[signed], certainty[signed], groups[signed]),
        decided=_share(agree[sure], np.ones(sure.sum()), groups[sure]),
        chance=_chance(offline[signed] > 0, online[signed] > 0),
        one_sided=bool(len(set(np.sign(offline[signed]).tolist())) == 1),
        correlation=None,
        reliability=None,
        corrected=None,
    )
    if len(pairs) > 2:
        _correlate(found, offline, online, error, groups, draws, seed)
    return found


def correct(found: Sequence[Agreement]) -> None:
    """Correct the p-values of measures that are looked at together (Holm 1979)."""
    corrected = holm([math.nan if one.p is None else one.p for one in found])
    for one, p in zip(found, corrected, strict=True):
        one.p = optional(p)


def _correlate(
    found: Agreement,
    offline: Numbers,
    online: Numbers,
    error: Numbers,
    groups: npt.NDArray[np.intp],
    draws: int,
    seed: int,
) -> None:
    value = float(_spearman(offline[None], online[None])[0])
    reliability = float(_reliability(online[None], error[None])[0])
    found.reliability = min(1.0, max(0.0, reliability)) if math.isfinite(reliability) else None
    if math.isnan(value):
        return
    rows = _resampled(groups, draws, seed)
    drawn = np.concatenate([_spearman(offline[some], online[some]) for some in rows])
    trusted = np.concatenate([_reliability(online[some], error[some]) for some in rows])
    known = ~np.isnan(drawn)
    if known.sum() < LEAST:
        return
    found.correlation = Correlation(value, *_bounds(drawn[known]))
    spread = float(np.arctanh(np.clip(drawn[known], -0.999, 0.999)).std(ddof=1))
    found.p = float(2 * norm.sf(abs(math.atanh(max(-0.999, min(0.999, value)))) / max(spread, 1e-9)))
    if reliability >= LEAST_RELIABILITY:
        ceiling = np.sqrt(np.clip(trusted[known], 1e-9, 1.0))
        corrected = np.clip(drawn[known] / ceiling, -1.0, 1.0)
        best = max(-1.0, min(1.0, value / math.sqrt(min(1.0, reliability))))
        found.corrected = Correlation(best, *_bounds(corrected))


def _resampled(groups: npt.NDArray[np.intp], draws: int, seed: int) -> list[npt.NDArray[np.intp]]:
    """Rows of each draw of whole groups: blocks of draws with equally many rows, intp [draws, rows]."""
    count = int(groups.max()) + 1
    chosen = np.random.default_rng(seed).integers(0, count, (draws, count))
    members = np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1])
    if len({len(some) for some in members}) == 1:
        return [np.array(members)[chosen].reshape(draws, -1)]
    return [np.concatenate([members[one] for one in some])[None] for some in chosen]


def _spearman(one: Numbers, other: Numbers) -> Numbers:
    """Spearman's correlation of each row, float64 [rows]; NaN where a row does not vary."""
    ranks = [rankdata(some, axis=-1) for some in (one, other)]
    first, second = (some - some.mean(-1, keepdims=True) for some in ranks)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Numbers = (first * second).sum(-1) / np.sqrt((first**2).sum(-1) * (second**2).sum(-1))
    return found


def _reliability(online: Numbers, error: Numbers) -> Numbers:
    """One less the mean squared standard error over the variance of the differences, of each row."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Numbers = 1 - (error**2).mean(-1) / online.var(-1, ddof=1)
    return found


def _bounds(drawn: Numbers) -> tuple[float, float]:
    low, high = np.quantile(drawn, (0.025, 0.975)) if len(drawn) else (-1.0, 1.0)
    return float(low), float(high)


def _chance(offline: npt.NDArray[np.bool_], online: npt.NDArray[np.bool_]) -> float | None:
    if not len(offline):
        return None
    won, better = float(online.mean()), float(offline.mean())
    return won * better + (1 - won) * (1 - better)


def _share(agree: npt.NDArray[np.bool_], weights: Numbers, groups: npt.NDArray[np.intp]) -> Share | None:
    """A weighted share with Wilson's interval for the effective number of pairs."""
    total = float(weights.sum())
    if total <= 0:
        return None
    value = min(1.0, float(weights @ agree) / total)
    effective = total**2 / float((weights**2).sum())
    count = len(np.unique(groups))
    if count < len(groups):
        sums = np.bincount(groups, weights * (agree - value))
        variance = count / max(1, count - 1) * float((sums**2).sum()) / total**2
        alike = value * (1 - value) / variance if variance > 0 else float(count)
        freedom = t.ppf(0.975, max(1.0, alike - 1)) / t.ppf(0.975, max(1, count - 1))
        effective = min(effective, alike * float(freedom) ** 2)
    _, low, high = wilson(value * effective, effective)
    return Share(value, low, high, len(agree))
