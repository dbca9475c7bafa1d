"""The gate: two scorers and the newest held-out examples in, a verdict out.

Knows scorers as functions; nothing of models, stores or processes. What it measures are figures, what it asks are
thresholds, as of any evaluation.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from evaluator.gate.bootstrap import Bootstrap
from evaluator.gate.config import GateConfig
from evaluator.gate.dataset import AnswerError, Groups, RankedList, Score, answers, pools, ranked_lists
from evaluator.gate.figures.exposure import exposure_figures, top
from evaluator.gate.figures.feeds import Feeds, feed_figure
from evaluator.gate.figures.latency import latency_figures, measure
from evaluator.gate.figures.quality import Worth, calibration_figure, loss_figure, order_figures
from evaluator.gate.figures.robustness import robustness_figures
from evaluator.gate.report import Verdict, conclude
from evaluator.gate.thresholds import CHAMPION, Check, Figure, GateFile, checked
from models.measures.names import candidates
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
    feeds: Feeds | None = None,
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
    feeds
        Feeds that neither version has learned from, and what ranks them; with fewer than ``least_feeds`` of them
        nothing is said of feeds.
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
    groups, gate = Groups.of(lists), config.thresholds
    figures: list[Figure] = []
    checks = list(_too_few(groups, gate))
    if not checks:
        try:
            figures += figures_of(
                champion,
                challenger,
                lists,
                config,
                baseline=baseline,
                worth=worth,
                brands=brands,
                feeds=feeds,
                clock=clock,
            )
        except AnswerError as error:
            if error.score is champion:
                raise
            checks = [_bad(error)]
        else:
            checks = check(gate, figures, config.confidence)
    return conclude(
        checks,
        figures,
        shoppers=groups.count if groups.unit == "shoppers" else 0,
        queries=len(set(groups.queries)),
        contexts=len(lists),
        config=config.model_dump(mode="json"),
    )


def figures_of(
    champion: Score,
    challenger: Score,
    lists: Sequence[RankedList],
    config: GateConfig,
    *,
    baseline: Score | None = None,
    worth: Worth = expected_level,
    brands: Mapping[str, str] | None = None,
    feeds: Feeds | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Figure]:
    """All figures of the challenger beside the champion's; parameters as of :func:`decide`.

    Raises
    ------
    AnswerError
        When answers are not probabilities.
    """
    bootstrap = Bootstrap(config.confidence, config.draws, config.seed)
    requests = [one.request for one in lists]
    before, after = answers(champion, requests), answers(challenger, requests)
    yield loss_figure(lists, before if baseline is None else answers(baseline, requests), after, bootstrap)
    yield from order_figures(lists, before, after, bootstrap, worth)
    yield calibration_figure(lists, before, after, bootstrap)
    if feeds is not None and len(feeds.served) >= config.least_feeds:
        yield feed_figure(feeds, champion, challenger, worth, bootstrap)
    yield from robustness_figures(lists, ((champion, before), (challenger, after)), config, bootstrap, worth)
    wide = pools(lists, config.pool, config.exposure_contexts, config.seed)
    one, other = (top(wide, [worth(part) for part in answers(score, wide)]) for score in (champion, challenger))
    yield from exposure_figures(one, other, brands or {})
    calls = pools(lists, config.pool, config.latency_calls, config.seed)
    times = measure(champion, challenger, calls, config.latency_repeats, config.seed, clock)
    yield from latency_figures(*times, candidates(config.pool), bootstrap)


def check(gate: GateFile, figures: Sequence[Figure], confidence: float) -> list[Check]:
    """Every threshold checked on every figure that it asks."""
    return [
        checked(asked, figure, reference=CHAMPION, confidence=confidence)
        for asked in gate.threshold
        for figure in figures
        if asked.matches(figure)
    ]


def _too_few(groups: Groups, gate: GateFile) -> Iterator[Check]:
    """A failed check for each count that is too small. Shoppers are assumed to grow in proportion to queries."""
    least = {groups.unit: (groups.count, gate.least_shoppers)}
    least["queries"] = len(set(groups.queries)), gate.least_queries
    for unit, (count, wanted) in least.items():
        if count < wanted:
            yield Check(
                measure=unit,
                asked=f"at least {wanted:,} {unit}",
                outcome="too_few",
                needed=math.ceil(wanted * groups.count / count) if count else wanted,
                said=f"{wanted:,} {unit} are needed",
            )


def _bad(error: AnswerError) -> Check:
    said = f"The challenger cannot be used: {error}"
    return Check(measure="answers", asked="probabilities", outcome="failed", said=said)
