"""What holds a run back, decided from the runs so far, the number of examples and a clock. Pure."""

import math
from collections.abc import Iterator, Sequence

from evaluator.retraining.run_record import Run
from evaluator.retraining.trigger import Held
from evaluator.retraining.trigger_config import TriggerConfig
from streams.clock import span

DAY_MS = 86_400_000


def held_back(config: TriggerConfig, runs: Sequence[Run], examples: int, now: int) -> list[Held]:
    """Everything that speaks against a run now; none means go.

    Examples
    --------
    >>> done = Run(id="1", by="t", reason="drift", began=0, until=9_000, ended=6_000)
    >>> [held.words for held in held_back(TriggerConfig(), [done], 50, 18 * 60_000 + 6_000)]
    ['cooldown: 12 min left', 'examples: 50 new ones, a run needs 2,000']
    >>> held_back(TriggerConfig(), [done], 2_000, 30 * 60_000 + 6_000)
    []
    """
    return [*_running(runs, now), *_cooldown(config, runs, now), *_budget(config, runs, now), *_few(config, examples)]


def _running(runs: Sequence[Run], now: int) -> Iterator[Held]:
    for run in runs:
        if run.end(now) is None:
            yield Held(limit="running", words=f"running: {run.by} trains since {span(now - run.began)}")


def _cooldown(config: TriggerConfig, runs: Sequence[Run], now: int) -> Iterator[Held]:
    ends = [end for run in runs if (end := run.end(now)) is not None]
    until = max(ends, default=-math.inf) + config.cooldown_s * 1000
    if now < until:
        yield Held(limit="cooldown", words=f"cooldown: {span(until - now)} left", until=math.ceil(until))


def _budget(config: TriggerConfig, runs: Sequence[Run], now: int) -> Iterator[Held]:
    begun = sorted(run.began for run in runs if now - run.began <= DAY_MS)
    if len(begun) >= config.runs_a_day:
        until = begun[-config.runs_a_day] + DAY_MS + 1
        words = f"budget: {len(begun)} of {config.runs_a_day} runs in 24 h, the next may begin in {span(until - now)}"
        yield Held(limit="budget", words=words, until=until)


def _few(config: TriggerConfig, examples: int) -> Iterator[Held]:
    if examples < config.least_examples:
        yield Held(limit="examples", words=f"examples: {examples:,} new ones, a run needs {config.least_examples:,}")
