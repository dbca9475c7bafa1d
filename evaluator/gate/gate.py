"""The gate: two scorers and the newest held-out examples in, a verdict out.

Knows scorers as functions; nothing of models, stores or processes. Two rules: quality must be *shown*, so the worse end
of its interval counts; budgets must not be shown *broken*, so the better end of theirs counts.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from evaluator.gate.bootstrap import Bootstrap
from evaluator.gate.checks.exposure import exposure_checks, top
from evaluator.gate.checks.latency import latency_checks, measure
from evaluator.gate.checks.quality import Worth, calibration_check, loss_check, ndcg_check
from evaluator.gate.checks.robustness import robustness_checks
from evaluator.gate.config import GateConfig
from evaluator.gate.dataset import AnswerError, Groups, RankedList, Score, answers, pools, ranked_lists
from evaluator.gate.report import Check, Verdict, conclude
from models.training.examples import Example, expected_level


def decide(
    champion: Score,
    challenger: Score,
    examples: Sequence[Example],
    config: GateConfig,
    *,
    baseline: Score | None = None,
    worth: Worth = expected_level,
    brands: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Verdict:
    """Decide whether a challenger may be rolled out.

    Parameters
    ----------
    examples
        Sorted by time. Neither scorer was trained or calibrated on them.
    baseline
        The challenger's log loss must be below this scorer's instead of the champion's. An example is the champion,
        calibrated, where it never was.
    worth
        Ranks items, such as :func:`models.scorer.utility` with a shop's weights.
    brands
        Brands by items' texts.
    clock
        Gives seconds, to time calls.

    Raises
    ------
    AnswerError
        When the champion's answers are not probabilities. A challenger whose answers are not is refused.

    Examples
    --------
    >>> import numpy as np
    >>> shown = [Example(query=str(i), item=item, intent=item) for i in range(200) for item in ("buy", "ignore")]
    >>> def sure(p): return lambda some: [np.array([[p, 0, 0, 1 - p], [1 - p, 0, 0, p]], "f4")[:: -1] for _ in some]
    >>> verdict = decide(sure(0.6), sure(0.8), shown, GateConfig(latency_p99=100, latency_median=100))
    >>> verdict.decision, decide(sure(0.6), sure(0.6), shown, GateConfig()).decision
    ('passed', 'refused')
    >>> decide(sure(0.6), sure(0.8), shown[:60], GateConfig()).sentence
    'Not enough examples: 30 queries. 200 queries are needed.'
    """
    lists = ranked_lists(examples, config.most_contexts)
    groups = Groups.of(lists)
    try:
        checks = list(_too_few(groups, config)) or list(
            _checks(lists, champion, challenger, baseline or champion, config, worth, brands or {}, clock)
        )
    except AnswerError as error:
        if error.score is champion:
            raise
        checks = [_bad(error)]
    shoppers = groups.count if groups.unit == "shoppers" else 0
    return conclude(checks, shoppers, len(set(groups.queries)), len(lists), config.model_dump(mode="json"))


def _checks(
    lists: Sequence[RankedList],
    champion: Score,
    challenger: Score,
    baseline: Score,
    config: GateConfig,
    worth: Worth,
    brands: Mapping[str, str],
    clock: Callable[[], float],
) -> Iterator[Check]:
    bootstrap = Bootstrap(config.confidence, config.draws, config.seed)
    requests = [one.request for one in lists]
    before, after = answers(champion, requests), answers(challenger, requests)
    yield loss_check(lists, before if baseline is champion else answers(baseline, requests), after, config, bootstrap)
    yield ndcg_check(lists, before, after, config, bootstrap, worth)
    yield calibration_check(lists, before, after, config, bootstrap)
    yield from robustness_checks(lists, ((champion, before), (challenger, after)), config, bootstrap, worth)
    wide = pools(lists, config.pool, config.exposure_contexts, config.seed)
    shelves = [top(wide, [worth(part) for part in answers(score, wide)]) for score in (champion, challenger)]
    yield from exposure_checks(shelves[0], shelves[1], brands, config)
    calls = pools(lists, config.pool, config.latency_calls, config.seed)
    yield from latency_checks(
        *measure(champion, challenger, calls, config.latency_repeats, config.seed, clock), config, bootstrap
    )


def _too_few(groups: Groups, config: GateConfig) -> Iterator[Check]:
    """A failed check for each count that is too small. Shoppers are assumed to grow in proportion to queries."""
    least = {groups.unit: (groups.count, config.least_shoppers)}
    least["queries"] = len(set(groups.queries)), config.least_queries
    for unit, (count, wanted) in least.items():
        if count < wanted:
            yield Check(
                name="examples",
                value=count,
                interval=None,
                limit=wanted,
                passed=False,
                needed=math.ceil(wanted * groups.count / count) if count else wanted,
                sentence=f"{wanted:,} {unit} are needed.",
            )


def _bad(error: AnswerError) -> Check:
    said = f"The challenger cannot be used: {error}."
    return Check(name="answers", value=None, interval=None, limit=0, passed=False, sentence=said)
