"""What evaluators watch, on a real Redis: it moves with the lowest partition, and nothing counts in two of them."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from evaluator.attribution.items import Items
from evaluator.attribution.live_metrics import LiveMetrics
from evaluator.attribution.monitor_state import MonitorState
from evaluator.attribution.store import JoinStore
from evaluator.config import EvaluatorConfig
from evaluator.metrics.impression import AttributedImpression, JoinEvent, View
from evaluator.monitoring.alerts.alert import ActiveAlerts, Alert
from evaluator.monitoring.rate_monitor import RateMonitor
from evaluator.monitoring.registry import Key
from streams.redis.retry import RedisRetry

pytestmark = pytest.mark.integration

CLICKED = (JoinEvent(1, "click", "e"),)


class Process:
    """One evaluator, as far as it watches."""

    def __init__(self, client: "Redis", group: str) -> None:
        self.metrics = LiveMetrics(EvaluatorConfig(watch_learn=200), Items())
        store = JoinStore(client, group, state_ttl_s=100, rates_ttl_s=100, shelf_ttl_s=100)
        self.active = ActiveAlerts()
        self.monitor_state = MonitorState(store, self.metrics, self.active, RedisRetry())
        self.shown = 0

    def close(self, count: int, clicked: bool = True) -> None:
        """Watch so many views."""
        for _ in range(count):
            self.shown += 1
            one = AttributedImpression(f"u{self.shown}", "i", "s", "feed", 0, self.shown, CLICKED if clicked else ())
            self.metrics.update([View((one,), arm="champion")])
        self.metrics.monitor(1 << 60)

    @property
    def seen(self) -> int:
        """How many impressions the detector of clicks knows of."""
        watch = self.metrics.monitors._monitors.get(Key("click_rate", "feed", "champion"))
        assert watch is None or isinstance(watch, RateMonitor)
        return watch.seen if watch else 0


def on(url: str, work: Callable[[Callable[[], Process]], Awaitable[None]]) -> None:
    async def run() -> None:
        client, group = Redis.from_url(url), uuid.uuid4().hex
        try:
            await work(lambda: Process(client, group))
        finally:
            await client.aclose()

    asyncio.run(run())


def test_views_wait_until_it_is_known_what_is_watched(redis_db: str) -> None:
    async def work(make: Callable[[], Process]) -> None:
        one = make()
        one.close(3)
        await one.monitor_state.settle([])
        assert one.seen == 0 and one.monitor_state.beside is None
        await one.monitor_state.settle([5, 2, 7])
        one.close(0)
        assert one.seen == 3 and one.monitor_state.source == "partition-2"

    on(redis_db, work)


def test_a_successor_goes_on_and_what_two_watch_counts_in_one_of_them(redis_db: str) -> None:
    async def work(make: Callable[[], Process]) -> None:
        first, second = make(), make()
        await first.monitor_state.settle(range(8))
        first.close(100)
        alert = Alert(name="drop", labels={}, state="firing", summary="", evidence={}, since=5)
        first.active.fire(alert, 5)
        await first.monitor_state.settle(range(8))
        await second.monitor_state.settle(range(4))  # partitions move, and the first does not know yet
        assert (first.seen, second.seen) == (100, 100) and second.active.get() == [alert]
        first.close(7)
        second.close(20)
        await second.monitor_state.settle(range(4))
        await first.monitor_state.settle(range(4, 8))
        assert (first.seen, second.seen) == (0, 120), "what was another's already is not kept twice"
        assert first.monitor_state.source == "partition-4" and first.active.get() == []
        first.close(30)
        await first.monitor_state.settle(range(4, 8))
        third = make()  # the second one was killed
        await third.monitor_state.settle([0, 1])
        assert third.seen == 120
        await first.monitor_state.settle([*range(2, 8)])
        assert (first.seen, first.monitor_state.beside) == (0, 2)
        third.close(5)
        await third.monitor_state.settle([0, 1])
        await third.monitor_state.settle([])  # it ends, and its partitions are the first one's
        await first.monitor_state.settle(range(8))
        assert (first.seen, third.monitor_state.beside) == (125, None)
        fourth = make()
        await fourth.monitor_state.settle([4, 5])
        assert fourth.seen == 30, "what nobody watched meanwhile goes on"

    on(redis_db, work)


def test_one_that_was_overtaken_takes_up_what_the_other_kept(redis_db: str) -> None:
    async def work(make: Callable[[], Process]) -> None:
        paused, other = make(), make()
        await paused.monitor_state.settle([3])
        paused.close(250)
        await paused.monitor_state.settle([3])
        await other.monitor_state.settle([3])
        other.close(10)
        await other.monitor_state.settle([3])
        paused.close(99)
        await paused.monitor_state.settle([3])
        assert (paused.seen, other.seen) == (260, 260)
        await other.monitor_state.settle([3])
        await paused.monitor_state.settle([3])
        assert paused.seen == 260

    on(redis_db, work)


def test_what_redis_has_lost_is_kept_again_with_its_references(redis_db: str) -> None:
    async def work(make: Callable[[], Process]) -> None:
        one = make()
        await one.monitor_state.settle([0])
        one.close(400)
        await one.monitor_state.settle([0])
        await one.monitor_state.store.client.flushdb()
        await one.monitor_state.settle([0])
        await one.monitor_state.settle([0])
        assert one.seen == 400
        _, state, references = await one.monitor_state.store.kept(0)
        assert state["watches"]["states"] and references
        other = make()
        await other.monitor_state.settle([0])
        assert other.seen == 400

    on(redis_db, work)
